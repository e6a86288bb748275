package memfs

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"manifold/internal/fs"
	"manifold/internal/fs/fold"
)

// MaxStreams is how many named streams an object may have.
const MaxStreams = 16384

// maxKey is the longest key of metadata in bytes.
const maxKey = 1024

func validSpace(s fs.MetaSpace) bool { return s >= fs.MetaXattr && s <= fs.MetaS3 }

func (f *FS) metaOf(op string, c *fs.Caller, node fs.Node, s fs.MetaSpace) (*inode, error) {
	n, _, err := f.find(op, node)
	switch {
	case err != nil:
		return nil, err
	case !validSpace(s):
		return nil, fs.E(op, node, "", fs.Invalid, nil)
	case !f.can(c, n, fs.RightReadEA):
		return nil, fs.E(op, node, "", fs.Access, nil)
	}
	return n, nil
}

// GetMeta implements fs.Metadata.
func (f *FS) GetMeta(_ context.Context, c *fs.Caller, node fs.Node, s fs.MetaSpace, key string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.metaOf("get metadata", c, node, s)
	if err != nil {
		return nil, err
	}
	v, ok := n.meta[s][key]
	if !ok {
		return nil, fs.E("get metadata", node, key, fs.NoAttr, nil)
	}
	return slices.Clone(v), nil
}

// mayWriteEA finds an object whose metadata or streams are going to be changed.
func (f *FS) mayWriteEA(op string, c *fs.Caller, node fs.Node, right fs.Rights) (*inode, error) {
	n, err := f.findLive(op, c, node)
	if err != nil {
		return nil, err
	}
	switch {
	case !f.can(c, n, right):
		return nil, fs.E(op, node, "", fs.Access, nil)
	case n.locked(f.now()):
		return nil, fs.E(op, node, "", fs.WORM, nil)
	}
	return n, nil
}

// SetMeta implements fs.Metadata.
func (f *FS) SetMeta(_ context.Context, c *fs.Caller, node fs.Node, s fs.MetaSpace, key string, value []byte, m fs.MetaMode) (fs.Changed, error) {
	const op = "set metadata"
	f.mu.Lock()
	defer f.mu.Unlock()
	fail := func(k fs.Kind) (fs.Changed, error) { return fs.Changed{}, fs.E(op, node, key, k, nil) }
	if err := writable(op, c, node); err != nil {
		return fs.Changed{}, err
	}
	switch {
	case !validSpace(s):
		return fail(fs.Invalid)
	case key == "" || strings.IndexByte(key, 0) >= 0:
		return fail(fs.NameInvalid)
	case len(key) > maxKey:
		return fail(fs.NameTooLong)
	case len(key)+len(value) > fs.MaxXattrBytes:
		return fail(fs.TooBig)
	}
	n, err := f.mayWriteEA(op, c, node, fs.RightWriteEA)
	if err != nil {
		return fs.Changed{}, err
	}
	switch _, there := n.meta[s][key]; {
	case m == fs.MetaCreate && there:
		return fail(fs.Exist)
	case m == fs.MetaReplace && !there:
		return fail(fs.NoAttr)
	}
	b := before(n)
	if n.meta == nil {
		n.meta = map[fs.MetaSpace]map[string][]byte{}
	}
	if n.meta[s] == nil {
		n.meta[s] = map[string][]byte{}
	}
	n.meta[s][key] = slices.Clone(value)
	f.touch(n, false)
	f.notify(n, fs.EventXattr)
	return f.changed(n, b), nil
}

// RemoveMeta implements fs.Metadata.
func (f *FS) RemoveMeta(_ context.Context, c *fs.Caller, node fs.Node, s fs.MetaSpace, key string) (fs.Changed, error) {
	const op = "remove metadata"
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.mayWriteEA(op, c, node, fs.RightWriteEA)
	if err != nil {
		return fs.Changed{}, err
	}
	if _, ok := n.meta[s][key]; !ok {
		return fs.Changed{}, fs.E(op, node, key, fs.NoAttr, nil)
	}
	b := before(n)
	delete(n.meta[s], key)
	f.touch(n, false)
	f.notify(n, fs.EventXattr)
	return f.changed(n, b), nil
}

// ListMeta implements fs.Metadata.
func (f *FS) ListMeta(_ context.Context, c *fs.Caller, node fs.Node, s fs.MetaSpace, after string, yield func(string, int) bool) error {
	type pair struct {
		key  string
		size int
	}
	var pairs []pair
	f.mu.Lock()
	n, err := f.metaOf("list metadata", c, node, s)
	if err == nil {
		for _, k := range slices.Sorted(maps.Keys(n.meta[s])) {
			if k > after {
				pairs = append(pairs, pair{k, len(n.meta[s][k])})
			}
		}
	}
	f.mu.Unlock()
	for _, p := range pairs {
		if !yield(p.key, p.size) {
			break
		}
	}
	return err
}

func (s *stream) info(id fs.StreamID) fs.StreamInfo {
	return fs.StreamInfo{ID: id, Name: s.name, Size: s.size, DataBytes: s.bytes(), DataRevision: s.rev}
}

// Streams implements fs.Metadata.
func (f *FS) Streams(_ context.Context, _ *fs.Caller, node fs.Node) ([]fs.StreamInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, _, err := f.find("list streams", node)
	if err != nil {
		return nil, err
	}
	var out []fs.StreamInfo
	for id, s := range n.streams {
		out = append(out, s.info(id))
	}
	slices.SortFunc(out, func(a, b fs.StreamInfo) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// streamNamed finds a named stream without regard to case.
func (n *inode) streamNamed(name string) (fs.StreamID, *stream) {
	for id, s := range n.streams {
		if fold.Equal(fold.Policy, s.name, name) {
			return id, s
		}
	}
	return 0, nil
}

// CreateStream implements fs.Metadata.
func (f *FS) CreateStream(_ context.Context, c *fs.Caller, node fs.Node, name string, exclusive bool) (fs.StreamInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.createStream(c, node, name, exclusive)
}

func (f *FS) createStream(c *fs.Caller, node fs.Node, name string, exclusive bool) (fs.StreamInfo, error) {
	const op = "create stream"
	fail := func(k fs.Kind) (fs.StreamInfo, error) { return fs.StreamInfo{}, fs.E(op, node, name, k, nil) }
	if err := writable(op, c, node); err != nil {
		return fs.StreamInfo{}, err
	}
	if err := fs.CheckName(name); err != nil {
		return fail(fs.KindOf(err))
	}
	n, _, err := f.find(op, node)
	switch {
	case err != nil:
		return fs.StreamInfo{}, err
	case n.typ != fs.File && n.typ != fs.Directory:
		return fail(fs.NotSupported)
	case !f.can(c, n, fs.RightModify):
		return fail(fs.Access)
	}
	if id, s := n.streamNamed(name); s != nil {
		if exclusive {
			return fail(fs.Exist)
		}
		return s.info(id), nil
	}
	switch {
	case n.locked(f.now()):
		return fail(fs.WORM)
	case len(n.streams) >= MaxStreams:
		return fail(fs.TooMany)
	}
	id := f.addStream(n, name)
	return n.streams[id].info(id), nil
}

// addStream makes a named stream after all checks. Its id comes from the ids
// of objects, which are never used twice either.
func (f *FS) addStream(n *inode, name string) fs.StreamID {
	if n.streams == nil {
		n.streams = map[fs.StreamID]*stream{}
	}
	id := fs.StreamID(f.nextID)
	f.nextID++
	n.streams[id] = &stream{name: name}
	f.touch(n, false)
	f.notify(n, fs.EventStream)
	return id
}

// liveStream finds a named stream that is going to be changed.
func (f *FS) liveStream(op string, c *fs.Caller, node fs.Node, id fs.StreamID) (*inode, *stream, error) {
	n, err := f.mayWriteEA(op, c, node, fs.RightModify)
	if err != nil {
		return nil, nil, err
	}
	s := n.streams[id]
	if s == nil {
		return nil, nil, fs.E(op, node, "", fs.NoAttr, nil)
	}
	return n, s, nil
}

// SetStreamSize implements fs.Metadata.
func (f *FS) SetStreamSize(_ context.Context, c *fs.Caller, node fs.Node, id fs.StreamID, size uint64) (fs.Changed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if id == 0 {
		return f.setAttr(c, node, &fs.SetAttr{Size: &size}, nil)
	}
	const op = "set stream size"
	err := f.free(c, op, node, id, 0, 0, true, nil)
	if err == nil {
		err = writable(op, c, node)
	}
	if err == nil && size > fs.MaxFileSize {
		err = fs.E(op, node, "", fs.TooBig, nil)
	}
	if err != nil {
		return fs.Changed{}, err
	}
	n, s, err := f.liveStream(op, c, node, id)
	if err != nil {
		return fs.Changed{}, err
	}
	b := before(n)
	s.truncate(size)
	s.sync()
	f.touch(n, true)
	f.notify(n, fs.EventStream)
	return f.changed(n, b), nil
}

// RenameStream implements fs.Metadata.
func (f *FS) RenameStream(_ context.Context, c *fs.Caller, node fs.Node, id fs.StreamID, name string) error {
	const op = "rename stream"
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := writable(op, c, node); err != nil {
		return err
	}
	if err := fs.CheckName(name); err != nil {
		return fs.E(op, node, name, fs.KindOf(err), nil)
	}
	n, s, err := f.liveStream(op, c, node, id)
	if err != nil {
		return err
	}
	if other, found := n.streamNamed(name); found != nil && other != id {
		return fs.E(op, node, name, fs.Exist, nil)
	}
	s.name = name
	f.touch(n, false)
	f.notify(n, fs.EventStream)
	return nil
}

// RemoveStream implements fs.Metadata.
func (f *FS) RemoveStream(_ context.Context, c *fs.Caller, node fs.Node, id fs.StreamID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, _, err := f.liveStream("remove stream", c, node, id)
	if err != nil {
		return err
	}
	delete(n.streams, id)
	f.touch(n, false)
	f.notify(n, fs.EventStream)
	return nil
}
