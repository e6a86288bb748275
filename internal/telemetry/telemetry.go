// Package telemetry is the ledger of every metric and the form of every event.
// Names, labels and renderings are those that clients of the metrics endpoint
// know.
//
// Invariants: a metric is declared once, here; recording costs no allocation
// once its handle was made; nothing is registered globally.
//
// The package must not know any room.
package telemetry

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// DataType of an operation.
type DataType string

// Data types.
const (
	Data     DataType = "data"
	Metadata DataType = "metadata"
	NoData   DataType = "none"
)

// IOType of an operation.
type IOType string

// I/O types.
const (
	Read      IOType = "read"
	Write     IOType = "write"
	Composite IOType = "composite"
	Wait      IOType = "wait"
	NoIO      IOType = "none"
)

// Registry holds the metrics of one process.
type Registry struct {
	reg *prometheus.Registry

	ops, bytes, errors *prometheus.CounterVec
	latency            *prometheus.HistogramVec
}

// latencyBuckets run from what memory answers to what an operator must hear of.
var latencyBuckets = []float64{
	25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5, 10, 30,
}

var opLabels = []string{"data_type", "io_type", "op_name", "protocol"}

// New builds the registry.
func New() *Registry {
	r := &Registry{reg: prometheus.NewRegistry()}
	r.ops = r.counters("qumulo_protocol_operations", "Operations of clients, finished or failed.", opLabels...)
	r.bytes = r.counters("qumulo_protocol_operation_bytes", "Bytes that operations moved.", opLabels...)
	r.errors = r.counters("qumulo_protocol_operation_errors", "Operations that failed.", opLabels...)
	r.latency = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "qumulo_protocol_operation_latency_seconds", Help: "Time from request to reply.", Buckets: latencyBuckets,
	}, opLabels)
	r.reg.MustRegister(r.latency)
	return r
}

func (r *Registry) counters(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	r.reg.MustRegister(c)
	return c
}

// Op records one kind of operation of one protocol. Keep it: making one costs
// map lookups, using it none.
type Op struct {
	ops, bytes, errors prometheus.Counter
	latency            prometheus.Observer
}

// Op returns the handle for an operation.
func (r *Registry) Op(protocol, name string, d DataType, io IOType) *Op {
	l := []string{string(d), string(io), name, protocol}
	return &Op{r.ops.WithLabelValues(l...), r.bytes.WithLabelValues(l...), r.errors.WithLabelValues(l...), r.latency.WithLabelValues(l...)}
}

// Done records one operation that took d and moved n bytes.
func (o *Op) Done(d time.Duration, n int, failed bool) {
	o.ops.Inc()
	if n > 0 {
		o.bytes.Add(float64(n))
	}
	if failed {
		o.errors.Inc()
	}
	o.latency.Observe(d.Seconds())
}

// Connections declares how many connections clients of a protocol have opened
// and how many of them ended, as its server counts them.
func (r *Registry) Connections(protocol string, opened, ended func() uint64) {
	value := func(f func() uint64) func() float64 { return func() float64 { return float64(f()) } }
	r.Counter("qumulo_protocol_client_connections", "Connections that clients opened.", value(opened), "protocol", protocol)
	r.Counter("qumulo_protocol_client_disconnections", "Connections that ended.", value(ended), "protocol", protocol)
}

// Gauge declares a value that is read when metrics are. labels are alternating
// names and values.
func (r *Registry) Gauge(name, help string, read func() float64, labels ...string) {
	r.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: pairs(labels)}, read))
}

// Counter declares a growing value that is read when metrics are.
func (r *Registry) Counter(name, help string, read func() float64, labels ...string) {
	r.reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: pairs(labels)}, read))
}

// Gauges declares a family of values that are read when metrics are, with labels
// that are known only then.
func (r *Registry) Gauges(name, help string, labels []string, read func(put func(v float64, labels ...string))) {
	r.values(prometheus.GaugeValue, name, help, labels, read)
}

// Counters is Gauges for growing values.
func (r *Registry) Counters(name, help string, labels []string, read func(put func(v float64, labels ...string))) {
	r.values(prometheus.CounterValue, name, help, labels, read)
}

func (r *Registry) values(kind prometheus.ValueType, name, help string, labels []string, read func(put func(v float64, labels ...string))) {
	f := &family{desc: prometheus.NewDesc(name, help, labels, nil)}
	f.read = func(put func(prometheus.Metric)) {
		read(func(v float64, l ...string) {
			m, err := prometheus.NewConstMetric(f.desc, kind, v, l...)
			if err == nil {
				put(m)
			}
		})
	}
	r.reg.MustRegister(f)
}

// Times is Gauges for durations that somebody else counts: how many there were,
// and their sum in seconds.
func (r *Registry) Times(name, help string, labels []string, read func(put func(count uint64, sum float64, labels ...string))) {
	f := &family{desc: prometheus.NewDesc(name, help, labels, nil)}
	f.read = func(put func(prometheus.Metric)) {
		read(func(count uint64, sum float64, l ...string) {
			m, err := prometheus.NewConstHistogram(f.desc, count, sum, nil, l...)
			if err == nil {
				put(m)
			}
		})
	}
	r.reg.MustRegister(f)
}

// family collects metrics that exist only while they are read.
type family struct {
	desc *prometheus.Desc
	read func(put func(prometheus.Metric))
}

// Describe implements prometheus.Collector.
func (f *family) Describe(c chan<- *prometheus.Desc) { c <- f.desc }

// Collect implements prometheus.Collector. What comes twice with the same labels
// counts once: the registry would answer nothing at all otherwise.
func (f *family) Collect(c chan<- prometheus.Metric) {
	seen := map[string]bool{}
	f.read(func(m prometheus.Metric) {
		var d dto.Metric
		if m.Write(&d) != nil {
			return
		}
		key := ""
		for _, l := range d.GetLabel() {
			key += l.GetName() + "\x00" + l.GetValue() + "\x00"
		}
		if !seen[key] {
			seen[key] = true
			c <- m
		}
	})
}

// Info declares a metric that is 1 and says something by its labels.
func (r *Registry) Info(name, help string, labels ...string) {
	r.Gauge(name+"_info", help, func() float64 { return 1 }, labels...)
}

func pairs(l []string) prometheus.Labels {
	m := prometheus.Labels{}
	for i := 0; i+1 < len(l); i += 2 {
		m[l[i]] = l[i+1]
	}
	return m
}

// Event is a change of state that an operator may want to know of: typed where
// it happens, rendered here.
type Event interface {
	// EventName is snake_case and stable.
	EventName() string
	// Attrs describe it.
	Attrs() []slog.Attr
}

// Events delivers events to a log and to whoever listens. The zero value
// discards. Safe for concurrent use.
type Events struct {
	Logger *slog.Logger
	// Sinks get every event, in order, on the emitter's goroutine; they must not block.
	Sinks []func(Event)
}

// Emit delivers e.
func (v *Events) Emit(ctx context.Context, e Event) {
	if v == nil {
		return
	}
	if v.Logger != nil {
		v.Logger.LogAttrs(ctx, slog.LevelInfo, e.EventName(), e.Attrs()...)
	}
	for _, s := range v.Sinks {
		s(e)
	}
}
