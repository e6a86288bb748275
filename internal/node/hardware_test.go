package node

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"manifold/internal/telemetry"
)

func TestHardware(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"proc/diskstats":         "   8       0 sda 100 0 800 250 7 0 56 1500 0 0 0\n   8       1 sda1 90 0 800 250 7 0 56 1500 0 0 0\n 259 0 nvme0n1 3 0 8 2 0 0 0 0 0 0 0 0\n   7 0 loop0 1 2\n",
		"sys/block/sda/device/x": "", "sys/block/sda/queue/rotational": "1\n",
		"sys/block/nvme0n1/device/x": "", "sys/block/nvme0n1/queue/rotational": "0\n",
		"sys/class/net/lo/operstate":    "unknown\n",
		"sys/class/net/bond0/operstate": "up\n", "sys/class/net/bond0/bonding/mode": "802.3ad 4\n", "sys/class/net/bond0/speed": "-1\n",
		"sys/class/net/eth0/operstate": "down\n", "sys/class/net/eth0/speed": "25000\n",
		"sys/class/net/eth0/statistics/rx_errors": "1\n", "sys/class/net/eth0/statistics/tx_errors": "2\n",
		"sys/class/net/eth0/statistics/rx_bytes": "3\n", "sys/class/net/eth0/statistics/tx_bytes": "4\n",
		"sys/class/net/eth0/statistics/rx_packets": "5\n", "sys/class/net/eth0/statistics/tx_packets": "6\n",
		"sys/class/net/bonding_masters": "bond0\n",
		"sys/class/hwmon/hwmon0/name":   "coretemp\n", "sys/class/hwmon/hwmon0/temp1_label": "Package id 0\n", "sys/class/hwmon/hwmon0/temp2_label": "Core 0\n",
		"sys/class/hwmon/hwmon0/temp1_input": "45500\n", "sys/class/hwmon/hwmon0/temp1_max": "80000\n", "sys/class/hwmon/hwmon0/temp1_crit": "100000\n", "sys/class/hwmon/hwmon0/temp2_input": "44000\n",
		"sys/class/hwmon/hwmon1/name": "nct6775\n", "sys/class/hwmon/hwmon1/fan2_input": "1200\n", "sys/class/hwmon/hwmon1/temp1_input": "30000\n",
		"sys/devices/system/edac/mc/mc0/ce_count": "2\n", "sys/devices/system/edac/mc/mc1/ce_count": "3\n",
	} {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../bond0", filepath.Join(dir, "sys/class/net/eth0/master")); err != nil {
		t.Fatal(err)
	}
	r := telemetry.New()
	hardware{filepath.Join(dir, "proc"), filepath.Join(dir, "sys")}.describe(r)
	var out bytes.Buffer
	if err := r.Write(&out); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		if !strings.HasPrefix(line, "#") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	const eth = `{bond="bond0",interface="eth0",node_id="1",role="frontend"} `
	const bond = `{bond="",interface="bond0",node_id="1",role="frontend"} `
	const hdd, ssd = `{disk_type="HDD",drive_bay="sda",`, `{disk_type="SSD",drive_bay="nvme0n1",`
	want := []string{
		`qumulo_cpu_crit_temperature_celsius{cpu="0",node_id="1"} 100`, `qumulo_cpu_max_temperature_celsius{cpu="0",node_id="1"} 80`, `qumulo_cpu_temperature_celsius{cpu="0",node_id="1"} 45.5`,
		`qumulo_disk_operation_latency_seconds_bucket` + hdd + `io_type="read",node_id="1",le="+Inf"} 100`, `qumulo_disk_operation_latency_seconds_count` + hdd + `io_type="read",node_id="1"} 100`, `qumulo_disk_operation_latency_seconds_sum` + hdd + `io_type="read",node_id="1"} 0.25`,
		`qumulo_disk_operation_latency_seconds_bucket` + hdd + `io_type="write",node_id="1",le="+Inf"} 7`, `qumulo_disk_operation_latency_seconds_count` + hdd + `io_type="write",node_id="1"} 7`, `qumulo_disk_operation_latency_seconds_sum` + hdd + `io_type="write",node_id="1"} 1.5`,
		`qumulo_disk_operation_latency_seconds_bucket` + ssd + `io_type="read",node_id="1",le="+Inf"} 3`, `qumulo_disk_operation_latency_seconds_count` + ssd + `io_type="read",node_id="1"} 3`, `qumulo_disk_operation_latency_seconds_sum` + ssd + `io_type="read",node_id="1"} 0.002`,
		`qumulo_disk_operation_latency_seconds_bucket` + ssd + `io_type="write",node_id="1",le="+Inf"} 0`, `qumulo_disk_operation_latency_seconds_count` + ssd + `io_type="write",node_id="1"} 0`, `qumulo_disk_operation_latency_seconds_sum` + ssd + `io_type="write",node_id="1"} 0`,
		`qumulo_fan_speed_rpm{fan="hwmon1/fan2",node_id="1"} 1200`,
		`qumulo_memory_correctable_ecc_errors_count{node_id="1"} 5`,
		`qumulo_network_interface_is_down` + bond + `0`, `qumulo_network_interface_is_down` + eth + `1`,
		`qumulo_network_interface_link_speed_bits_per_second` + eth + `25000000000`,
		`qumulo_network_interface_receive_errors_count` + eth + `1`, `qumulo_network_interface_received_bytes_count` + eth + `3`, `qumulo_network_interface_received_packets_count` + eth + `5`,
		`qumulo_network_interface_transmit_errors_count` + eth + `2`, `qumulo_network_interface_transmitted_bytes_count` + eth + `4`, `qumulo_network_interface_transmitted_packets_count` + eth + `6`,
		`qumulo_quorum_node_is_offline{node_id="1"} 0`,
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
}
