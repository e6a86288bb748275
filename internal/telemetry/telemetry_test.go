package telemetry

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestRendering(t *testing.T) {
	r := New()
	r.Info("qumulo", "The cluster.", "name", "tin\"y", "version", "1")
	r.Gauge("qumulo_fs_free_bytes", "Free space.", func() float64 { return 1 << 40 })
	op := r.Op("nfs", "nfs3_write", Data, Write)
	op.Done(250*time.Millisecond, 4096, false)
	op.Done(250*time.Millisecond, 0, true)
	n := func(v uint64) func() uint64 { return func() uint64 { return v } }
	r.Connections("nfs", n(3), n(1))
	r.Connections("rest", n(9), n(9))
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	l := `{data_type="data",io_type="write",op_name="nfs3_write",protocol="nfs"`
	for _, want := range []string{
		"# TYPE qumulo info\n", `qumulo_info{name="tin\"y",version="1"} 1`,
		"qumulo_fs_free_bytes 1099511627776\n",
		"qumulo_protocol_operations_count" + l + "} 2\n",
		"qumulo_protocol_operation_errors_count" + l + "} 1\n",
		"qumulo_protocol_operation_bytes_count" + l + "} 4096\n",
		"qumulo_protocol_operation_latency_seconds_bucket" + l + `,le="+Inf"} 2`,
		"qumulo_protocol_operation_latency_seconds_sum" + l + "} 0.5\n",
		`qumulo_protocol_client_connections_count{protocol="nfs"} 3`,
		`qumulo_protocol_client_disconnections_count{protocol="nfs"} 1`,
		`qumulo_protocol_client_connections_count{protocol="rest"} 9`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q in\n%s", want, text)
		}
	}
	if !strings.HasSuffix(text, "\n# EOF\n") {
		t.Error("no end mark")
	}
}

func TestRendering_buckets(t *testing.T) {
	r := New()
	op := r.Op("nfs", "READ", Data, Read)
	op.Done(60*time.Microsecond, 1, false)
	op.Done(time.Hour, 1, false)
	var few, all bytes.Buffer
	if err := r.Write(&few); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteAll(&all); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(few.String(), "le="); n != 1 {
		t.Errorf("%d buckets in\n%s", n, &few)
	}
	for _, want := range []string{`le="5e-05"} 0`, `le="0.0001"} 1`, `le="30"} 1`, `le="+Inf"} 2`} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("lacks %q in\n%s", want, &all)
		}
	}
}

func TestDoneDoesNotAllocate(t *testing.T) {
	op := New().Op("nfs", "nfs3_read", Data, Read)
	if n := testing.AllocsPerRun(100, func() { op.Done(time.Millisecond, 1, false) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

type started struct{ port string }

func (started) EventName() string    { return "started" }
func (e started) Attrs() []slog.Attr { return []slog.Attr{slog.String("port", e.port)} }

func TestEvents(t *testing.T) {
	var b bytes.Buffer
	var got []Event
	v := &Events{Logger: slog.New(slog.NewTextHandler(&b, nil)), Sinks: []func(Event){func(e Event) { got = append(got, e) }}}
	v.Emit(context.Background(), started{"rest"})
	if !strings.Contains(b.String(), "msg=started port=rest") || len(got) != 1 {
		t.Errorf("log %q, sinks %v", b.String(), got)
	}
	var none *Events
	none.Emit(context.Background(), started{})
}

// What comes twice, or with other labels than declared, takes nothing away from
// the rest.
func TestFamilies(t *testing.T) {
	r := New()
	r.Gauges("speed", "Speed.", []string{"fan"}, func(put func(float64, ...string)) {
		put(1, "a")
		put(2, "a")
		put(3)
		put(4, "b")
	})
	r.Counters("errors", "Errors.", []string{"fan"}, func(put func(float64, ...string)) { put(5, "a") })
	r.Times("took", "Time.", []string{"fan"}, func(put func(uint64, float64, ...string)) { put(6, 0.5, "a") })
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	const want = `# HELP errors Errors.
# TYPE errors counter
errors_count{fan="a"} 5
# HELP speed Speed.
# TYPE speed gauge
speed{fan="a"} 1
speed{fan="b"} 4
# HELP took Time.
# TYPE took histogram
took_bucket{fan="a",le="+Inf"} 6
took_count{fan="a"} 6
took_sum{fan="a"} 0.5
# EOF
`
	if b.String() != want {
		t.Errorf("got\n%s", &b)
	}
}
