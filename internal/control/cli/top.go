package cli

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"manifold/client"
)

func (a *app) topCommand() *cobra.Command {
	interval, count := 2*time.Second, 0
	c := &cobra.Command{
		Use: "top", Short: "Watch operations, throughput and latency of the server by protocol",
		Long: `Watch operations, throughput and latency of the server by protocol. On a terminal
the view fills the screen until ctrl-C; elsewhere one table follows another. With
--json each line is one interval.`,
		Args: cobra.NoArgs,
	}
	c.RunE = a.run(func(ctx context.Context, cl *client.Client, _ []string) error {
		if interval < 100*time.Millisecond {
			return fmt.Errorf("--interval %v: want at least 100ms", interval)
		}
		return a.top(ctx, cl, interval, count)
	})
	c.Flags().DurationVarP(&interval, "interval", "i", interval, "time between two looks")
	c.Flags().IntVarP(&count, "count", "n", 0, "stop after so many intervals; 0 goes on")
	return c
}

// top shows what happened between each two readings of the metrics.
func (a *app) top(ctx context.Context, c *client.Client, interval time.Duration, count int) error {
	size := a.o.Screen
	if f, ok := a.o.Out.(*os.File); ok && size == nil && term.IsTerminal(int(f.Fd())) {
		size = func() (int, int) {
			width, height, err := term.GetSize(int(f.Fd()))
			if err != nil {
				return 80, 24
			}
			return width, height
		}
	}
	screen := a.o.Out
	if a.asJSON || size == nil {
		screen = nil
	}
	read := func() (*reading, error) {
		s, err := c.Metrics(ctx)
		return newReading(s, time.Now()), err
	}
	before, err := read()
	if err != nil {
		return err
	}
	if screen != nil {
		// The other screen, without cursor; the old one comes back at the end.
		fmt.Fprint(screen, "\x1b[?1049h\x1b[?25l\x1b[H\x1b[2Jone moment...")
		defer fmt.Fprint(screen, "\x1b[?25h\x1b[?1049l")
	}
	t := time.NewTicker(interval)
	defer t.Stop()
	for n := 0; count == 0 || n < count; n++ {
		select {
		case <-ctx.Done():
			return nil // asked to stop
		case <-t.C:
		}
		now, err := read()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		v := now.since(before)
		before = now
		switch {
		case a.asJSON:
			err = a.jsonLine(v)
		case screen != nil:
			width, height := size()
			_, err = fmt.Fprint(screen, "\x1b[H"+fit(v.render(c.Server()), width, height)+"\x1b[J")
		default:
			_, err = fmt.Fprintln(a.o.Out, v.render(c.Server()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fit cuts text to a screen, and each line clears what was right of it before.
func fit(text string, width, height int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(lines) > height {
		lines = lines[:height]
	}
	for i, l := range lines {
		if r := []rune(l); len(r) > width {
			l = string(r[:width])
		}
		lines[i] = l + "\x1b[K"
	}
	return strings.Join(lines, "\r\n")
}

// opKey names an operation.
type opKey struct{ protocol, op string }

// opCounts are counters since the start of the server.
type opCounts struct {
	ops, bytes, errors, seconds float64
	buckets                     map[float64]float64 // cumulative, by upper bound
}

// reading is what the metrics said at one moment.
type reading struct {
	at          time.Time
	ops         map[opKey]*opCounts
	connections map[string]float64 // open, by protocol
	gauges      map[string]float64 // without labels
	name        string
}

func newReading(samples []client.Sample, at time.Time) *reading {
	r := &reading{at: at, ops: map[opKey]*opCounts{}, connections: map[string]float64{}, gauges: map[string]float64{}}
	const op = "qumulo_protocol_operation"
	for _, s := range samples {
		protocol := s.Labels["protocol"]
		switch s.Name {
		case "qumulo_info":
			r.name = s.Labels["name"]
		case "qumulo_protocol_client_connections_count":
			r.connections[protocol] += s.Value
		case "qumulo_protocol_client_disconnections_count":
			r.connections[protocol] -= s.Value
		}
		if len(s.Labels) == 0 {
			r.gauges[s.Name] = s.Value
		}
		if !strings.HasPrefix(s.Name, op) {
			continue
		}
		k := opKey{protocol, s.Labels["op_name"]}
		c := r.ops[k]
		if c == nil {
			c = &opCounts{buckets: map[float64]float64{}}
			r.ops[k] = c
		}
		switch strings.TrimPrefix(s.Name, op) {
		case "s_count":
			c.ops += s.Value
		case "_bytes_count":
			c.bytes += s.Value
		case "_errors_count":
			c.errors += s.Value
		case "_latency_seconds_sum":
			c.seconds += s.Value
		case "_latency_seconds_bucket":
			if le, err := strconv.ParseFloat(s.Labels["le"], 64); err == nil {
				c.buckets[le] += s.Value
			}
		}
	}
	return r
}

// topRow is an operation in an interval; rates are per second, times seconds.
type topRow struct {
	Protocol string  `json:"protocol"`
	Op       string  `json:"op"`
	Ops      float64 `json:"ops_per_second"`
	Bytes    float64 `json:"bytes_per_second"`
	Errors   float64 `json:"errors_per_second"`
	Mean     float64 `json:"mean_seconds"`
	// P99 is the upper bound of the bucket with the 99th percentile; 0 if that is the last.
	P99 float64 `json:"p99_seconds"`
}

// topView is one interval.
type topView struct {
	Cluster     string             `json:"cluster"`
	Time        time.Time          `json:"time"`
	Connections map[string]float64 `json:"connections"`
	Size        float64            `json:"size_bytes"`
	Free        float64            `json:"free_bytes"`
	Resident    float64            `json:"resident_bytes"`
	Operations  []topRow           `json:"operations"`
}

// since answers what happened after before. A server that has restarted counts
// from zero again.
func (r *reading) since(before *reading) *topView {
	v := &topView{
		Cluster: r.name, Time: r.at.UTC(), Connections: r.connections, Operations: []topRow{},
		Size: r.gauges["qumulo_fs_capacity_bytes"], Free: r.gauges["qumulo_fs_free_bytes"], Resident: r.gauges["manifold_resident_bytes"],
	}
	seconds := r.at.Sub(before.at).Seconds()
	if seconds <= 0 {
		return v
	}
	for k, now := range r.ops {
		old := before.ops[k]
		if old == nil || old.ops > now.ops {
			old = &opCounts{}
		}
		n := now.ops - old.ops
		if n <= 0 {
			continue
		}
		v.Operations = append(v.Operations, topRow{
			Protocol: k.protocol, Op: k.op, Ops: n / seconds, Bytes: (now.bytes - old.bytes) / seconds,
			Errors: (now.errors - old.errors) / seconds, Mean: (now.seconds - old.seconds) / n, P99: percentile(now, old, 0.99),
		})
	}
	slices.SortFunc(v.Operations, func(a, b topRow) int {
		return cmp.Or(cmp.Compare(b.Ops, a.Ops), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Op, b.Op))
	})
	return v
}

func percentile(now, old *opCounts, p float64) float64 {
	var bounds []float64
	for le := range now.buckets {
		bounds = append(bounds, le)
	}
	slices.Sort(bounds)
	if len(bounds) == 0 {
		return 0
	}
	last := bounds[len(bounds)-1]
	total := now.buckets[last] - old.buckets[last]
	for _, le := range bounds {
		if now.buckets[le]-old.buckets[le] >= p*total && !math.IsInf(le, 1) {
			return le
		}
	}
	return 0
}

func (v *topView) render(server string) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s  %s  %s\n", printable(v.Cluster), server, v.Time.Format("15:04:05Z"))
	var protocols []string
	for p := range v.Connections {
		protocols = append(protocols, p)
	}
	slices.Sort(protocols)
	b.WriteString("connections:")
	for _, p := range protocols {
		fmt.Fprintf(&b, " %s %.0f", printable(p), v.Connections[p])
	}
	fmt.Fprintf(&b, "  free: %s of %s  memory: %s\n\n", bytesText(client.Number(v.Free)), bytesText(client.Number(v.Size)), bytesText(client.Number(v.Resident)))
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "PROTOCOL\tOPERATION\tOPS/S\tBYTES/S\tFAILED/S\tMEAN\tP99\t")
	total := topRow{Protocol: "all"}
	for _, o := range v.Operations {
		total.Ops, total.Bytes, total.Errors = total.Ops+o.Ops, total.Bytes+o.Bytes, total.Errors+o.Errors
	}
	for _, o := range append([]topRow{total}, v.Operations...) {
		mean, p99 := duration(o.Mean), "≤ "+duration(o.P99)
		switch {
		case o == total:
			mean, p99 = "", ""
		case o.P99 == 0:
			p99 = "?"
		}
		fmt.Fprintf(w, "%s\t%s\t%.1f\t%s\t%.1f\t%s\t%s\t\n", printable(o.Protocol), printable(o.Op), o.Ops, bytesText(client.Number(o.Bytes)), o.Errors, mean, p99)
	}
	_ = w.Flush() // into memory
	return b.String()
}

// duration renders seconds with three digits.
func duration(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.3gs", s)
	case d >= time.Millisecond:
		return fmt.Sprintf("%.3gms", s*1e3)
	}
	return fmt.Sprintf("%.3gµs", s*1e6)
}
