// Package bench measures servers side by side: of NFS through the Linux kernel's
// client, of FTP through curl and ftplib, of SFTP through OpenSSH's sftp, of SMB through
// smbclient and the kernel, of S3 through net/http. It does so in
// interleaved rounds on one machine, by rate and by the server's own CPU time
// per operation, which swings far less on a busy machine.
//
// Invariants: every server gets the same script, file system and client; a
// figure is a median of rounds with its range. The package must not know what
// the servers are made of.
package bench

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Sample is one measured row of one round.
type Sample struct {
	Ops     float64
	Elapsed time.Duration
	CPU     time.Duration // of the server
	Kernel  time.Duration // of the kernel's own threads meanwhile: journal, writeback, loop device
}

// Row describes a line of the script.
type Row struct{ Name, Title, Unit string }

// Rows are what work.py and the tests measure, in their order.
var Rows = []Row{
	{"seqwrite", "sequential write + fsync", "MiB"},
	{"seqread", "sequential read, client cache dropped", "MiB"},
	{"randread1", "random read 4 KiB, QD 1", "op"},
	{"randread16", "random read 4 KiB, QD 16", "op"},
	{"randwrite1", "random write 4 KiB, QD 1", "op"},
	{"randwrite16", "random write 4 KiB, QD 16", "op"},
	{"create", "create", "file"},
	{"stat", "stat, client cache dropped", "file"},
	{"readdir", "list, client cache dropped", "entry"},
	{"unlink", "unlink", "file"},
	{"untar", "untar of a source tree", "entry"},
	{"findcat", "read it all, client cache dropped", "entry"},
	{"rmtree", "rm -r of it", "entry"},
	{"put", "put one large file", "MiB"},
	{"get", "get it", "MiB"},
	{"putnew", "put it under a new name", "MiB"},
	{"puts", "put small files", "file"},
	{"gets", "get them", "file"},
	{"dels", "remove them", "file"},
	{"list", "list a large directory", "entry"},
	{"signput", "put one large file, signed", "MiB"},
	{"signget", "get it, signed", "MiB"},
	{"sealput", "put one large file, encrypted", "MiB"},
	{"sealget", "get it, encrypted", "MiB"},
	{"tlsput", "put one large file, TLS", "MiB"},
	{"tlsget", "get it, TLS", "MiB"},
	{"tlsputs", "put small files, TLS", "file"},
	{"tlsgets", "get them, TLS", "file"},
	{"s3put4k", "PUT 4 KiB × 8", "op"},
	{"s3get4k", "GET 4 KiB × 8", "op"},
	{"s3head", "HEAD × 8", "op"},
	{"s3delete", "DELETE × 8", "op"},
	{"s3put1m", "PUT 1 MiB × 8", "MiB"},
	{"s3get1m", "GET 1 MiB × 8", "MiB"},
	{"s3put64m", "PUT 64 MiB × 2", "MiB"},
	{"s3get64m", "GET 64 MiB × 2", "MiB"},
	{"s3putmulti", "PUT 256 MiB in parts of 16 MiB × 4", "MiB"},
	{"s3getmulti", "GET 256 MiB, one stream", "MiB"},
	{"s3first", "list, first page of 1,000", "page"},
	{"s3middle", "list, middle page", "page"},
	{"s3last", "list, last page", "page"},
}

// Series are the samples of one server by row.
type Series struct {
	Server  string
	Samples map[string][]Sample
}

// meter turns the script's lines into samples.
type meter struct {
	cpu   func() (time.Duration, error)
	begin time.Duration
	// kernel, where not nil, gives the CPU time of every kernel thread by its pid.
	kernel      func() (map[int]time.Duration, error)
	beginKernel map[int]time.Duration
	into        map[string][]Sample
	err         error
}

func (m *meter) line(l string) {
	f := strings.Fields(l)
	switch {
	case len(f) == 2 && f[0] == "begin":
		m.begin, m.err = m.cpu()
		if m.kernel != nil && m.err == nil {
			m.beginKernel, m.err = m.kernel()
		}
	case len(f) == 4 && f[0] == "end":
		end, err := m.cpu()
		var threads map[int]time.Duration
		if m.kernel != nil && err == nil {
			threads, err = m.kernel()
		}
		ops, err1 := strconv.ParseFloat(f[2], 64)
		secs, err2 := strconv.ParseFloat(f[3], 64)
		for _, e := range []error{err, err1, err2} {
			if e != nil {
				m.err = e
				return
			}
		}
		m.into[f[1]] = append(m.into[f[1]], Sample{ops, time.Duration(secs * float64(time.Second)), end - m.begin, since(m.beginKernel, threads)})
	}
}

// since adds up what threads worked; one that ended meanwhile is not counted.
func since(begin, end map[int]time.Duration) (sum time.Duration) {
	for pid, t := range end {
		if t > begin[pid] {
			sum += t - begin[pid]
		}
	}
	return sum
}

// spread is a median with its range.
type spread struct{ mid, low, high float64 }

func spreadOf(s []Sample, of func(Sample) float64) (v spread) {
	var all []float64
	for _, x := range s {
		all = append(all, of(x))
	}
	slices.Sort(all)
	if n := len(all); n > 0 {
		v = spread{(all[n/2] + all[(n-1)/2]) / 2, all[0], all[n-1]}
	}
	return v
}

func (v spread) String() string {
	return fmt.Sprintf("%s (%s..%s)", short(v.mid), short(v.low), short(v.high))
}

func short(f float64) string {
	switch {
	case f >= 100:
		return fmt.Sprintf("%.0f", f)
	case f >= 10:
		return fmt.Sprintf("%.1f", f)
	default:
		return fmt.Sprintf("%.2f", f)
	}
}

// shortRatio leaves out what would divide by less than the clock can tell.
func shortRatio(f float64) string {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return "-"
	}
	return fmt.Sprintf("%.2f", f)
}

func rate(s Sample) float64 { return s.Ops / s.Elapsed.Seconds() }
func cost(s Sample) float64 { return float64(s.CPU.Microseconds()) / s.Ops }

// whole is the server's CPU time with that of the kernel's threads.
func whole(s Sample) float64 { return float64((s.CPU + s.Kernel).Microseconds()) / s.Ops }

// WriteTable writes a Markdown table; the first series is compared with each
// of the others. Ratios over 1 are in favour of the first. Where the kernel's
// threads were counted, their time is added in columns of its own.
func WriteTable(w io.Writer, all []Series) error {
	type figure struct {
		unit, ratio string
		of          func(Sample) float64
		isLessGood  bool
	}
	figures := []figure{
		{" /s", "rate ÷ %s", rate, false},
		{" CPU µs", "%s CPU ÷ ours", cost, true},
	}
	for _, samples := range all[0].Samples {
		if slices.ContainsFunc(samples, func(s Sample) bool { return s.Kernel > 0 }) {
			figures = append(figures, figure{" CPU µs with kernel threads", "%s CPU with kernel threads ÷ ours", whole, true})
			break
		}
	}
	var b strings.Builder
	line := func(cells ...string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	head := []string{"test", "unit"}
	for _, f := range figures {
		for _, s := range all {
			head = append(head, s.Server+f.unit)
		}
		for _, s := range all[1:] {
			head = append(head, fmt.Sprintf(f.ratio, s.Server))
		}
	}
	line(head...)
	line(slices.Repeat([]string{"---"}, len(head))...)
	for _, r := range Rows {
		if len(all[0].Samples[r.Name]) == 0 {
			continue
		}
		cells := []string{r.Title, r.Unit}
		for _, f := range figures {
			ours := spreadOf(all[0].Samples[r.Name], f.of)
			for _, s := range all {
				cells = append(cells, spreadOf(s.Samples[r.Name], f.of).String())
			}
			for _, s := range all[1:] {
				ratio := ours.mid / spreadOf(s.Samples[r.Name], f.of).mid
				if f.isLessGood {
					ratio = 1 / ratio
				}
				cells = append(cells, shortRatio(ratio))
			}
		}
		line(cells...)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
