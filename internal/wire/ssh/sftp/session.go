package sftp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"manifold/internal/fs"
	"manifold/internal/fs/walk"
	"manifold/internal/identity"
)

// Op describes one answered request to an Observer.
type Op struct {
	// Name of the request: "open", "posix-rename@openssh.com".
	Name string
	// Err is nil for success and for the end of a file or directory.
	Err      error
	Duration time.Duration
	// In and Out are bytes of file data written and read.
	In, Out int
}

// Options configure a session. FS, Caller and Root are needed.
type Options struct {
	FS     fs.FS
	Caller *fs.Caller
	// Root is where the session's "/" is; nothing outside of it can be named.
	Root fs.Node
	// Home is the directory, seen from Root, that relative paths start from.
	// Default "/".
	Home string
	// Identities gives the numbers of owners; nil is identity.Numeric.
	Identities identity.Resolver
	// UserName and GroupName give names to numbers, "" where there is none;
	// nil: the session does not offer to look names up.
	UserName, GroupName func(ctx context.Context, id uint32) string
	// Umask is taken off the mode of what is created: 022.
	Umask *fs.Mode
	// MaxHandles bounds open files and directories: 512.
	MaxHandles int
	// Owner marks opens in listings.
	Owner string
	// Busy, if set, is told whenever the first file is opened and when the last
	// has been closed and that has been answered.
	Busy func(bool)
	// Observe, if set, is told of every request. It must be quick.
	Observe func(Op)
	Logger  *slog.Logger // discards
}

type session struct {
	Options
	tree  walk.Tree
	umask fs.Mode
	out   io.Writer

	// mu is held while a request is answered; it guards all below.
	mu      sync.Mutex
	handles map[uint32]*handle
	next    uint32
	buf     []byte // of the reply
	busy    bool   // as told
	in, got int    // bytes of file data of the present request

	making *handle                   // the one that is to be made, if any
	timer  *time.Timer               // of making
	after  func(ctx context.Context) // to be done when the request is answered; may be nil
}

// Serve answers requests from rw until it ends, ctx ends, or the client sends
// what is no SFTP. What is open then is flushed and closed. The caller must
// make reads and writes of rw fail when ctx ends.
func Serve(ctx context.Context, rw io.ReadWriter, o Options) (err error) {
	if o.FS == nil || o.Caller == nil || o.Root == (fs.Node{}) {
		return errors.New("sftp: FS, Caller and Root are needed")
	}
	if o.Home == "" {
		o.Home = "/"
	}
	if o.Identities == nil {
		o.Identities = identity.Numeric{}
	}
	if o.MaxHandles <= 0 {
		o.MaxHandles = 512
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &session{Options: o, tree: walk.Tree{FS: o.FS, Root: o.Root}, umask: 0o022, out: rw, handles: map[uint32]*handle{}, buf: make([]byte, 0, 4096)}
	if o.Umask != nil {
		s.umask = *o.Umask
	}
	// What was acknowledged as written reaches the disk even if the client has gone.
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.closeAll(context.WithoutCancel(ctx))
		s.tell(false)
	}()
	defer func() {
		if p := recover(); p != nil {
			o.Logger.ErrorContext(ctx, "sftp: session ended by a bug", "panic", p, "stack", string(debug.Stack()))
			err = errors.New("sftp: internal error")
		}
	}()
	return s.run(ctx, rw)
}

func (s *session) run(ctx context.Context, in io.Reader) error {
	buf := make([]byte, maxPacket)
	p, err := readPacket(in, buf)
	if err != nil {
		return clean(err)
	}
	r := &reader{b: p[1:]}
	if p[0] != typeInit || r.u32() < version || r.err != nil {
		return errors.New("sftp: no version 3 greeting")
	}
	if err := s.greet(); err != nil {
		return err
	}
	for {
		p, err := readPacket(in, buf)
		if err != nil {
			return clean(err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := s.serve(ctx, p[0], &reader{b: p[1:]}); err != nil {
			return err
		}
	}
}

func (s *session) serve(ctx context.Context, typ byte, r *reader) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.making != nil && typ != typeWrite && typ != typeClose {
		s.settle(ctx)
	}
	err := s.answer(ctx, typ, r)
	s.tell(len(s.handles) > 0)
	if after := s.after; after != nil {
		s.after = nil
		after(context.WithoutCancel(ctx))
	}
	return err
}

func (s *session) tell(busy bool) {
	if busy != s.busy && s.Busy != nil {
		s.Busy(busy)
	}
	s.busy = busy
}

// clean takes an end between two packets as what it is.
func clean(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (s *session) greet() error {
	p := append(packet(s.buf[:0]), 0, 0, 0, 0, typeVersion).u32(version)
	for _, e := range s.extensions() {
		p = p.str(e[0]).str(e[1])
	}
	_, err := s.out.Write(p.finish())
	return err
}

// call is one request: what it is called and what answers it. A nil packet
// with a nil error is answered by success.
type call struct {
	name string
	do   func(s *session, ctx context.Context, id uint32, r *reader) (packet, error)
}

var calls = map[byte]call{
	typeOpen:     {"open", (*session).open},
	typeClose:    {"close", (*session).close},
	typeRead:     {"read", (*session).read},
	typeWrite:    {"write", (*session).write},
	typeLstat:    {"lstat", (*session).lstat},
	typeFstat:    {"fstat", (*session).fstat},
	typeSetstat:  {"setstat", (*session).setstat},
	typeFsetstat: {"fsetstat", (*session).fsetstat},
	typeOpendir:  {"opendir", (*session).opendir},
	typeReaddir:  {"readdir", (*session).readdir},
	typeRemove:   {"remove", (*session).remove},
	typeMkdir:    {"mkdir", (*session).mkdir},
	typeRmdir:    {"rmdir", (*session).rmdir},
	typeRealpath: {"realpath", (*session).realpath},
	typeStat:     {"stat", (*session).stat},
	typeRename:   {"rename", (*session).rename},
	typeReadlink: {"readlink", (*session).readlink},
	typeSymlink:  {"symlink", (*session).symlink},
}

// Requests are the names of all that are answered, sorted.
func Requests() []string {
	out := slices.Collect(maps.Keys(extended))
	for _, c := range calls {
		out = append(out, c.name)
	}
	slices.Sort(out)
	return out
}

// answer carries out one request. An error ends the session.
func (s *session) answer(ctx context.Context, typ byte, r *reader) error {
	id := r.u32()
	if r.err != nil {
		return r.err // without its number it cannot be answered
	}
	c, known := calls[typ]
	if typ == typeExtended {
		name := r.str()
		if c, known = extended[name]; known {
			c.name = name
		}
	}
	began := time.Now()
	s.in, s.got = 0, 0
	var p packet
	err := errUnsupported
	switch {
	case r.err != nil:
		err = r.err
	case known:
		p, err = c.do(s, ctx, id, r)
	}
	if s.Observe != nil && known {
		o := Op{Name: c.name, Duration: time.Since(began), In: s.in, Out: s.got, Err: err}
		if errors.Is(err, errEOF) {
			o.Err = nil
		}
		s.Observe(o)
	}
	if p == nil || err != nil {
		p = s.status(id, err)
	}
	if cap(p) <= maxPacket {
		s.buf = p[:0]
	}
	if err != nil && fs.KindOf(err) == fs.Other && !quiet(err) {
		s.Logger.ErrorContext(ctx, "sftp: request failed", "op", c.name, "err", err)
	}
	_, werr := s.out.Write(p.finish())
	return werr
}

// quiet tells errors that are the client's doing.
func quiet(err error) bool {
	return errors.Is(err, errEOF) || errors.Is(err, errUnsupported) || errors.Is(err, errBadHandle) ||
		errors.Is(err, errShort) || errors.Is(err, context.Canceled)
}

func (s *session) status(id uint32, err error) packet {
	code, msg := statusOf(err)
	return reply(s.buf, typeStatus, id).u32(code).str(msg).str("en")
}

// at resolves a path of the client.
func (s *session) at(ctx context.Context, path string, follow bool, want fs.AttrMask) (walk.Place, error) {
	return s.tree.Walk(ctx, s.Caller, s.Home, path, follow, want)
}

// there resolves a path to something that must exist.
func (s *session) there(ctx context.Context, path string, follow bool, want fs.AttrMask) (walk.Place, error) {
	p, err := s.at(ctx, path, follow, want)
	if err == nil && !p.Exists {
		err = fs.E("walk", p.Dir, p.Name, fs.NotExist, nil)
	}
	return p, err
}
