package telemetry

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// ContentType of the rendering.
const ContentType = "application/openmetrics-text; version=1.0.0; charset=utf-8"

// Write renders all metrics as OpenMetrics text, in the dialect that clients of
// the endpoint know: counters are "<name>_count", info metrics "<name>_info",
// histograms have one bucket.
func (r *Registry) Write(w io.Writer) error { return r.write(w, false) }

// WriteAll is Write with all buckets of histograms.
func (r *Registry) WriteAll(w io.Writer) error { return r.write(w, true) }

func (r *Registry) write(w io.Writer, buckets bool) error {
	families, err := r.reg.Gather()
	if err != nil {
		return err
	}
	b := bufio.NewWriter(w)
	for _, f := range families {
		writeFamily(b, f, buckets)
	}
	b.WriteString("# EOF\n")
	return b.Flush()
}

func writeFamily(b *bufio.Writer, f *dto.MetricFamily, buckets bool) {
	name, kind := f.GetName(), "unknown"
	switch f.GetType() {
	case dto.MetricType_COUNTER:
		kind = "counter"
	case dto.MetricType_GAUGE:
		kind = "gauge"
		if base, ok := strings.CutSuffix(name, "_info"); ok {
			name, kind = base, "info"
		}
	case dto.MetricType_HISTOGRAM:
		kind = "histogram"
	}
	fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s %s\n", name, escape(f.GetHelp(), false), name, kind)
	for _, m := range f.GetMetric() {
		labels := m.GetLabel()
		switch kind {
		case "counter":
			sample(b, name+"_count", labels, "", m.GetCounter().GetValue())
		case "gauge":
			sample(b, name, labels, "", m.GetGauge().GetValue())
		case "info":
			sample(b, name+"_info", labels, "", m.GetGauge().GetValue())
		case "histogram":
			h := m.GetHistogram()
			if buckets {
				for _, k := range h.GetBucket() {
					le := strconv.FormatFloat(k.GetUpperBound(), 'g', -1, 64)
					sample(b, name+"_bucket", labels, le, float64(k.GetCumulativeCount()))
				}
			}
			sample(b, name+"_bucket", labels, "+Inf", float64(h.GetSampleCount()))
			sample(b, name+"_count", labels, "", float64(h.GetSampleCount()))
			sample(b, name+"_sum", labels, "", h.GetSampleSum())
		}
	}
}

func sample(b *bufio.Writer, name string, labels []*dto.LabelPair, le string, v float64) {
	b.WriteString(name)
	sep := byte('{')
	put := func(k, v string) {
		b.WriteByte(sep)
		sep = ','
		fmt.Fprintf(b, `%s="%s"`, k, escape(v, true))
	}
	for _, l := range labels {
		put(l.GetName(), l.GetValue())
	}
	if le != "" {
		put("le", le)
	}
	if sep == ',' {
		b.WriteByte('}')
	}
	b.WriteByte(' ')
	if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
		b.WriteString(strconv.FormatInt(int64(v), 10))
	} else {
		b.WriteString(strconv.FormatFloat(v, 'g', -1, 64))
	}
	b.WriteByte('\n')
}

func escape(s string, quotes bool) string {
	s = strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(s)
	if quotes {
		s = strings.ReplaceAll(s, `"`, `\"`)
	}
	return s
}
