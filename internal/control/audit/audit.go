// Package audit tells an administrator's syslog server who did what: it wraps
// the file system contract, takes the verbs of the control room, and ships
// records through a spool on disk.
//
// Invariants:
//   - While nothing is to be recorded, a wrapped call costs one atomic load.
//   - No call waits for the network, nor for a disk to have written. A record is
//     in the spool when the call that it is about returns, and outlives the
//     process however that ends. What a failure of power takes with it is at
//     most the last second.
//   - Records carry a sequence number that grows by one. They are sent in
//     order; a record may be sent again only around a reconnect or restart, see
//     [ResendBytes].
//   - A full spool keeps the oldest records; how many were dropped is reported
//     by a record of its own, and until then kept over restarts.
//
// The package must not know any protocol, nor where settings are stored.
package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"manifold/internal/control"
	"manifold/internal/identity"
)

// Config says where records go.
type Config struct {
	// Enabled sends them to a syslog server.
	Enabled bool
	// Server is host and port.
	Server string
	// TLS encrypts the connection and proves the server's name.
	TLS bool
	// Local keeps them in files beside the spool.
	Local bool
	// Format of both; CSV if empty.
	Format Format
}

// Options shape a Log. Dir and Dial are required.
type Options struct {
	// Dir holds the spool; it is made if its parent exists.
	Dir string
	// Dial connects to a syslog server.
	Dial func(ctx context.Context, address string, tls bool) (net.Conn, error)
	// Names of principals; nil knows none.
	Names Names
	// Host goes into the header of each message.
	Host string
	// SpoolBytes bounds the spool; 0 is 256 MiB.
	SpoolBytes int64
	// LocalBytes bounds each of the [LocalFiles] of the local log; 0 is 64 MiB.
	LocalBytes int64
	// Retry is how long to wait after a connection failed; 0 is 5 s.
	Retry time.Duration
	// Now replaces the system's clock.
	Now func() time.Time
	// Logger gets troubles; nil discards.
	Logger *slog.Logger
}

// State of the connection.
type State string

// States as clients know them.
const (
	Connected    State = "AUDIT_LOG_CONNECTED"
	Connecting   State = "AUDIT_LOG_CONNECTING"
	Disconnected State = "AUDIT_LOG_DISCONNECTED"
	Disabled     State = "AUDIT_LOG_DISABLED"
)

// Status is how the log is.
type Status struct {
	State   State
	Error   string // what went wrong, in short
	Details string
	// Spooled and Dropped count records since the start of the process.
	Spooled, Dropped uint64
	// Sent is the last sequence number that was sent, Kept that in the local
	// log since it was begun, Last the last there is.
	Sent, Kept, Last uint64
	// Bytes in the spool, of Limit.
	Bytes, Limit int64
}

// Log takes records and ships them. [Log.Run] makes it work.
type Log struct {
	o     Options
	on    atomic.Bool
	epoch atomic.Uint64 // how often it was switched on
	json  atomic.Bool
	spool *spool
	clock *clock
	fold  folder
	again repeats
	lost  atomic.Uint64
	full  atomic.Bool // a record was dropped since sync looked

	local atomic.Uint64 // last sequence number in the local log
	more  [2]bell       // the sender and the local log wait for records

	mu struct {
		sync.Mutex
		config  Config
		status  Status
		changed chan struct{} // closed when config changes
	}
}

// Open reads the spool of an earlier run. Close it, after Run has ended.
func Open(o Options) (*Log, error) {
	if o.SpoolBytes == 0 {
		o.SpoolBytes = 256 << 20
	}
	if o.LocalBytes == 0 {
		o.LocalBytes = 64 << 20
	}
	if o.Retry == 0 {
		o.Retry = 5 * time.Second
	}
	if o.Names == nil {
		o.Names = func(identity.AuthID) (string, string) { return "", "" }
	}
	o.Host = header(o.Host)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s, err := openSpool(o.Dir, o.SpoolBytes)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	l := &Log{o: o, spool: s, clock: newClock(o.Now), fold: newFolder()}
	for i := range l.more {
		l.more[i].c = make(chan struct{}, 1)
	}
	l.mu.changed = make(chan struct{})
	l.mu.status.State = Disabled
	return l, nil
}

// Enabled tells whether records are wanted.
func (l *Log) Enabled() bool { return l.on.Load() }

// Configure puts a configuration in force.
func (l *Log) Configure(c Config) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.Format == "" {
		c.Format = CSV
	}
	if c == l.mu.config {
		return
	}
	l.mu.config = c
	l.mu.status.State, l.mu.status.Error, l.mu.status.Details = Connecting, "", ""
	if !c.Enabled {
		l.mu.status.State = Disabled
	}
	if on := c.Enabled || c.Local; on != l.on.Load() {
		l.epoch.Add(1)
		l.on.Store(on)
	}
	l.json.Store(c.Format == JSON)
	close(l.mu.changed)
	l.mu.changed = make(chan struct{})
}

// Changed answers a channel that is closed when another configuration is put in force.
func (l *Log) Changed() <-chan struct{} {
	_, changed := l.config()
	return changed
}

// Verb records what an administrator did.
func (l *Log) Verb(e control.AuditEvent) {
	r := Record{User: e.User, Client: e.Client, Protocol: "api", Operation: e.Operation, Status: e.Status, Extra: e.Extra, Extra2: e.Extra2}
	if e.Repeats {
		l.Once(&r)
	} else {
		l.Add(&r)
	}
}

// Once stores a record unless it has stored the same of late.
func (l *Log) Once(r *Record) {
	if l.on.Load() && l.again.first(r, l.clock.coarse()) {
		l.add(r)
	}
}

// Target is [Log.Configure] in the words of the control room.
func (l *Log) Target(t control.AuditTarget) {
	l.Configure(Config{Enabled: t.Enabled, Server: t.Server, TLS: t.TLS, Local: t.Local, Format: Format(t.Format)})
}

// AuditStatus is [Log.Status] in the words of the control room.
func (l *Log) AuditStatus() control.AuditStatus {
	s := l.Status()
	return control.AuditStatus{State: string(s.State), Error: s.Error, Details: s.Details}
}

var _ control.AuditLog = (*Log)(nil)

func (l *Log) config() (Config, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.config, l.mu.changed
}

// Status answers how the log is.
func (l *Log) Status() Status {
	l.mu.Lock()
	s := l.mu.status
	l.mu.Unlock()
	s.Spooled, s.Dropped = l.spool.count(), l.lost.Load()
	p, bytes := l.spool.state()
	s.Sent, s.Kept, s.Last, s.Bytes, s.Limit = p.Sent, l.local.Load(), p.Next-1, bytes, l.spool.limit
	return s
}

func (l *Log) state(s State, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.status.State, l.mu.status.Error, l.mu.status.Details = s, "", ""
	if err != nil {
		l.mu.status.Error, l.mu.status.Details = "the connection to the syslog server failed", err.Error()
	}
}

func (l *Log) format() Format {
	if l.json.Load() {
		return JSON
	}
	return CSV
}

// Add stores a record. What does not fit is dropped and counted.
func (l *Log) Add(r *Record) {
	if l.on.Load() {
		l.add(r)
	}
}

func (l *Log) add(r *Record) {
	at := l.clock.read()
	var room [512]byte // of most texts
	if err := l.spool.append(at, appendText(room[:0], r, l.format(), l.o.Names), l.dropped); err != nil {
		l.lost.Add(1)
		l.full.Store(true)
		return
	}
	for i := range l.more {
		l.more[i].ring()
	}
}

// dropped renders the record of records that are not there.
func (l *Log) dropped(n uint64) []byte {
	r := internal("audit_records_dropped")
	r.Extra = strconv.FormatUint(n, 10)
	return appendText(nil, &r, l.format(), l.o.Names)
}

// internal is a record about the log itself.
func internal(op string) Record {
	return Record{User: identity.System, Protocol: "internal", Operation: op, Status: "ok"}
}

// bell wakes one goroutine that waits.
type bell struct {
	waiting atomic.Bool
	c       chan struct{}
}

func (b *bell) ring() {
	if b.waiting.Load() && b.waiting.Swap(false) {
		select {
		case b.c <- struct{}{}:
		default:
		}
	}
}

// Run stores and sends until ctx ends.
func (l *Log) Run(ctx context.Context) {
	var parts sync.WaitGroup
	defer parts.Wait()
	parts.Go(func() { l.send(ctx) })
	parts.Go(func() { l.keep(ctx) })
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			l.clock.reset()
			if err := l.tidy(); err != nil {
				l.o.Logger.ErrorContext(ctx, "audit spool", "error", err)
			}
		}
	}
}

// tidy makes the spool durable, gives back what is done, and reports what was
// dropped if there is room again.
func (l *Log) tidy() error {
	c, _ := l.config()
	p, _ := l.spool.state()
	done := p.Sent
	if c.Local {
		if local := l.local.Load(); !c.Enabled {
			l.spool.sent(local, p.At) // what is not for the server is no backlog of it
			done = local
		} else {
			done = min(done, local)
		}
	}
	err := errors.Join(l.spool.sync(), l.spool.trim(done))
	if l.full.Swap(false) {
		switch ferr := l.spool.flushDropped(l.clock.read(), l.dropped); {
		case errors.Is(ferr, errFull):
			l.full.Store(true)
		case ferr != nil:
			l.full.Store(true)
			err = errors.Join(err, ferr)
		default:
			for i := range l.more {
				l.more[i].ring()
			}
		}
	}
	return err
}

// Close makes durable what is left and closes the spool.
func (l *Log) Close() error { return l.spool.close() }

var _ io.Closer = (*Log)(nil)
