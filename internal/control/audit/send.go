package audit

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"time"
)

const (
	// gather is how long the first record that finds an idle sender waits for
	// more: sending each by itself would cost more than what is recorded.
	gather = 100 * time.Millisecond
	// stuck is how long a server may take nothing.
	stuck = 30 * time.Second
	// farewell is how long a stop waits for what is left to go out.
	farewell = 2 * time.Second
	// sendBytes go out at once, or somewhat more.
	sendBytes = 64 << 10
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
		if err == nil || ctx.Err() != nil {
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
	conn, err := l.o.Dial(ctx, c.Server, c.TLS)
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
	// A stop does not wait for a server that takes nothing.
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now().Add(farewell)) })()
	r := l.spool.resume()
	defer r.close()
	l.state(Connected, nil)
	start := internal("remote_syslog_startup")
	start.Extra = c.Server
	l.Add(&start)
	w := wire{l: l, conn: conn, r: r, text: messages{host: l.o.Host}}
	for {
		if err := w.sendAll(ctx, gone); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return w.end()
		case <-changed:
			return w.end()
		default:
		}
		if err := l.more[0].wait(ctx, changed, gone, w.r); err != nil {
			return err
		}
	}
}

var errGone = errors.New("the syslog server closed the connection")

// wait returns when there may be more, the configuration changes or ctx ends.
func (b *bell) wait(ctx context.Context, changed, gone <-chan struct{}, r *reader) error {
	b.waiting.Store(true)
	if !r.ready() {
		select {
		case <-ctx.Done():
		case <-changed:
		case <-gone:
			return errGone
		case <-b.c:
		}
	}
	t := time.NewTimer(gather)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-changed:
	case <-t.C:
	}
	_ = r.s.file() // [Log.tidy] reports it, and more may be there nevertheless
	return nil
}

// wire frames what a reader reads and puts it on a connection.
type wire struct {
	l    *Log
	conn net.Conn
	r    *reader
	out  []byte
	msg  []byte
	text messages
}

// sendAll sends until nothing is left.
func (w *wire) sendAll(ctx context.Context, gone <-chan struct{}) error {
	for {
		select {
		case <-gone:
			return errGone
		default:
		}
		n, err := w.burst(ctx)
		if n == 0 || err != nil {
			return err
		}
	}
}

// end sends what was recorded up to now and the last record of a connection.
func (w *wire) end() error {
	stop := internal("remote_syslog_shutdown")
	w.l.add(&stop) // whatever the new configuration is
	if err := w.conn.SetDeadline(time.Now().Add(farewell)); err != nil {
		return err
	}
	_ = w.l.spool.file() // what is there goes out nevertheless
	p, _ := w.l.spool.state()
	for w.r.next < p.Next {
		if n, err := w.burst(nil); n == 0 || err != nil {
			return err
		}
	}
	return nil
}

// burst sends some records and answers how many. Without ctx the deadline is
// that of the connection.
func (w *wire) burst(ctx context.Context) (n int, err error) {
	w.out = w.out[:0]
	last := uint64(0)
	for len(w.out) < sendBytes {
		e, ok := w.r.read()
		if !ok {
			break
		}
		w.msg = w.text.append(w.msg[:0], &e)
		// Octet counting of RFC 6587 3.4.1 and RFC 5425 4.3: a message may hold any byte.
		w.out = strconv.AppendInt(w.out, int64(len(w.msg)), 10)
		w.out = append(w.out, ' ')
		w.out = append(w.out, w.msg...)
		n, last = n+1, e.seq
	}
	if n == 0 {
		return 0, nil
	}
	if ctx != nil && ctx.Err() == nil {
		if err := w.conn.SetWriteDeadline(time.Now().Add(stuck)); err != nil {
			return 0, err
		}
		if ctx.Err() != nil { // meanwhile
			if err := w.conn.SetDeadline(time.Now().Add(farewell)); err != nil {
				return 0, err
			}
		}
	}
	if _, err := w.conn.Write(w.out); err != nil {
		return 0, err
	}
	w.l.spool.sent(last, time.Unix(0, w.l.clock.read()))
	return n, nil
}
