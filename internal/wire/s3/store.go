package s3

import (
	"encoding/json"
	"errors"
	"hash/maphash"
	"sync"

	"manifold/internal/fs"
)

const (
	// recordKey holds what an object is beyond its bytes. A user's metadata
	// are tokens of HTTP, which have no colon, and so never meet it.
	recordKey = ":object"
	// impliedKey marks directories that a key's path made: they go with their
	// last object. Directories that anybody asked for stay.
	impliedKey = ":implied"

	// Modes where the directory passes no ACL entries on: what is put is the
	// caller's alone. See docs/decisions.
	modeFile fs.Mode = 0o600
	modeDir  fs.Mode = 0o700
)

// system does what users have no part in: staging and marks.
func (q *request) system() *fs.Caller {
	if q.caller == nil {
		return systemCaller
	}
	return &fs.Caller{Cred: systemCaller.Cred, Protocol: fs.ProtoS3, Client: q.caller.Client, OnBehalf: q.caller.Cred}
}

var systemCaller = &fs.Caller{Cred: fs.SystemCaller().Cred, Protocol: fs.ProtoS3}

// record is stored with an object's file. It is true as long as the data are
// those it was made for, which Rev and Size tell.
type record struct {
	ETag    string            `json:"etag,omitempty"`
	Rev     uint64            `json:"rev"`
	Size    uint64            `json:"size"`
	Headers map[string]string `json:"headers,omitempty"`
	Parts   []uint64          `json:"parts,omitempty"` // sizes
	Sums    map[string]string `json:"sums,omitempty"`  // algorithm to base64
	SumType string            `json:"sumType,omitempty"`
	// PartSums are those of the parts, by the one algorithm in Sums.
	PartSums []string `json:"partSums,omitempty"`
	Upload   string   `json:"upload,omitempty"` // the multipart upload it came from
	Version  string   `json:"version,omitempty"`
	Marker   bool     `json:"marker,omitempty"`
	// Stream and Data are the named stream and its size that hold what was put
	// under a key that ends in a slash.
	Stream fs.StreamID `json:"stream,omitempty"`
	Data   uint64      `json:"data,omitempty"`
	// Sealed is when a part became complete, in Unix nanoseconds.
	Sealed int64 `json:"sealed,omitempty"`
}

// readRecord answers the record of a file, made up for what S3 did not write.
func (q *request) readRecord(a *fs.Attr) (*record, error) {
	b, err := q.s.o.FS.GetMeta(q.ctx, q.system(), a.Node, fs.MetaS3, recordKey)
	r := &record{}
	if err == nil {
		if json.Unmarshal(b, r) != nil {
			r = &record{}
		}
	} else if k := fs.KindOf(err); k != fs.NoAttr {
		return nil, err
	}
	if r.ETag == "" || a.Type == fs.File && (r.Rev != a.DataRevision || r.Size != a.Size) {
		// Written by another protocol since: an opaque tag, never 32 digits.
		r.ETag = opaqueTag(a)
		r.Parts, r.Sums, r.SumType, r.PartSums = nil, nil, "", nil
	}
	return r, nil
}

// opaqueTag changes whenever the data do. It is no digest, and its dash says so.
func opaqueTag(a *fs.Attr) string {
	if a.Type == fs.Directory {
		return emptyMD5
	}
	const digits = "0123456789abcdef"
	b := make([]byte, 0, 40)
	for _, n := range []uint64{uint64(a.Node.ID), a.DataRevision} {
		for s := 60; s >= 0; s -= 4 {
			b = append(b, digits[n>>s&15])
		}
	}
	return string(b) + "-0"
}

const emptyMD5 = "d41d8cd98f00b204e9800998ecf8427e"

// keyLocks make check and change of one key a unit among requests of this
// server. The file system's own atomicity covers each single call.
type keyLocks struct {
	once    sync.Once
	seed    maphash.Seed
	stripes [256]sync.Mutex
}

func (l *keyLocks) lock(bucket, key string) (unlock func()) {
	l.once.Do(func() { l.seed = maphash.MakeSeed() })
	m := &l.stripes[maphash.String(l.seed, bucket+"/"+key)%uint64(len(l.stripes))]
	m.Lock()
	return m.Unlock
}

const attrObject = fs.AttrType | fs.AttrSize | fs.AttrMtime | fs.AttrOwner | fs.AttrChildren | fs.AttrLock

func (q *request) root() fs.Node { return fs.Node{ID: q.bucket.Root} }

// walk finds the directory of a path for reading.
func (q *request) walk(root fs.Node, dirs []string) (fs.Node, error) {
	n := root
	for _, d := range dirs {
		a, err := q.s.o.FS.Lookup(q.ctx, q.caller, n, d, fs.AttrType)
		if err != nil {
			if k := fs.KindOf(err); k == fs.NotExist || k == fs.NotDir {
				return fs.Node{}, errNoSuchKey.wrap(err)
			}
			return fs.Node{}, err
		}
		if a.Type != fs.Directory {
			return fs.Node{}, errNoSuchKey
		}
		n = a.Node
	}
	return n, nil
}

// object is a key that was found.
type object struct {
	dir  fs.Node
	name string // in dir; the directory's own name for keys that end in a slash
	attr fs.Attr
	rec  *record
}

// size of the object's data.
func (o *object) size() uint64 {
	if o.attr.Type == fs.Directory {
		return o.rec.Data
	}
	return o.attr.Size
}

// find looks a key up: a file, or a directory for a key that ends in a slash.
// NoSuchKey if it is not there or is of another type.
func (q *request) find(root fs.Node, key string) (*object, error) {
	p, aerr := parseKey(key)
	if aerr != nil {
		if errors.Is(aerr, errInvalidKey) {
			return nil, errNoSuchKey.detail("Key", key).wrap(aerr) // cannot exist
		}
		return nil, aerr
	}
	dirs, name, want := p.dirs, p.name, fs.File
	if p.isDir() {
		dirs, name, want = p.dirs[:len(p.dirs)-1], p.dirs[len(p.dirs)-1], fs.Directory
	}
	dir, err := q.walk(root, dirs)
	if err == nil {
		var a fs.Attr
		a, err = q.s.o.FS.Lookup(q.ctx, q.caller, dir, name, attrObject)
		if err == nil && a.Type == want {
			o := &object{dir: dir, name: name, attr: a}
			if o.rec, err = q.readRecord(&a); err == nil {
				return o, nil
			}
		} else if err == nil {
			err = errNoSuchKey
		}
	}
	if k := fs.KindOf(err); k == fs.NotExist || k == fs.NotDir || errors.Is(err, errNoSuchKey) {
		return nil, errNoSuchKey.detail("Key", key).wrap(err)
	}
	return nil, err
}

// makeDirs finds or makes the directories of a path. Made ones are marked.
func (q *request) makeDirs(root fs.Node, dirs []string) (fs.Node, error) {
	f := q.s.o.FS
	n := root
	mode := modeDir
	for _, d := range dirs {
		a, err := f.Lookup(q.ctx, q.caller, n, d, fs.AttrType)
		if fs.KindOf(err) == fs.NotExist {
			var r fs.CreateResult
			r, err = f.Create(q.ctx, q.caller, n, d, &fs.CreateSpec{Type: fs.Directory, Set: fs.SetAttr{Mode: &mode}, Want: fs.AttrType,
				Meta: []fs.MetaItem{{Space: fs.MetaS3, Key: impliedKey, Value: []byte{'1'}}}})
			if a = r.Attr; fs.KindOf(err) == fs.Exist { // another request was first
				a, err = f.Lookup(q.ctx, q.caller, n, d, fs.AttrType)
			}
		}
		if err != nil {
			return fs.Node{}, err
		}
		if a.Type != fs.Directory {
			return fs.Node{}, errParentIsFile
		}
		n = a.Node
	}
	return n, nil
}

// prune removes the implied directories that a deletion left empty, deepest first.
func (q *request) prune(root fs.Node, dirs []string) {
	f := q.s.o.FS
	nodes := []fs.Node{root}
	for _, d := range dirs {
		a, err := f.Lookup(q.ctx, q.system(), nodes[len(nodes)-1], d, fs.AttrType)
		if err != nil || a.Type != fs.Directory {
			return
		}
		nodes = append(nodes, a.Node)
	}
	for i := len(dirs) - 1; i >= 0; i-- {
		a, err := f.GetAttr(q.ctx, q.system(), nodes[i+1], fs.AttrChildren)
		if err != nil || a.Children != 0 {
			return
		}
		if _, err := f.GetMeta(q.ctx, q.system(), nodes[i+1], fs.MetaS3, impliedKey); err != nil {
			return
		}
		// Not empty any more: somebody uses it, and it stays.
		if _, err := f.Remove(q.ctx, q.system(), nodes[i], dirs[i], fs.RemoveDir); err != nil {
			return
		}
	}
}
