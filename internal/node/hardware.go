package node

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"manifold/internal/telemetry"
)

// hardware is what the kernel shows of the machine, read when metrics are. What
// the machine does not have, or the kernel does not show, has no metric.
type hardware struct{ proc, sys string }

// describe declares the metrics of the machine.
func (h hardware) describe(r *telemetry.Registry) {
	r.Gauge("qumulo_quorum_node_is_offline", "Whether the node is not there; it is when it answers.", func() float64 { return 0 }, "node_id", nodeID)

	labels := []string{"bond", "interface", "role", "node_id"}
	r.Gauges("qumulo_network_interface_is_down", "Whether the interface does not work.", labels, func(put func(float64, ...string)) {
		h.interfaces(func(at string, l ...string) {
			down := 0.0
			switch h.text(at, "operstate") {
			case "up", "unknown":
			default:
				down = 1
			}
			put(down, l...)
		})
	})
	r.Gauges("qumulo_network_interface_link_speed_bits_per_second", "Speed of the interface's link, if it is known.", labels, func(put func(float64, ...string)) {
		h.interfaces(func(at string, l ...string) {
			if v, ok := h.number(at, "speed"); ok && v > 0 {
				put(v*1e6, l...)
			}
		})
	})
	for _, c := range []struct{ name, file, help string }{
		{"receive_errors", "rx_errors", "Frames that came damaged."}, {"transmit_errors", "tx_errors", "Frames that could not be sent."},
		{"received_bytes", "rx_bytes", "Bytes received."}, {"transmitted_bytes", "tx_bytes", "Bytes sent."},
		{"received_packets", "rx_packets", "Packets received."}, {"transmitted_packets", "tx_packets", "Packets sent."},
	} {
		r.Counters("qumulo_network_interface_"+c.name, c.help, labels, func(put func(float64, ...string)) {
			h.interfaces(func(at string, l ...string) {
				if v, ok := h.number(at, "statistics/"+c.file); ok {
					put(v, l...)
				}
			})
		})
	}

	for _, c := range []struct{ name, file, help string }{
		{"qumulo_cpu_temperature_celsius", "input", "Temperature of the processor."},
		{"qumulo_cpu_max_temperature_celsius", "max", "Temperature from which the processor should be cooled more."},
		{"qumulo_cpu_crit_temperature_celsius", "crit", "Temperature that endangers the processor."},
	} {
		r.Gauges(c.name, c.help, []string{"cpu", "node_id"}, func(put func(float64, ...string)) {
			for i, at := range h.processors() {
				if v, ok := h.number(at + "_" + c.file); ok {
					put(v/1000, strconv.Itoa(i), nodeID)
				}
			}
		})
	}
	r.Gauges("qumulo_fan_speed_rpm", "Speed of the fan.", []string{"fan", "node_id"}, func(put func(float64, ...string)) {
		for _, at := range h.glob("class/hwmon/hwmon*/fan*_input") {
			if v, ok := h.number(at); ok {
				put(v, filepath.Base(filepath.Dir(at))+"/"+strings.TrimSuffix(filepath.Base(at), "_input"), nodeID)
			}
		}
	})
	r.Counters("qumulo_memory_correctable_ecc_errors", "Errors of memory that were corrected.", []string{"node_id"}, func(put func(float64, ...string)) {
		sum, any := 0.0, false
		for _, at := range h.glob("devices/system/edac/mc/mc*/ce_count") {
			if v, ok := h.number(at); ok {
				sum, any = sum+v, true
			}
		}
		if any {
			put(sum, nodeID)
		}
	})
	r.Times("qumulo_disk_operation_latency_seconds", "Time that operations of the drive took.", []string{"disk_type", "drive_bay", "io_type", "node_id"}, func(put func(uint64, float64, ...string)) {
		h.disks(put)
	})
}

// interfaces calls with the folder and the labels of each interface that leads
// out of the machine.
func (h hardware) interfaces(do func(at string, labels ...string)) {
	for _, at := range h.glob("class/net/*") {
		name := filepath.Base(at)
		if name == "lo" || h.text(at, "operstate") == "" {
			continue
		}
		bond := ""
		if to, err := os.Readlink(filepath.Join(h.sys, at, "master")); err == nil {
			if m := filepath.Base(to); h.text("class/net", m, "bonding/mode") != "" {
				bond = m
			}
		}
		do(at, bond, name, "frontend", nodeID)
	}
}

// processors are the sensors of whole processors, without the ending of their
// files.
func (h hardware) processors() (sensors []string) {
	for _, at := range h.glob("class/hwmon/hwmon*") {
		switch h.text(at, "name") {
		case "coretemp":
			for _, l := range h.glob(at + "/temp*_label") {
				if strings.HasPrefix(h.text(l), "Package id ") {
					sensors = append(sensors, strings.TrimSuffix(l, "_label"))
				}
			}
		case "k10temp", "zenpower":
			sensors = append(sensors, at+"/temp1")
		}
	}
	return sensors
}

// disks reads Documentation/admin-guide/iostats.rst: fields 1 and 4 are reads
// and the milliseconds that they took, 5 and 8 those of writes.
func (h hardware) disks(put func(uint64, float64, ...string)) {
	for line := range strings.Lines(readFile(h.proc, "diskstats")) {
		f := strings.Fields(line)
		if len(f) < 11 {
			continue
		}
		name := f[2]
		if _, err := os.Stat(filepath.Join(h.sys, "block", name, "device")); err != nil {
			continue // a partition, or none of hardware
		}
		kind := "HDD"
		if h.text("block", name, "queue/rotational") == "0" {
			kind = "SSD"
		}
		for _, io := range []struct {
			kind      string
			count, ms int
		}{{"read", 3, 6}, {"write", 7, 10}} {
			n, err1 := strconv.ParseUint(f[io.count], 10, 64)
			ms, err2 := strconv.ParseUint(f[io.ms], 10, 64)
			if err1 == nil && err2 == nil {
				put(n, float64(ms)/1000, kind, name, io.kind, nodeID)
			}
		}
	}
}

// glob answers paths below /sys in order of names.
func (h hardware) glob(pattern string) []string {
	all, _ := filepath.Glob(filepath.Join(h.sys, pattern))
	for i := range all {
		all[i], _ = filepath.Rel(h.sys, all[i])
	}
	slices.Sort(all)
	return all
}

// text answers a file below /sys, "" if there is none.
func (h hardware) text(path ...string) string {
	return strings.TrimSpace(readFile(h.sys, filepath.Join(path...)))
}

func (h hardware) number(path ...string) (float64, bool) {
	v, err := strconv.ParseInt(h.text(path...), 10, 64)
	return float64(v), err == nil
}
