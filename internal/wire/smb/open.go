package smb

import (
	"context"
	"slices"
	"sync"
	"time"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

// Rights beyond those of files.
const (
	accessSystemSecurity = 0x01000000
	accessMaximum        = 0x02000000
	genericAll           = 0x10000000
	genericExecute       = 0x20000000
	genericWrite         = 0x40000000
	genericRead          = 0x80000000

	fileGenericRead    = 0x00120089
	fileGenericWrite   = 0x00120116
	fileGenericExecute = 0x001200A0
	fileAll            = 0x001F01FF

	dataAccess = fs.RightRead | fs.RightExecute | fs.RightModify | fs.RightExtend | fs.RightDelete
)

// fileKey names what opens share: a stream of an object.
type fileKey struct {
	node   fs.Node
	stream fs.StreamID
}

// file are the opens of one stream. Guarded by Server.mu.
type file struct {
	key     fileKey
	opens   []*open
	pending bool                    // goes when the last handle closes
	alloc   uint64                  // space that was asked for
	locks   int                     // byte-range locks held
	base    *file                   // of a named stream: the object's own
	streams int                     // named streams that are open
	closing map[*open]chan struct{} // out of opens, not yet closed below
}

// open is one handle of a client.
type open struct {
	s        *Server
	id, vol  uint64
	handle   fs.Handle // nil: a pipe
	pipe     *pipe
	node     fs.Node
	stream   fs.StreamID
	isDir    bool
	granted  fs.Rights
	share    fs.Share
	options  uint32
	created  time.Time
	guid     [16]byte // of the client
	user     identity.AuthID
	locker   fs.LockOwner
	isCreate bool

	// Guarded by Server.mu.
	sess     *session // nil while its client is lost
	tree     *tree
	conn     *conn // it was opened on
	file     *file
	touched  bool   // by a request after its create, which can then not be replayed
	path     string // from the share's root, with backslashes
	dir      fs.Node
	name     string
	sname    string // of the stream
	cache    *cache
	level    byte // oplock level that was granted
	doom     bool // delete on close was asked for at open
	closed   bool
	durable  uint8 // version, 0: not
	timeout  time.Duration
	created2 [16]byte // create GUID
	timer    *time.Timer
	appID    [16]byte
	chanSeq  uint16
	reply    []byte // of the create, for replays
	replyReq createParams

	mu       sync.Mutex
	dirState *dirCursor
	notify   *watchState
	pos      uint64
	mode     uint32
	working  int           // long operations
	idle     chan struct{} // closed when they are done; nil if nobody waits
	locks    int
	lockSeq  [65]byte
	sticky   bool // write time was set by hand
	ctx      context.Context
	cancel   context.CancelFunc
}

func (s *Server) openByID(p, v uint64) *open {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.opens[p]; o != nil && o.vol == v && !o.closed {
		return o
	}
	return nil
}

// belongs tells whether a session may use the open through the tree.
func (o *open) belongs(s *session, t *tree) bool {
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	return o.sess == s && s != nil && o.tree == t
}

// enroll puts an open into the tables; needs s.mu.
func (s *Server) enroll(o *open) {
	s.opens[o.id] = o
	if o.handle != nil {
		f := s.fileFor(fileKey{o.node, o.stream})
		f.opens = append(f.opens, o)
		o.file = f
		s.caching.Add(1)
	}
}

// fileFor answers what the opens of a stream share; needs s.mu. It is there as
// long as something of the object is open.
func (s *Server) fileFor(k fileKey) *file {
	f := s.files[k]
	if f == nil {
		f = &file{key: k}
		s.files[k] = f
		if k.stream != 0 {
			f.base = s.fileFor(fileKey{node: k.node})
			f.base.streams++
		}
	}
	return f
}

// tidy forgets a file that nobody has open; needs s.mu.
func (s *Server) tidy(f *file) {
	if f == nil || len(f.opens) > 0 || f.streams > 0 || len(f.closing) > 0 {
		return
	}
	delete(s.files, f.key)
	if f.base != nil {
		f.base.streams--
		s.tidy(f.base)
	}
}

// closeOpen ends an open. Safe to call more than once.
func (s *Server) closeOpen(ctx context.Context, o *open) error {
	s.mu.Lock()
	if o.closed {
		s.mu.Unlock()
		return nil
	}
	o.closed = true
	if o.timer != nil {
		o.timer.Stop()
	}
	sess := o.sess
	var told []*open // that the directory goes
	delete(s.opens, o.id)
	waits := s.dropCache(o)
	if f := o.file; f != nil {
		for i, x := range f.opens {
			if x == o {
				f.opens = append(f.opens[:i], f.opens[i+1:]...)
				break
			}
		}
		f.locks -= o.locks
		s.caching.Add(-1)
		if o.doom {
			f.pending = true
			if o.isDir {
				told = append(told, f.opens...)
			}
		}
		if f.closing == nil {
			f.closing = map[*open]chan struct{}{}
		}
		f.closing[o] = make(chan struct{})
	}
	s.mu.Unlock()
	defer s.closed(o)
	if waits != nil {
		defer close(waits)
	}
	if sess != nil {
		sess.mu.Lock()
		delete(sess.opens, o)
		sess.mu.Unlock()
	}
	for _, x := range told {
		x.mu.Lock()
		w := x.notify
		x.mu.Unlock()
		if w != nil {
			w.end(stDeletePending)
		}
	}
	o.cancel()
	o.mu.Lock()
	w := o.notify
	o.mu.Unlock()
	if w != nil {
		w.end(stNotifyCleanup)
	}
	if o.handle == nil {
		return nil
	}
	return o.handle.Close(context.WithoutCancel(ctx))
}

// closed notes that an open has left the file system, too.
func (s *Server) closed(o *open) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := o.file; f != nil {
		close(f.closing[o])
		delete(f.closing, o)
		s.tidy(f)
	}
}

// begin and end enclose an operation that a CLOSE waits for.
func (o *open) begin() {
	o.mu.Lock()
	o.working++
	o.mu.Unlock()
}

func (o *open) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.working--; o.working == 0 && o.idle != nil {
		close(o.idle)
		o.idle = nil
	}
}

// waitIdle answers what ends when no operation runs, nil if none does.
func (o *open) waitIdle() chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.working == 0 {
		return nil
	}
	if o.idle == nil {
		o.idle = make(chan struct{})
	}
	return o.idle
}

// disconnect keeps a durable open for a client that is lost, or answers false.
func (o *open) disconnect() bool {
	s := o.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.closed || o.durable == 0 || o.cache == nil || o.cache.state&leaseH == 0 || o.cache.breaking && o.cache.to&leaseH == 0 {
		return false
	}
	if o.file.pending {
		return false
	}
	if o.cache.breaking && !slices.ContainsFunc(s.clients[o.guid], func(c *conn) bool { return c != o.conn && !c.ends() }) {
		return false // nobody is left to give up what others wait for
	}
	if o.durable == 1 && o.locks > 0 && o.cache.state&leaseW == 0 {
		return false
	}
	o.sess, o.tree, o.conn = nil, nil, nil
	d := o.timeout
	if d == 0 {
		d = s.o.DurableTimeout
	}
	o.timer = time.AfterFunc(d, func() { s.closeOpen(s.ctx, o) })
	return true
}

// shareConflict tells whether an open with access and share is in the way of
// one that is, [MS-FSA] 2.1.5.1.2.2.
func shareConflict(access fs.Rights, share fs.Share, o *open) bool {
	if access&dataAccess == 0 || o.granted&dataAccess == 0 {
		return false
	}
	return excluded(access, o.share) || excluded(o.granted, share)
}

func excluded(access fs.Rights, share fs.Share) bool {
	return access&(fs.RightRead|fs.RightExecute) != 0 && share&fs.ShareRead == 0 ||
		access&(fs.RightModify|fs.RightExtend) != 0 && share&fs.ShareWrite == 0 ||
		access&fs.RightDelete != 0 && share&fs.ShareDelete == 0
}

// close answers a CLOSE.
func (r *request) close() status {
	p := r.payload()
	o, st := r.file(p[8:24])
	if st != stOK {
		return st
	}
	if idle := o.waitIdle(); idle != nil {
		r.ch.letNext()
		select {
		case <-idle:
		case <-time.After(time.Second):
			r.pend()
		}
		select {
		case <-idle:
		case <-r.ctx.Done():
			return stCancelled
		}
	}
	b := make([]byte, 60)
	b[0] = 60
	if le.Uint16(p[2:])&1 != 0 && o.handle != nil {
		if a, err := r.attr(o); err == nil {
			le.PutUint16(b[2:], 1)
			putNetworkOpen(b[8:], &a, o)
		}
	}
	r.body = b
	err := r.c.s.closeOpen(r.ctx, o)
	r.ch.open = nil
	r.ch.failed = stFileClosed
	if err != nil {
		return statusOf(err)
	}
	return stOK
}

// putNetworkOpen fills the 52 bytes of times, sizes and attributes that CREATE,
// CLOSE and FileNetworkOpenInformation share.
func putNetworkOpen(b []byte, a *fs.Attr, o *open) {
	le.PutUint64(b, filetime(a.Btime))
	le.PutUint64(b[8:], filetime(a.Atime))
	le.PutUint64(b[16:], filetime(a.Mtime))
	le.PutUint64(b[24:], filetime(a.Ctime))
	size, alloc := sizes(a, o)
	le.PutUint64(b[32:], alloc)
	le.PutUint64(b[40:], size)
	le.PutUint32(b[48:], dosAttr(a))
}

// sizes answers end of file and allocation size. Attributes of a named stream
// have had its sizes put in by attr.
func sizes(a *fs.Attr, o *open) (size, alloc uint64) {
	if a.Type == fs.Directory && (o == nil || o.stream == 0) {
		return 0, 0
	}
	size = a.Size
	alloc = (size + fs.BlockSize - 1) &^ (fs.BlockSize - 1)
	if a.DOS&fs.DOSSparse != 0 {
		alloc = a.DataBytes
	}
	if o != nil {
		o.s.mu.Lock()
		if o.file != nil {
			alloc = max(alloc, o.file.alloc)
		}
		o.s.mu.Unlock()
	}
	return size, alloc
}

const (
	attrDirectory = 0x10
	attrNormal    = 0x80
	attrReparse   = 0x400
)

func dosAttr(a *fs.Attr) uint32 {
	v := uint32(a.DOS)
	switch a.Type {
	case fs.Directory:
		v |= attrDirectory
	case fs.File:
	default:
		v |= attrReparse
	}
	if v == 0 {
		v = attrNormal
	}
	return v
}

// attr answers the attributes of an open; those of a named stream have its sizes.
func (r *request) attr(o *open) (fs.Attr, error) { return o.attr(r.ctx) }

const wantAttrs = fs.AttrBasic | fs.AttrBtime | fs.AttrDOS | fs.AttrParent

func (o *open) attr(ctx context.Context) (fs.Attr, error) {
	a, err := o.handle.GetAttr(ctx, wantAttrs)
	if err != nil {
		return a, err
	}
	o.s.mu.Lock()
	t, name := o.tree, o.name
	o.s.mu.Unlock()
	if t != nil {
		t.shared().hide(&a, name)
	}
	if o.stream == 0 {
		return a, err
	}
	ss, err := o.s.o.FS.Streams(ctx, fs.SystemCaller(), o.node)
	if err != nil {
		return a, err
	}
	for _, s := range ss {
		if s.ID == o.stream {
			a.Size, a.DataBytes = s.Size, s.DataBytes
		}
	}
	return a, nil
}

// hide marks what the share shows as hidden by its name.
func (s *Share) hide(a *fs.Attr, name string) {
	if s != nil && s.HideName != nil && name != "" && s.HideName(name) {
		a.DOS |= fs.DOSHidden
	}
}
