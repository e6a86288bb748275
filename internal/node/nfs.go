package node

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"manifold/internal/config"
	"manifold/internal/fs"
	"manifold/internal/fs/export"
	"manifold/internal/ports"
	"manifold/internal/telemetry"
	"manifold/internal/wire/nfs3"
	"manifold/internal/wire/nfs3/nlm"
	"manifold/internal/wire/sunrpc"
)

// newNFS builds the NFS server of a node and the lock manager beside it, on a
// file system that may be decorated.
func newNFS(ctx context.Context, st *storage, f fs.FS, l *ports.Ledger, dns lookuper, name string, tr *trail, metrics *telemetry.Registry, slow time.Duration, log *slog.Logger) (*nfs3.Server, *nlm.Service, error) {
	var srv *nfs3.Server // the lock manager asks it for handles once it serves
	locks, err := newNLM(context.WithoutCancel(ctx), st.fs, l, name, func(ctx context.Context, c *sunrpc.Call, fh []byte) (fs.Node, *fs.Caller, error) {
		return srv.Resolve(ctx, c, fh)
	}, log)
	if err != nil {
		return nil, nil, err
	}
	super := st.fs.Superblock()
	srv, err = nfs3.New(nfs3.Options{
		FS: f, Exports: exports{st.config}, Identities: st.config.Resolver(), Names: names{dns}.of,
		HandleKey: super.HandleKey[:], FSID: super.UUID,
		AuthSys:  func() bool { return st.config.NFSInForce().AuthSysEnabled },
		Observer: newNFSObserver(metrics, tr), Logger: log, SlowOp: slow,
		Extra: countLocks(metrics, locks.Programs()),
	})
	if err != nil {
		return nil, nil, errors.Join(err, locks.Shutdown(ctx))
	}
	metrics.Connections("nfs",
		func() uint64 { return srv.Stats().Accepted },
		func() uint64 { n := srv.Stats(); return n.Accepted - uint64(max(n.Conns, 0)) })
	return srv, locks, nil
}

// nfsPart serves on the sockets of the NFS port.
func nfsPart(s *nfs3.Server, socks *ports.Sockets) part {
	return part{
		name: "NFS",
		serve: func(ctx context.Context) error {
			return serveSockets(socks, func(l net.Listener) error { return s.Serve(ctx, l) }, func(p net.PacketConn) error { return s.ServePacket(ctx, p) })
		},
		shutdown: s.Shutdown,
	}
}

// serveSockets runs a server on all sockets of a port and answers the first
// failure, after which it closes them all. Each serve ends when its socket is closed.
func serveSockets(s *ports.Sockets, stream func(net.Listener) error, packet func(net.PacketConn) error) error {
	var (
		running sync.WaitGroup
		once    sync.Once
		first   error
	)
	run := func(serve func() error) {
		running.Go(func() {
			if err := serve(); err != nil && !errors.Is(err, net.ErrClosed) {
				once.Do(func() {
					first = err
					_ = s.Close() // some may be closed already
				})
			}
		})
	}
	for _, l := range s.Listeners {
		run(func() error { return stream(l) })
	}
	for _, p := range s.Packets {
		run(func() error { return packet(p) })
	}
	running.Wait()
	return first
}

// exports are the exports in force.
type exports struct{ c *config.Store }

// ByID, ByPath and All implement nfs3.Exports.
func (e exports) ByID(id uint32) (*export.Export, bool) { return e.c.ExportTable().Rules(id) }
func (e exports) ByPath(path string) (*export.Export, bool) {
	return e.c.ExportTable().RulesByPath(path)
}
func (e exports) All() []*export.Export { return e.c.ExportTable().AllRules() }

// nfsObserver counts calls in the metrics and records mounts.
type nfsObserver struct {
	ops   opCounter
	trail *trail
}

func newNFSObserver(m *telemetry.Registry, tr *trail) *nfsObserver {
	return &nfsObserver{opCounter{metrics: m, protocol: "nfs", kind: kindOf}, tr}
}

// Observe implements nfs3.Observer.
func (v *nfsObserver) Observe(o nfs3.Op) {
	v.ops.done(o.Name, o.Duration, o.In+o.Out, o.Status != 0)
	v.trail.mount(&o)
	v.trail.nfs(&o)
}

// nlmNames are the procedures of NLM 4 by number; answers to our callbacks and
// what nobody sends any more go as one.
var nlmNames = map[uint32]string{
	0: "NULL", 1: "TEST", 2: "LOCK", 3: "CANCEL", 4: "UNLOCK", 6: "TEST_MSG", 7: "LOCK_MSG", 8: "CANCEL_MSG", 9: "UNLOCK_MSG",
	20: "SHARE", 21: "UNSHARE", 22: "NM_LOCK", 23: "FREE_ALL",
}

// nsmNames are the procedures of NSM 1 that clients use.
var nsmNames = map[uint32]string{0: "NULL", 6: "NOTIFY"}

// countLocks counts calls of the lock manager and the status monitor.
func countLocks(m *telemetry.Registry, programs []*sunrpc.Program) []*sunrpc.Program {
	out := make([]*sunrpc.Program, len(programs))
	for i, p := range programs {
		prefix, names := "NLM_", nlmNames
		if p.Number == nlm.MonitorProgram {
			prefix, names = "NSM_", nsmNames
		}
		ops := map[uint32]*telemetry.Op{}
		for proc, name := range names {
			ops[proc] = m.Op("nfs", prefix+name, telemetry.Metadata, telemetry.Composite)
		}
		other := m.Op("nfs", prefix+"OTHER", telemetry.Metadata, telemetry.Composite)
		counted := *p
		counted.Handle = func(ctx context.Context, c *sunrpc.Call) sunrpc.Accept {
			a := p.Handle(ctx, c)
			op, ok := ops[c.Proc]
			if !ok {
				op = other
			}
			op.Done(time.Since(c.Start), 0, a != sunrpc.Success)
			return a
		}
		out[i] = &counted
	}
	return out
}

func kindOf(name string) (telemetry.DataType, telemetry.IOType) {
	switch name {
	case "NULL":
		return telemetry.NoData, telemetry.NoIO
	case "READ":
		return telemetry.Data, telemetry.Read
	case "WRITE", "COMMIT":
		return telemetry.Data, telemetry.Write
	case "SETATTR", "CREATE", "MKDIR", "SYMLINK", "MKNOD", "REMOVE", "RMDIR", "RENAME", "LINK":
		return telemetry.Metadata, telemetry.Write
	}
	return telemetry.Metadata, telemetry.Read
}
