package nlm

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"manifold/internal/wire/sunrpc"
)

// Procedures of NSM.
const (
	monNull       = 0
	monStat       = 1
	monMon        = 2
	monUnmon      = 3
	monUnmonAll   = 4
	monSimulate   = 5
	monNotify     = 6
	monStatFailed = 1
)

var errTooManyHosts = errors.New("nlm: too many hosts hold locks")

// remember puts a host into the Store before it gets a lock.
func (s *Service) remember(ctx context.Context, h Host) error {
	s.hmu.Lock()
	defer s.hmu.Unlock()
	m := s.hosts[h.key()]
	if m != nil && m.fresh && m.Local == h.Local {
		return nil
	}
	if m == nil && len(s.hosts) >= s.o.MaxHosts {
		return errTooManyHosts
	}
	if m != nil {
		h.State = m.State
	}
	if m == nil || m.Local != h.Local {
		if err := s.o.Store.Put(ctx, h); err != nil {
			return err
		}
	}
	s.hosts[h.key()] = &monitored{Host: h, fresh: true}
	return nil
}

// monitor answers one NSM call. Only clients' notices of restarts concern us;
// we watch nobody on others' behalf.
func (s *Service) monitor(ctx context.Context, c *sunrpc.Call) sunrpc.Accept {
	d, e := &c.Args, &c.Reply
	s.mu.Lock()
	state := s.state
	s.mu.Unlock()
	switch c.Proc {
	case monNull, monSimulate:
	case monStat, monMon:
		e.U32(monStatFailed)
		e.U32(state)
	case monUnmon, monUnmonAll:
		e.U32(state)
	case monNotify:
		name := string(d.Opaque(maxCaller))
		their := d.U32()
		if !d.OK() {
			return sunrpc.GarbageArgs
		}
		s.notified(ctx, c, name, their)
	default:
		return sunrpc.ProcedureUnavailable
	}
	return sunrpc.Success
}

// notified frees the locks of a host that has restarted.
func (s *Service) notified(ctx context.Context, c *sunrpc.Call, name string, state uint32) {
	var gone []Host
	s.hmu.Lock()
	for k, m := range s.hosts {
		if k.addr != c.Peer.Addr() || !sameName(k.name, name) || m.State == state {
			continue // another host, or a notice that came twice
		}
		m.State = state
		if err := s.o.Store.Put(ctx, m.Host); err != nil {
			s.o.Logger.WarnContext(ctx, "a client's restart could not be recorded", "client", k.addr, "error", err)
		}
		gone = append(gone, m.Host)
	}
	s.hmu.Unlock()
	for _, h := range gone {
		n := s.free(ctx, h.key())
		s.o.Logger.InfoContext(ctx, "a client has restarted; its locks are freed", "client", h.Addr, "name", h.Name, "locks", n)
	}
}

// sameName compares host names; one may be short and the other full.
func sameName(a, b string) bool {
	a, b = strings.ToLower(a), strings.ToLower(b)
	if len(a) > len(b) {
		a, b = b, a
	}
	return a == b || a != "" && strings.HasPrefix(b, a+".")
}

// free releases everything of a host.
func (s *Service) free(ctx context.Context, k hostKey) int {
	client := k.client()
	s.dropWaiting(client)
	s.closeShares(ctx, client)
	n, err := s.o.FS.ReleaseClient(ctx, client)
	if err != nil {
		s.o.Logger.WarnContext(ctx, "locks of a client could not all be freed", "client", k.addr, "error", err)
	}
	return n
}

// maxNotices bounds notices under way at once.
const maxNotices = 32

// notifyAll tells hosts that we have restarted.
func (s *Service) notifyAll(hosts []Host, state uint32) {
	defer s.work.Done()
	slots := make(chan struct{}, maxNotices)
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, h := range hosts {
		select {
		case slots <- struct{}{}:
		case <-s.ctx.Done():
			return
		}
		wg.Go(func() {
			defer func() { <-slots }()
			s.notify(h, state)
		})
	}
}

// notify tells one host until it hears. A host that heard and has reclaimed
// nothing by the end of the grace period holds no locks any more.
func (s *Service) notify(h Host, state uint32) {
	limit := time.Now().Add(s.o.NoticePatience)
	pause := s.o.Retry
	for {
		err := s.sendNotice(h, state)
		if err == nil {
			break
		}
		if s.ctx.Err() != nil {
			return
		}
		if time.Now().Add(pause).After(limit) {
			s.o.Logger.Warn("a client could not be told that we have restarted; it may lose locks unawares",
				"client", h.Addr, "name", h.Name, "error", err)
			return // it stays in the Store for the next restart
		}
		if !s.pause(pause) {
			return
		}
		pause = min(2*pause, time.Minute)
	}
	select {
	case <-s.over:
	case <-s.ctx.Done():
		return
	}
	s.hmu.Lock()
	defer s.hmu.Unlock()
	if m := s.hosts[h.key()]; m != nil && !m.fresh {
		if err := s.o.Store.Remove(s.ctx, h); err == nil {
			delete(s.hosts, h.key())
		}
	}
}

// sendNotice sends SM_NOTIFY under the names by which a client may know us: our
// address, which a Linux client compares, and our name.
func (s *Service) sendNotice(h Host, state uint32) error {
	names := []string{h.Local.String()}
	if s.o.Name != "" {
		names = append(names, s.o.Name)
	}
	for _, name := range names {
		err := s.call(s.ctx, portKey{h.Addr, MonitorProgram, MonitorVersion}, h.Local, monNotify, func(e *sunrpc.Encoder) {
			e.String(name)
			e.U32(state)
		}, nil)
		if err != nil {
			return err
		}
	}
	return nil
}
