package nfs3

import (
	"context"
	"time"

	"manifold/internal/fs"
	"manifold/internal/fs/export"
	"manifold/internal/identity"
	"manifold/internal/wire/nfs3/mount"
	"manifold/internal/wire/sunrpc"
)

// mountBackend answers MOUNT from the exports.
type mountBackend struct{ s *Server }

// Mount implements mount.Backend.
func (b mountBackend) Mount(ctx context.Context, c *sunrpc.Call, path string) ([]byte, mount.Status) {
	s := b.s
	if s.o.AuthSys != nil && !s.o.AuthSys() {
		return nil, mount.ErrAcces
	}
	x, ok := s.o.Exports.ByPath(path)
	if !ok {
		return nil, mount.ErrNoEnt
	}
	if _, ok := s.match(ctx, c.Peer, x); !ok {
		s.quiet.Do(func() {
			s.o.Logger.WarnContext(ctx, "mount refused by an export's rules", "client", c.Peer, "export", x.ID, "path", x.Path)
		})
		return nil, mount.ErrAcces
	}
	root, err := s.rootOf(ctx, x, true)
	if err != nil {
		s.quiet.Do(func() {
			s.o.Logger.WarnContext(ctx, "mount failed: the export's directory cannot be reached", "client", c.Peer,
				"export", x.ID, "directory", x.FSPath, "error", err)
		})
		switch fs.KindOf(err) {
		case fs.NotExist, fs.Stale:
			return nil, mount.ErrNoEnt
		case fs.NotDir:
			return nil, mount.ErrNotDir
		}
		return nil, mount.ErrServerFault
	}
	var h [handleSize]byte
	s.handles.put(&h, handle{node: fs.Node{ID: root}, root: root, export: x.ID})
	s.o.Logger.InfoContext(ctx, "mounted", "client", c.Peer, "export", x.ID, "path", x.Path)
	return h[:], mount.OK
}

// List implements mount.Backend. The names of exports are public; who may use
// them is shown as the rules name hosts.
func (b mountBackend) List(yield func(path string, hosts []string) bool) {
	for _, x := range b.s.o.Exports.All() {
		if !yield(x.Path, hostsOf(x)) {
			return
		}
	}
}

// hostsOf are the hosts that an export's rules name, none if anyone may mount it.
func hostsOf(x *export.Export) []string {
	var hosts []string
	for i := range x.Rules {
		if len(x.Rules[i].Hosts) == 0 {
			return nil
		}
		for _, h := range x.Rules[i].Hosts {
			hosts = append(hosts, h.String())
		}
	}
	return hosts
}

func (s *Server) observeMount(c *sunrpc.Call, name, path string, st mount.Status) {
	if s.o.Observer != nil {
		o := Op{
			Program: "mount", Name: name, Proc: c.Proc, Status: Status(st),
			Duration: time.Since(c.Start), Client: c.Peer.Addr(), Export: path,
		}
		if c.Cred.Flavor == sunrpc.FlavorSys {
			o.User = identity.UID(c.Cred.UID)
		}
		s.o.Observer.Observe(o)
	}
}
