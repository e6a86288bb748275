package node

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"

	"manifold/internal/control"
	"manifold/internal/fs"
	"manifold/internal/ports"
	"manifold/internal/telemetry"
	"manifold/internal/wire/accept"
)

// remoteOptions are what FTP and SSH are built of.
type remoteOptions struct {
	fs     fs.FS
	logins *logins
	// api serves the shell.
	api    http.Handler
	ledger *ports.Ledger
	certs  *certificates
	// prompt names the server in the shell.
	prompt  string
	metrics *telemetry.Registry
	drain   time.Duration
	log     *slog.Logger
}

// remote are the protocols to which local users log in with their password or
// key: FTP, and SSH with SFTP.
type remote struct {
	o         remoteOptions
	ftp, ssh  []*door // none where a port is disabled or somebody else's
	ftpGuests *guests
	sshGuests *guests
	// foreignSSH: another SSH server of this machine has the standard port.
	foreignSSH bool
}

func newRemote(ctx context.Context, o remoteOptions) (*remote, error) {
	r := &remote{o: o, ftpGuests: newGuests(), sshGuests: newGuests()}
	who := &ftpUsers{logins: o.logins, log: o.log, ops: &opCounter{metrics: o.metrics, protocol: "ftp", kind: ftpKind}}
	for _, id := range []ports.ID{ports.FTP, ports.FTPS} {
		if o.ledger.Enabled(id) {
			r.ftp = append(r.ftp, ftpDoor(&r.o, r.ftpGuests, who, id))
		}
	}
	for protocol, g := range map[string]*guests{"ftp": r.ftpGuests, "ssh": r.sshGuests} {
		o.metrics.Connections(protocol, func() uint64 { n, _ := g.count(); return n }, func() uint64 { _, n := g.count(); return n })
	}
	if !o.ledger.Enabled(ports.SSH) {
		return r, nil
	}
	d, err := sshDoor(ctx, &r.o, r.sshGuests)
	if err != nil {
		return nil, err
	}
	// Most machines have an SSH server, by which they are administered: that one
	// keeps the standard port, and ours is not there until it is moved.
	if o.logins.config.SSHInForce().Enabled {
		var all *ports.ConflictError
		if err := d.bind(ctx); errors.As(err, &all) && o.ledger.Number(ports.SSH) == 22 &&
			!slices.ContainsFunc(all.Conflicts, func(c ports.Conflict) bool { return !errors.Is(c.Err, syscall.EADDRINUSE) }) {
			o.log.WarnContext(ctx, "SSH is not served: another server of this machine has port 22; --port ssh=N moves ours")
			r.foreignSSH = true
			return r, nil
		}
	}
	r.ssh = []*door{d}
	return r, nil
}

// doors are all ports that can be opened.
func (r *remote) doors() []*door { return slices.Concat(r.ftp, r.ssh) }

func (r *remote) unbind() {
	for _, d := range r.doors() {
		d.unbind()
	}
}

func (r *remote) users() *disconnecting {
	return &disconnecting{Store: r.o.logins.config, guests: []*guests{r.ftpGuests, r.sshGuests}}
}

func (r *remote) ftpAdmin() ftpAdmin { return ftpAdmin{r.o.logins.config, r} }
func (r *remote) sshAdmin() sshAdmin { return sshAdmin{r.users(), r} }

// status of a protocol on this node.
func (r *remote) status(wanted bool, id ports.ID) control.ServiceStatus {
	switch {
	case r.o.ledger.Listening(id):
		return control.ServiceStatus{State: "RUNNING"}
	case !wanted:
		return control.ServiceStatus{State: "STOPPED"}
	case !r.o.ledger.Enabled(id):
		return control.ServiceStatus{State: "FAILED", Error: "the port is disabled on the command line"}
	}
	return control.ServiceStatus{State: "FAILED", Error: "the port is not open; the server's log says why"}
}

// move changes a setting and moves doors along. A port that cannot be opened
// is told before anything changes.
func move[T any](ctx context.Context, open bool, doors []*door, set func() (T, error)) (v T, err error) {
	for _, d := range doors {
		if !open {
			break
		}
		if err := d.Bind(ctx); err != nil {
			return v, err
		}
	}
	v, err = set()
	// Also after a failure: a port that was bound may not be wanted.
	for _, d := range doors {
		err = errors.Join(err, d.Sync(context.WithoutCancel(ctx)))
	}
	return v, err
}

// guest is a server of connections that users have logged in to.
type guest interface {
	Shutdown(ctx context.Context) error
	Stats() accept.Stats
	Disconnect(user string) int
}

// guests are the servers of one protocol: one for each open door, and those of
// doors closed before that still finish something.
type guests struct {
	mu   sync.Mutex
	live map[guest]struct{}
	past uint64 // connections that those which are gone had accepted
}

func newGuests() *guests { return &guests{live: map[guest]struct{}{}} }

// opening makes what a door runs of a server that was built, or could not be.
func (g *guests) opening(s guest, err error, serve func(context.Context, net.Listener) error) doorServer {
	if err == nil {
		g.mu.Lock()
		g.live[s] = struct{}{}
		g.mu.Unlock()
	}
	return &opening{g, s, err, serve}
}

func (g *guests) gone(s guest) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.live[s]; ok {
		delete(g.live, s)
		g.past += s.Stats().Accepted
	}
}

// count answers how many connections were opened, and how many of them ended.
func (g *guests) count() (opened, ended uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	opened, ended = g.past, g.past
	for s := range g.live {
		n := s.Stats()
		opened += n.Accepted
		ended += n.Accepted - uint64(n.Open)
	}
	return opened, ended
}

// disconnect ends the connections of an account.
func (g *guests) disconnect(user string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for s := range g.live {
		s.Disconnect(user)
	}
}

// opening is a server between the opening and the closing of its door.
type opening struct {
	g     *guests
	s     guest
	err   error // why there is no server
	serve func(context.Context, net.Listener) error
}

// Serve implements doorServer.
func (o *opening) Serve(ctx context.Context, socks *ports.Sockets) error {
	if o.err != nil {
		return o.err
	}
	err := serveSockets(socks, func(l net.Listener) error { return o.serve(ctx, l) }, nil)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Shutdown implements doorServer.
func (o *opening) Shutdown(ctx context.Context) error {
	if o.err != nil {
		return nil
	}
	defer o.g.gone(o.s)
	return o.s.Shutdown(ctx)
}
