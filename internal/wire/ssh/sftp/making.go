package sftp

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"manifold/internal/fs"
	"manifold/internal/fs/walk"
)

// A file that is not there yet is opened before it is made: what the first
// WRITE brings goes with the transaction that makes it, and a small upload
// waits for one write of the log. The client does not see it:
//   - What is refused is refused at the OPEN, as far as looking tells: names,
//     permissions, trees that are read only. What only making tells (space,
//     quotas, a directory that has gone) is told at the next request of the
//     handle, the CLOSE at the latest.
//   - Any request but WRITE and CLOSE makes the file first.
//   - Others see it from the first WRITE on, or makeAfter after the OPEN.
//   - OPEN with EXCL makes it at once: to many that is a lock.

// makeAfter is how long a file that is open and not written is seen by nobody.
const makeAfter = time.Second

// later tells whether an open is one to be made later.
func (s *session) later(ctx context.Context, flags uint32, p *walk.Place) bool {
	if flags&openCreat == 0 || flags&openWrite == 0 || flags&(openExcl|openAppend) != 0 ||
		p.Exists || s.Caller.ReadOnly || !p.Dir.Live() || fs.CheckName(p.Name) != nil {
		return false
	}
	got, err := s.FS.Access(ctx, s.Caller, p.Dir, fs.RightAddFile|fs.RightTraverse)
	return err == nil && got == fs.RightAddFile|fs.RightTraverse
}

// begin keeps an open for later.
func (s *session) begin(ctx context.Context, o *fs.OpenSpec) *handle {
	s.settle(ctx)
	h := &handle{making: o, opened: time.Now(), written: true}
	s.making = h
	if s.timer == nil {
		s.timer = time.AfterFunc(makeAfter, func() { s.overdue(context.WithoutCancel(ctx)) })
	} else {
		s.timer.Reset(makeAfter)
	}
	return h
}

// overdue settles for a client that does not go on.
func (s *session) overdue(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.making == nil || time.Since(s.making.opened) < makeAfter {
		return
	}
	h := s.making
	defer func() {
		if p := recover(); p != nil {
			s.Logger.ErrorContext(ctx, "sftp: a file was not made because of a bug", "panic", p, "stack", string(debug.Stack()))
			h.err = fmt.Errorf("sftp: panic: %v", p)
		}
	}()
	s.settle(ctx)
}

// settle makes the file that is to be made, if there is one.
func (s *session) settle(ctx context.Context) {
	h := s.making
	if h == nil {
		return
	}
	o := h.making
	s.making, h.making = nil, nil
	s.timer.Stop()
	var res fs.OpenResult
	open := func() (err error) {
		h.file, res, err = s.FS.Open(ctx, s.Caller, o)
		return err
	}
	how := o.Disposition
	o.Disposition = fs.OpenCreate
	h.err = walk.Retry(ctx, open)
	if h.err != nil && fs.KindOf(h.err) == fs.Exist {
		o.Disposition = how
		h.err = walk.Retry(ctx, open)
	}
	if h.err != nil || len(o.Create.Data) == 0 || res.Action == fs.OpenCreated {
		return
	}
	// Somebody else has made it meanwhile.
	h.err = walk.Retry(ctx, func() error {
		_, err := h.file.Write(ctx, &fs.WriteRequest{Data: o.Create.Data})
		return err
	})
}

// hold takes what the first WRITE brings along with the making, which is begun
// when the WRITE has been answered: the client goes on meanwhile.
func (s *session) hold(h *handle, off uint64, data []byte) bool {
	if h.making == nil || off != 0 || len(data) > fs.MaxCreateData {
		return false
	}
	h.making.Create.Data = append([]byte(nil), data...)
	s.after = s.settle
	return true
}
