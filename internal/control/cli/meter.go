package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"manifold/client"
)

// meter shows on a terminal how far long work has come; elsewhere it is silent.
type meter struct {
	w     io.Writer // nil: silent
	what  string
	total int64 // below 0: unknown
	done  int64
	start time.Time
	shown time.Time
	now   func() time.Time
	width int // of the last line
}

// meterEvery is how often a line is shown.
const meterEvery = 200 * time.Millisecond

func (a *app) meter(what string, total int64) *meter {
	m := &meter{what: what, total: total, now: time.Now}
	if f, ok := a.o.Err.(*os.File); ok && a.o.Client == nil && term.IsTerminal(int(f.Fd())) {
		m.w = f
	}
	m.start = m.now()
	m.shown = m.start
	return m
}

// set says how much is done.
func (m *meter) set(done int64) {
	m.done = done
	if now := m.now(); m.w != nil && now.Sub(m.shown) >= meterEvery {
		m.shown = now
		m.show(m.line(now))
	}
}

func (m *meter) show(line string) {
	pad := max(m.width-len(line), 0)
	m.width = len(line)
	fmt.Fprint(m.w, "\r", line, strings.Repeat(" ", pad))
}

func (m *meter) line(now time.Time) string {
	rate := float64(m.done) / max(now.Sub(m.start).Seconds(), 0.001)
	s := fmt.Sprintf("%s %s", m.what, bytesText(client.Number(m.done)))
	if m.total > 0 {
		s += fmt.Sprintf(" of %s, %d%%", bytesText(client.Number(m.total)), m.done*100/m.total)
	}
	s += fmt.Sprintf(", %s/s", bytesText(client.Number(rate)))
	if left := m.total - m.done; left > 0 && rate >= 1 {
		s += ", " + time.Duration(float64(left)/rate*float64(time.Second)).Round(time.Second).String() + " left"
	}
	return s
}

// end takes the line away.
func (m *meter) end() {
	if m.w != nil && m.width > 0 {
		fmt.Fprint(m.w, "\r", strings.Repeat(" ", m.width), "\r")
	}
}

// reader counts what is read of r.
func (m *meter) reader(r io.Reader) io.Reader { return &metered{r, m} }

type metered struct {
	r io.Reader
	m *meter
}

func (r *metered) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	r.m.set(r.m.done + int64(n))
	return n, err
}
