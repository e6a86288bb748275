package audit

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"time"

	"manifold/internal/identity"
)

// send keeps a connection and sends what is spooled, until ctx ends.
func (l *Log) send(ctx context.Context) {
	for ctx.Err() == nil {
		c, changed := l.config()
		if !c.Enabled {
			select {
			case <-ctx.Done():
			case <-changed:
			}
			continue
		}
		err := l.session(ctx, c, changed)
		if err == nil {
			continue
		}
		l.state(Disconnected, err)
		l.o.Logger.WarnContext(ctx, "audit log is not connected; records are spooled", "server", c.Server, "error", err)
		t := time.NewTimer(l.o.Retry)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-t.C:
		}
		t.Stop()
	}
}

// session sends over one connection. It answers nil when the configuration
// changes or ctx ends.
func (l *Log) session(ctx context.Context, c Config, changed <-chan struct{}) error {
	l.state(Connecting, nil)
	conn, err := l.o.Dial(ctx, c.Server)
	if err != nil {
		return err
	}
	defer conn.Close()
	// A server that goes away says so by closing its side.
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, conn)
	}()
	defer func() { <-gone }()
	defer conn.Close()
	r := l.spool.resume()
	defer r.close()
	l.state(Connected, nil)
	l.Add(Record{User: identity.System, Protocol: "internal", Operation: "remote_syslog_startup", Status: "ok", Extra: c.Server})
	w := bufio.NewWriterSize(conn, 64<<10)
	for {
		select {
		case <-gone:
			return errors.New("the syslog server closed the connection")
		default:
		}
		n, err := l.burst(conn, w, r, c.Format)
		if err != nil {
			return err
		}
		if n > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			return l.drain(conn, w, r, c.Format)
		case <-gone:
		case <-l.more:
		}
	}
}

// drain sends what was recorded under the configuration that ends, the change
// of it among others.
func (l *Log) drain(conn net.Conn, w *bufio.Writer, r *reader, f Format) error {
	l.Add(Record{User: identity.System, Protocol: "internal", Operation: "remote_syslog_shutdown", Status: "ok"})
	if err := l.store(); err != nil {
		return err
	}
	for range 1000 {
		if n, err := l.burst(conn, w, r, f); n == 0 || err != nil {
			return err
		}
	}
	return nil
}

// burst sends some records and answers how many.
func (l *Log) burst(conn net.Conn, w *bufio.Writer, r *reader, f Format) (int, error) {
	const most = 256
	if err := conn.SetWriteDeadline(l.o.Now().Add(30 * time.Second)); err != nil {
		return 0, err
	}
	n, last := 0, uint64(0)
	for ; n < most; n++ {
		rec, _, ok := r.read()
		if !ok {
			break
		}
		m := message(&rec, f, l.o.Host, l.o.Names)
		// Octet counting of RFC 6587: a message may hold any byte.
		if _, err := w.WriteString(strconv.Itoa(len(m)) + " "); err != nil {
			return n, err
		}
		if _, err := w.Write(m); err != nil {
			return n, err
		}
		last = rec.Seq
	}
	if n == 0 {
		return 0, nil
	}
	if err := w.Flush(); err != nil {
		return n, err
	}
	l.spool.sent(last, l.o.Now().UTC())
	return n, nil
}
