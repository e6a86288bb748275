package meta

import (
	"manifold/internal/fs"
	"manifold/internal/identity"
)

// MetaBytesPerObject is what one inode counts as metadata in totals and attributes.
const MetaBytesPerObject = fs.BlockSize

// Stream is one byte sequence: size, revision and masks; its bytes are mapped
// by chunks under its ID.
type Stream struct {
	ID         fs.StreamID // 0: nothing was ever written
	Size       uint64
	Rev        uint64 // data revision
	AllocBytes uint64 // bytes of mapped 4 KiB blocks, masks not yet applied to chunks deducted
	// Masks are ranges that read as holes although chunks may still map bytes
	// there; a chunk whose MaskSeq is at least Seq has applied the mask.
	Masks []Mask
}

// Mask is one deallocated range [From, To) of a stream.
type Mask struct{ From, To, Seq uint64 }

// Cover says that snapshots of Root up to UpTo still see this object although
// it is no longer below Root.
type Cover struct {
	Root fs.FileID
	UpTo uint64
}

// ACLHash names an ACL record; zero is "just a mode".
type ACLHash [16]byte

// Inode is the record of an object.
type Inode struct {
	ID           fs.FileID
	Type         fs.Type
	Mode         fs.Mode // special bits always; permission bits as derived from the ACL
	ACL          ACLHash
	Owner, Group identity.AuthID
	Links        uint32 // names; a directory: 2 + subdirectories
	// Parent and ParentName are the primary link. Further links, Extra of
	// them, are records of their own. Parent is 0 without a name (and for the root itself).
	Parent     fs.FileID
	ParentName string
	Extra      uint32
	Data       Stream

	Atime, Mtime, Ctime, Btime fs.Time
	Change                     uint64

	Children uint64 // entries of a directory
	// Sole: no two entries of the directory ever had cookies of one hash at the
	// same time, so that the first cookie of a hash is all there can be of it.
	Sole         bool
	NamedStreams uint32
	StreamBytes  uint64 // allocated bytes of named streams
	Xattrs       uint32 // records of all metadata spaces

	DOS         fs.DOSAttr
	SymlinkHint fs.SymlinkHint
	RdevMajor   uint32
	RdevMinor   uint32
	Target      []byte // of a symlink
	Verifier    uint64 // of an exclusive create, until the first SetAttr
	HasVerifier bool
	Retention   fs.Time
	LegalHold   bool
	Cover       []Cover
	Birth       uint64 // epoch of this version; 0: not stored yet
	// OrphanedFrom is the directory that a removed directory was in: what is
	// still pending of its totals goes there. 0 for one that was detached.
	OrphanedFrom fs.FileID
	// Staged: the file has no name yet; nil for all others.
	Staged *StagedFor
}

// Flags of the encoded inode; stored, append-only.
const (
	flagACL uint64 = 1 << iota
	flagExtra
	flagStream
	flagMasks
	flagAtimeIsMtime
	flagCtimeIsMtime
	flagBtimeIsMtime
	flagNamed
	flagXattrs
	flagDOS
	flagHint
	flagRdev
	flagTarget
	flagVerifier
	flagRetention
	flagHold
	flagCover
	flagOrphaned
	flagStaged
	flagSole
)

func when(flag uint64, on bool) uint64 {
	if on {
		return flag
	}
	return 0
}

func (n *Inode) flags() uint64 {
	return when(flagACL, n.ACL != ACLHash{}) | when(flagExtra, n.Extra != 0) | when(flagStream, n.Data.ID != 0 || n.Data.Size != 0 || n.Data.Rev != 0) |
		when(flagMasks, len(n.Data.Masks) != 0) |
		when(flagAtimeIsMtime, n.Atime == n.Mtime) | when(flagCtimeIsMtime, n.Ctime == n.Mtime) | when(flagBtimeIsMtime, n.Btime == n.Mtime) |
		when(flagNamed, n.NamedStreams != 0 || n.StreamBytes != 0) | when(flagXattrs, n.Xattrs != 0) | when(flagDOS, n.DOS != 0) | when(flagHint, n.SymlinkHint != 0) |
		when(flagRdev, n.RdevMajor != 0 || n.RdevMinor != 0) | when(flagTarget, len(n.Target) != 0) | when(flagVerifier, n.HasVerifier) |
		when(flagRetention, n.Retention != fs.Time{}) | when(flagHold, n.LegalHold) | when(flagCover, len(n.Cover) != 0) | when(flagOrphaned, n.OrphanedFrom != 0) |
		when(flagStaged, n.Staged != nil) | when(flagSole, n.Sole)
}

func (n *Inode) encode() []byte {
	e := newEncoder(128+len(n.ParentName)+len(n.Target), n.Birth)
	f := n.flags()
	e.u(f)
	e.b(byte(n.Type))
	e.u(uint64(n.Mode))
	e.u(uint64(n.Owner))
	e.u(uint64(n.Group))
	e.u(uint64(n.Links))
	e.u(uint64(n.Parent))
	e.str(n.ParentName)
	e.u(n.Change)
	e.time(n.Mtime)
	if f&flagAtimeIsMtime == 0 {
		e.time(n.Atime)
	}
	if f&flagCtimeIsMtime == 0 {
		e.time(n.Ctime)
	}
	if f&flagBtimeIsMtime == 0 {
		e.time(n.Btime)
	}
	if n.Type == fs.Directory {
		e.u(n.Children)
	}
	if f&flagACL != 0 {
		e.bytes(n.ACL[:])
	}
	if f&flagExtra != 0 {
		e.u(uint64(n.Extra))
	}
	if f&flagStream != 0 {
		n.Data.encode(&e)
	}
	if f&flagMasks != 0 {
		encodeMasks(&e, n.Data.Masks)
	}
	if f&flagNamed != 0 {
		e.u(uint64(n.NamedStreams))
		e.u(n.StreamBytes)
	}
	if f&flagXattrs != 0 {
		e.u(uint64(n.Xattrs))
	}
	if f&flagDOS != 0 {
		e.u(uint64(n.DOS))
	}
	if f&flagHint != 0 {
		e.b(byte(n.SymlinkHint))
	}
	if f&flagRdev != 0 {
		e.u(uint64(n.RdevMajor))
		e.u(uint64(n.RdevMinor))
	}
	if f&flagTarget != 0 {
		e.bytes(n.Target)
	}
	if f&flagVerifier != 0 {
		e.u(n.Verifier)
	}
	if f&flagRetention != 0 {
		e.time(n.Retention)
	}
	if f&flagCover != 0 {
		e.u(uint64(len(n.Cover)))
		for _, c := range n.Cover {
			e.u(uint64(c.Root))
			e.u(c.UpTo)
		}
	}
	if f&flagOrphaned != 0 {
		e.u(uint64(n.OrphanedFrom))
	}
	if f&flagStaged != 0 {
		e.str(n.Staged.Owner)
		e.u(uint64(n.Staged.Dir))
		e.u(n.Staged.Boot)
	}
	return e
}

func decodeInode(id fs.FileID, v []byte) (*Inode, error) {
	n := &Inode{}
	if err := n.decode(id, v); err != nil {
		return nil, err
	}
	return n, nil
}

// decode fills the zero Inode.
func (n *Inode) decode(id fs.FileID, v []byte) error {
	d, birth := newDecoder(v)
	n.ID, n.Birth = id, birth
	f := d.u()
	n.Type = fs.Type(d.byte())
	n.Mode = fs.Mode(d.u32())
	n.Owner = identity.AuthID(d.u())
	n.Group = identity.AuthID(d.u())
	n.Links = d.u32()
	n.Parent = fs.FileID(d.u())
	n.ParentName = d.str()
	n.Change = d.u()
	n.Mtime = d.time()
	n.Atime, n.Ctime, n.Btime = n.Mtime, n.Mtime, n.Mtime
	if f&flagAtimeIsMtime == 0 {
		n.Atime = d.time()
	}
	if f&flagCtimeIsMtime == 0 {
		n.Ctime = d.time()
	}
	if f&flagBtimeIsMtime == 0 {
		n.Btime = d.time()
	}
	if n.Type == fs.Directory {
		n.Children = d.u()
	}
	if f&flagACL != 0 {
		if copy(n.ACL[:], d.raw()) != len(n.ACL) {
			d.fail()
		}
	}
	if f&flagExtra != 0 {
		n.Extra = d.u32()
	}
	if f&flagStream != 0 {
		n.Data.decode(&d)
	}
	if f&flagMasks != 0 {
		n.Data.Masks = decodeMasks(&d)
	}
	if f&flagNamed != 0 {
		n.NamedStreams = d.u32()
		n.StreamBytes = d.u()
	}
	if f&flagXattrs != 0 {
		n.Xattrs = d.u32()
	}
	if f&flagDOS != 0 {
		n.DOS = fs.DOSAttr(d.u32())
	}
	if f&flagHint != 0 {
		n.SymlinkHint = fs.SymlinkHint(d.byte())
	}
	if f&flagRdev != 0 {
		n.RdevMajor, n.RdevMinor = d.u32(), d.u32()
	}
	if f&flagTarget != 0 {
		n.Target = append([]byte(nil), d.raw()...)
	}
	if f&flagVerifier != 0 {
		n.Verifier, n.HasVerifier = d.u(), true
	}
	if f&flagRetention != 0 {
		n.Retention = d.time()
	}
	n.LegalHold = f&flagHold != 0
	n.Sole = f&flagSole != 0
	if f&flagCover != 0 {
		for c := d.u(); c > 0 && !d.bad; c-- {
			n.Cover = append(n.Cover, Cover{fs.FileID(d.u()), d.u()})
		}
	}
	if f&flagOrphaned != 0 {
		n.OrphanedFrom = fs.FileID(d.u())
	}
	if f&flagStaged != 0 {
		n.Staged = &StagedFor{Owner: d.str(), Dir: fs.FileID(d.u()), Boot: d.u()}
	}
	if n.Type == fs.TypeNone || n.Type > fs.BlockDevice {
		d.fail()
	}
	return d.end("inode", uint64(id))
}

func (s *Stream) encode(e *encoder) {
	e.u(uint64(s.ID))
	e.u(s.Size)
	e.u(s.Rev)
	e.u(s.AllocBytes / fs.BlockSize)
}

func (s *Stream) decode(d *decoder) {
	s.ID = fs.StreamID(d.u())
	s.Size = d.u()
	s.Rev = d.u()
	s.AllocBytes = d.u() * fs.BlockSize
}

func encodeMasks(e *encoder, ms []Mask) {
	e.u(uint64(len(ms)))
	for _, m := range ms {
		e.u(m.From)
		e.u(m.To)
		e.u(m.Seq)
	}
}

func decodeMasks(d *decoder) []Mask {
	var ms []Mask
	for c := d.u(); c > 0 && !d.bad; c-- {
		ms = append(ms, Mask{d.u(), d.u(), d.u()})
	}
	return ms
}

// NamedStream is a named stream of an inode.
type NamedStream struct {
	Stream
	Name  string
	Birth uint64
}

func (s *NamedStream) encode() []byte {
	e := newEncoder(48+len(s.Name), s.Birth)
	e.str(s.Name)
	s.Stream.encode(&e)
	encodeMasks(&e, s.Masks)
	return e
}

func decodeNamedStream(id fs.FileID, v []byte) (*NamedStream, error) {
	d, birth := newDecoder(v)
	s := &NamedStream{Birth: birth, Name: d.str()}
	s.Stream.decode(&d)
	s.Masks = decodeMasks(&d)
	return s, d.end("named stream", uint64(id))
}

// Frag maps Len bytes at Off of a chunk to ExtOff of an extent.
type Frag struct {
	Off, Len uint32
	Extent   uint64
	ExtOff   uint32
}

// Chunk maps 4 MiB of a stream: sorted, non-overlapping fragments; what none
// maps is a hole.
type Chunk struct {
	Birth   uint64
	MaskSeq uint64
	// Prev is the end epoch of the newest history version, 0 if none; that
	// version may be gone by now.
	Prev uint64
	// Frags is never changed in place, only replaced.
	Frags []Frag

	// What is stored, if from has read it and put no chunk since: PutChunk of
	// the same transaction need not read it again.
	from       *Reader
	puts       int
	stored     []Frag
	storedPrev uint64
}

// read notes that the record as it is now is what r has.
func (c *Chunk) read(r *Reader) {
	c.from, c.puts, c.stored, c.storedPrev = r, r.puts, c.Frags, c.Prev
}

func (c *Chunk) encode() []byte {
	e := newEncoder(16+10*len(c.Frags), c.Birth)
	e.u(c.MaskSeq)
	e.u(c.Prev)
	e.u(uint64(len(c.Frags)))
	end, ext := uint32(0), uint64(0)
	for i := range c.Frags {
		f := &c.Frags[i]
		e.u(uint64(f.Off - end))
		e.u(uint64(f.Len))
		e.i(int64(f.Extent - ext))
		e.u(uint64(f.ExtOff))
		end, ext = f.Off+f.Len, f.Extent
	}
	return e
}

const chunkBytes = 4 << 20

func decodeChunk(id uint64, v []byte) (*Chunk, error) {
	d, birth := newDecoder(v)
	c := &Chunk{Birth: birth, MaskSeq: d.u(), Prev: d.u()}
	n := d.u()
	if n > uint64(len(d.in)) {
		d.fail()
	}
	end, ext := uint64(0), uint64(0)
	if n > 0 && !d.bad {
		c.Frags = make([]Frag, 0, n+1) // a writer at the end adds one
	}
	for ; n > 0 && !d.bad; n-- {
		gap, l := d.u(), d.u()
		ext += uint64(d.i())
		off := d.u32()
		if gap > chunkBytes || l == 0 || l > chunkBytes || end+gap+l > chunkBytes || ext == 0 {
			d.fail()
			break
		}
		c.Frags = append(c.Frags, Frag{Off: uint32(end + gap), Len: uint32(l), Extent: ext, ExtOff: off})
		end += gap + l
	}
	return c, d.end("chunk", id)
}

// Dentry is a name in a directory.
type Dentry struct {
	Dir    fs.FileID
	Name   string
	ID     fs.FileID
	Type   fs.Type
	Cookie uint64
	Birth  uint64
}

func (t *Dentry) encodeByName() []byte {
	e := newEncoder(24, t.Birth)
	e.u(uint64(t.ID))
	e.b(byte(t.Type))
	e.u(t.Cookie)
	return e
}

func (t *Dentry) encodeByCookie() []byte {
	e := newEncoder(24+len(t.Name), t.Birth)
	e.u(uint64(t.ID))
	e.b(byte(t.Type))
	e.str(t.Name)
	return e
}

func decodeByName(dir fs.FileID, name string, v []byte) (Dentry, error) {
	d, birth := newDecoder(v)
	t := Dentry{Dir: dir, Name: name, Birth: birth, ID: fs.FileID(d.u()), Type: fs.Type(d.byte()), Cookie: d.u()}
	return t, d.end("dentry", uint64(dir))
}

func decodeByCookie(dir fs.FileID, cookie uint64, v []byte) (Dentry, error) {
	d, birth := newDecoder(v)
	t := Dentry{Dir: dir, Cookie: cookie, Birth: birth, ID: fs.FileID(d.u()), Type: fs.Type(d.byte()), Name: d.str()}
	return t, d.end("dentry", uint64(dir))
}
