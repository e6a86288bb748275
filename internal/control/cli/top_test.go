package cli

import (
	"strings"
	"testing"
	"time"

	"manifold/client"
)

func metricsAt(t *testing.T, text string, at time.Time) *reading {
	t.Helper()
	s, err := client.ParseMetrics(strings.NewReader(text + "# EOF\n"))
	if err != nil {
		t.Fatal(err)
	}
	return newReading(s, at)
}

func TestTop(t *testing.T) {
	const op = `data_type="data",io_type="read",op_name="READ",protocol="nfs"`
	start := time.Unix(1e9, 0)
	before := metricsAt(t, `qumulo_protocol_operations_count{`+op+`} 100
qumulo_protocol_operation_latency_seconds_bucket{`+op+`,le="0.001"} 100
qumulo_protocol_operation_latency_seconds_bucket{`+op+`,le="+Inf"} 100
`, start)
	after := metricsAt(t, `qumulo_info{name="box"} 1
qumulo_fs_capacity_bytes 1073741824
qumulo_protocol_client_connections_count{protocol="nfs"} 7
qumulo_protocol_client_disconnections_count{protocol="nfs"} 3
qumulo_protocol_operations_count{`+op+`} 300
qumulo_protocol_operation_bytes_count{`+op+`} 2097152
qumulo_protocol_operation_errors_count{`+op+`} 20
qumulo_protocol_operation_latency_seconds_sum{`+op+`} 0.2
qumulo_protocol_operation_latency_seconds_bucket{`+op+`,le="0.001"} 290
qumulo_protocol_operation_latency_seconds_bucket{`+op+`,le="0.01"} 299
qumulo_protocol_operation_latency_seconds_bucket{`+op+`,le="+Inf"} 300
`, start.Add(2*time.Second))
	v := after.since(before)
	want := topRow{Protocol: "nfs", Op: "READ", Ops: 100, Bytes: 1 << 20, Errors: 10, Mean: 0.001, P99: 0.01}
	if len(v.Operations) != 1 || v.Operations[0] != want {
		t.Errorf("%+v, want %+v", v.Operations, want)
	}
	text := v.render("https://here:8000")
	for _, s := range []string{"box  https://here:8000", "connections: nfs 4", "1.0GiB", "READ  100.0   1.0MiB      10.0   1ms  ≤ 10ms", "all             100.0"} {
		if !strings.Contains(text, s) {
			t.Errorf("lacks %q:\n%s", s, text)
		}
	}
	if v := before.since(after); len(v.Operations) != 0 {
		t.Errorf("no time has passed: %+v", v.Operations)
	}
	restarted := metricsAt(t, "qumulo_protocol_operations_count{"+op+"} 4\n", start.Add(4*time.Second))
	if v := restarted.since(after); len(v.Operations) != 1 || v.Operations[0].Ops != 2 {
		t.Errorf("after a restart: %+v", v.Operations)
	}
}

func TestFit(t *testing.T) {
	if got := fit("abcdef\nµµµµµµ\nx\n", 4, 2); got != "abcd\x1b[K\r\nµµµµ\x1b[K" {
		t.Errorf("%q", got)
	}
}
