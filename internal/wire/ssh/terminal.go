package ssh

import (
	"bytes"
	"context"
	"io"
	"sync"

	"golang.org/x/term"
)

// maxTyped bounds what was typed ahead.
const maxTyped = 64 << 10

// interrupt is what a terminal sends for Ctrl-C.
const interrupt = 3

// crlf writes to a terminal, which wants a carriage return before each newline.
type crlf struct {
	mu   sync.Mutex
	w    io.Writer
	last byte
}

func (c *crlf) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []byte
	for _, b := range p {
		if b == '\n' && c.last != '\r' {
			out = append(out, '\r')
		}
		out = append(out, b)
		c.last = b
	}
	if _, err := c.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// typed is the input from a terminal. It is read ahead, so that an interrupt is
// seen while nobody reads.
type typed struct {
	mu     sync.Mutex
	cond   sync.Cond
	b      []byte
	err    error
	onStop func() // called for an interrupt, which is then not delivered; nil delivers it
}

func newTyped() *typed {
	t := &typed{}
	t.cond.L = &t.mu
	return t
}

// pump reads until r ends.
func (t *typed) pump(r io.Reader) {
	buf := make([]byte, 4096)
	for {
		n, err := r.Read(buf)
		t.mu.Lock()
		for len(t.b) > maxTyped && t.err == nil && t.onStop == nil {
			t.cond.Wait()
		}
		in := buf[:n]
		if t.onStop != nil {
			if i := bytes.LastIndexByte(in, interrupt); i >= 0 {
				t.onStop()
				t.b, in = nil, in[i+1:] // an interrupt takes what was typed ahead with it
			}
			if len(t.b) > maxTyped {
				in = nil
			}
		}
		t.b = append(t.b, in...)
		if err != nil {
			t.err = err
		}
		t.cond.Broadcast()
		t.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (t *typed) Read(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.b) == 0 && t.err == nil {
		t.cond.Wait()
	}
	if len(t.b) == 0 {
		return 0, t.err
	}
	n := copy(p, t.b)
	t.b = t.b[n:]
	t.cond.Broadcast()
	return n, nil
}

// end makes reads and the pump's waiting fail.
func (t *typed) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		t.err = io.EOF
	}
	t.cond.Broadcast()
}

// Interruptible runs do with a context that ends when the user of a terminal
// presses Ctrl-C or the client sends the signal INT.
func (s *Session) Interruptible(ctx context.Context, do func(context.Context) int) int {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(done)
	defer cancel()
	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			select {
			case name := <-s.Signals:
				if name == "INT" || name == "TERM" || name == "HUP" {
					cancel()
				}
			case <-done:
				return
			}
		}
	}()
	if s.typed != nil {
		s.typed.mu.Lock()
		s.typed.onStop = cancel
		s.typed.cond.Broadcast()
		s.typed.mu.Unlock()
		defer func() {
			s.typed.mu.Lock()
			s.typed.onStop = nil
			s.typed.mu.Unlock()
		}()
	}
	return do(ctx)
}

// Complete extends a line that is being typed, at a position in it, when the
// user presses the tabulator.
type Complete func(line string, pos int) (newLine string, newPos int, ok bool)

// An Editor reads lines from a terminal, with editing keys and a history.
type Editor struct {
	t    *term.Terminal
	stop chan struct{}
	wg   sync.WaitGroup
}

// Editor starts editing lines. The session must have a terminal, and the
// caller close the editor. Lines of history come oldest first.
func (s *Session) Editor(prompt string, history []string, complete Complete) *Editor {
	e := &Editor{stop: make(chan struct{})}
	e.t = term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{s.Stdin, s.Stdout}, prompt)
	if complete != nil {
		e.OnTab(complete)
	}
	for _, h := range history {
		e.t.History.Add(h)
	}
	if s.Terminal != nil {
		e.resize(s.Terminal.Window)
		e.wg.Add(1)
		go func() {
			defer e.wg.Done()
			for {
				select {
				case w := <-s.Terminal.Resized:
					e.resize(w)
				case <-e.stop:
					return
				}
			}
		}()
	}
	return e
}

func (e *Editor) resize(w Window) {
	if w.Columns > 0 && w.Rows > 0 {
		_ = e.t.SetSize(int(w.Columns), int(w.Rows))
	}
}

// ReadLine reads one line. The error is io.EOF at the end of the input, and
// when the user presses Ctrl-C or, on an empty line, Ctrl-D.
func (e *Editor) ReadLine() (string, error) { return e.t.ReadLine() }

// ReadPassword reads one line without showing it.
func (e *Editor) ReadPassword(prompt string) (string, error) { return e.t.ReadPassword(prompt) }

// OnTab says how the tabulator extends what is being typed; complete may write
// to the editor. It must not be called while a line is read.
func (e *Editor) OnTab(complete Complete) {
	e.t.AutoCompleteCallback = func(line string, pos int, key rune) (string, int, bool) {
		if key != '\t' {
			return "", 0, false
		}
		return complete(line, pos)
	}
}

// Write prints above the line that is being typed.
func (e *Editor) Write(p []byte) (int, error) { return e.t.Write(p) }

// Close ends the editor; it does not end the session.
func (e *Editor) Close() {
	close(e.stop)
	e.wg.Wait()
}
