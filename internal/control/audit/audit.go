// Package audit tells an administrator's syslog server who did what: it wraps
// the file system contract, takes the verbs of the control room, and ships
// records through a spool on disk.
//
// Invariants:
//   - While nothing is to be sent, a wrapped call costs one atomic load.
//   - No call waits for the network or the disk of the log: a record is queued
//     in memory, and dropped and counted when there is no room.
//   - Records carry a sequence number that grows by one. They are sent in
//     order; a record may be sent again only around a reconnect or restart, see
//     [ResendBytes].
//   - A full spool keeps the oldest records; how many were dropped is reported
//     by a record of its own.
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
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"manifold/internal/control"
	"manifold/internal/identity"
)

// Record is one thing that somebody did.
type Record struct {
	Seq       uint64          `json:"seq"`
	Time      time.Time       `json:"time"`
	User      identity.AuthID `json:"user"`
	Client    netip.Addr      `json:"client,omitzero"`
	Protocol  string          `json:"protocol"`
	Operation string          `json:"operation"`
	// Status is "ok" or an error class without its suffix.
	Status string `json:"status"`
	FileID uint64 `json:"file,omitempty"`
	Path   string `json:"path,omitempty"`
	Target string `json:"target,omitempty"`
	// Extra names what an operation that is on no file was about.
	Extra, Extra2 string  `json:",omitempty"`
	Offset        *uint64 `json:"offset,omitempty"`
	Size          *uint64 `json:"size,omitempty"`
	FileSize      *uint64 `json:"file_size,omitempty"`
}

// Format of the message part.
type Format string

// Formats.
const (
	CSV  Format = "csv"
	JSON Format = "json"
)

// Config says where records go.
type Config struct {
	Enabled bool
	// Server is host and port.
	Server string
	Format Format
}

// Names tells how a principal is called; empty texts are unknown.
type Names func(a identity.AuthID) (name, sid string)

// Options shape a Log. Dir and Dial are required.
type Options struct {
	// Dir holds the spool; it is made if its parent exists.
	Dir string
	// Dial connects to a syslog server.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// Names of principals; nil knows none.
	Names Names
	// Host goes into the header of each message.
	Host string
	// SpoolBytes bounds the spool; 0 is 256 MiB.
	SpoolBytes int64
	// Retry is how long to wait after a connection failed; 0 is 5 s.
	Retry time.Duration
	Now   func() time.Time
	// Logger gets troubles; nil discards.
	Logger *slog.Logger
}

// queueLimit bounds records that wait for the disk.
const queueLimit = 1 << 16

// State of the connection.
type State string

// States as clients know them.
const (
	Connected    State = "AUDIT_LOG_CONNECTED"
	Connecting   State = "AUDIT_LOG_CONNECTING"
	Disconnected State = "AUDIT_LOG_DISCONNECTED"
	Disabled     State = "AUDIT_LOG_DISABLED"
)

// Status is how the sender is.
type Status struct {
	State   State
	Error   string // what went wrong, in short
	Details string
	// Spooled and Dropped count records since the start of the process.
	Spooled, Dropped uint64
}

// Log takes records and ships them. [Log.Run] makes it work.
type Log struct {
	o     Options
	on    atomic.Bool
	spool *spool
	fold  folder

	mu struct {
		sync.Mutex
		queue   []Record
		config  Config
		status  Status
		dropped uint64 // not yet reported
		closed  bool
		changed chan struct{} // closed when config changes
	}
	wake chan struct{} // records wait in the queue
	more chan struct{} // the spool has grown
}

// Open reads the spool of an earlier run. Close it, after Run has ended.
func Open(o Options) (*Log, error) {
	if o.SpoolBytes == 0 {
		o.SpoolBytes = 256 << 20
	}
	if o.Retry == 0 {
		o.Retry = 5 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Names == nil {
		o.Names = func(identity.AuthID) (string, string) { return "", "" }
	}
	if o.Host == "" {
		o.Host = "-"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s, err := openSpool(o.Dir, o.SpoolBytes)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	l := &Log{o: o, spool: s, wake: make(chan struct{}, 1), more: make(chan struct{}, 1)}
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
	if c == l.mu.config {
		return
	}
	l.mu.config = c
	l.mu.status.State, l.mu.status.Error, l.mu.status.Details = Connecting, "", ""
	if !c.Enabled {
		l.mu.status.State = Disabled
	}
	l.on.Store(c.Enabled)
	close(l.mu.changed)
	l.mu.changed = make(chan struct{})
}

// Verb records what an administrator did.
func (l *Log) Verb(e control.AuditEvent) {
	l.Add(Record{User: e.User, Client: e.Client, Protocol: "api", Operation: e.Operation, Status: e.Status, Extra: e.Extra, Extra2: e.Extra2})
}

// Target is [Log.Configure] in the words of the control room.
func (l *Log) Target(t control.AuditTarget) {
	l.Configure(Config{Enabled: t.Enabled, Server: t.Server, Format: Format(t.Format)})
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

// Status answers how the sender is.
func (l *Log) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.status
}

func (l *Log) state(s State, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.status.State, l.mu.status.Error, l.mu.status.Details = s, "", ""
	if err != nil {
		l.mu.status.Error, l.mu.status.Details = "the connection to the syslog server failed", err.Error()
	}
}

// Add queues a record; its sequence number and time, if zero, are given here.
func (l *Log) Add(r Record) {
	if !l.on.Load() {
		return
	}
	if r.Time.IsZero() {
		r.Time = l.o.Now().UTC()
	}
	l.mu.Lock()
	if len(l.mu.queue) >= queueLimit || l.mu.closed {
		l.mu.dropped++
		l.mu.status.Dropped++
		l.mu.Unlock()
		return
	}
	l.mu.queue = append(l.mu.queue, r)
	l.mu.Unlock()
	signal(l.wake)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// store moves what is queued to the spool.
func (l *Log) store() error {
	l.mu.Lock()
	batch, dropped := l.mu.queue, l.mu.dropped
	l.mu.queue, l.mu.dropped = nil, 0
	l.mu.Unlock()
	if dropped > 0 {
		batch = append(batch, Record{
			Time: l.o.Now().UTC(), User: identity.System, Protocol: "internal", Operation: "audit_records_dropped", Status: "ok", Extra: fmt.Sprint(dropped),
		})
	}
	stored, err := l.spool.append(batch)
	l.mu.Lock()
	l.mu.status.Spooled += uint64(stored)
	if lost := uint64(len(batch) - stored); lost > 0 {
		if dropped > 0 { // its report was the last of the batch
			lost += dropped - 1
		}
		l.mu.dropped += lost
		l.mu.status.Dropped += lost - min(lost, dropped)
	}
	l.mu.Unlock()
	if stored > 0 {
		signal(l.more)
	}
	return err
}

// Run stores and sends until ctx ends; what is queued then is stored.
func (l *Log) Run(ctx context.Context) {
	var sending sync.WaitGroup
	sending.Go(func() { l.send(ctx) })
	defer sending.Wait()
	sync := time.NewTicker(time.Second)
	defer sync.Stop()
	for {
		select {
		case <-ctx.Done():
			l.mu.Lock()
			l.mu.closed = true
			l.mu.Unlock()
			l.report(ctx, l.store())
			return
		case <-sync.C:
			l.report(ctx, l.spool.sync())
			l.mu.Lock()
			again := l.mu.dropped > 0
			l.mu.Unlock()
			if again {
				l.report(ctx, l.store()) // there may be room by now
			}
		case <-l.wake:
			l.report(ctx, l.store())
		}
	}
}

func (l *Log) report(ctx context.Context, err error) {
	if err != nil && !errors.Is(err, errFull) {
		l.o.Logger.ErrorContext(ctx, "audit records not stored", "error", err)
	}
}

// Close stores what is left and closes the spool.
func (l *Log) Close() error {
	return errors.Join(l.store(), l.spool.close())
}

var _ io.Closer = (*Log)(nil)
