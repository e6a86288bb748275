package memfs

import (
	"context"

	"manifold/internal/fs"
	"manifold/internal/fs/acl"
)

// free tells whether opens and mandatory locks of others leave the bytes to a
// caller. It is asked before anything else about the object. SMB has an open for
// all it does, and was asked with that.
func (f *FS) free(c *fs.Caller, op string, node fs.Node, id fs.StreamID, off, length uint64, write bool, h *handle) error {
	n := f.live[node.ID]
	switch {
	case n == nil || !node.Live() || h == nil && c.Protocol == fs.ProtoSMB:
		return nil
	case h == nil && f.shares.Test(fs.LockPOSIX, node, id, accessTo(write)) != nil:
		return fs.E(op, node, "", fs.Sharing, nil)
	case f.lockConflict(n, id, off, length, write, h):
		return fs.E(op, node, "", fs.LockConflict, nil)
	}
	return nil
}

func accessTo(write bool) fs.Rights {
	if write {
		return fs.RightModify
	}
	return fs.RightRead
}

// findStream finds a stream of a node; the default one only of regular files.
func (f *FS) findStream(op string, node fs.Node, id fs.StreamID) (*inode, *stream, error) {
	n, _, err := f.find(op, node)
	if err != nil {
		return nil, nil, err
	}
	s := n.stream(id)
	switch {
	case s == nil:
		return nil, nil, fs.E(op, node, "", fs.NoAttr, nil)
	case id == 0 && n.typ == fs.Directory:
		return nil, nil, fs.E(op, node, "", fs.IsDir, nil)
	case id == 0 && n.typ != fs.File:
		return nil, nil, fs.E(op, node, "", fs.NotFile, nil)
	}
	return n, s, nil
}

// mayRead tells whether the caller may read n's data without an open.
func (f *FS) mayRead(c *fs.Caller, n *inode, r *fs.ReadRequest) bool {
	return f.can(c, n, fs.RightRead) || r.Execute && f.can(c, n, fs.RightExecute) ||
		r.OwnerOverride && acl.IsOwner(c, &n.acl)
}

// Read implements fs.Files.
func (f *FS) Read(_ context.Context, c *fs.Caller, node fs.Node, r *fs.ReadRequest, dst []byte) (fs.ReadResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.read(c, node, r, dst, nil)
}

func (f *FS) read(c *fs.Caller, node fs.Node, r *fs.ReadRequest, dst []byte, h *handle) (fs.ReadResult, error) {
	const op = "read"
	if h != nil && h.granted&(fs.RightRead|fs.RightExecute) == 0 {
		return fs.ReadResult{}, fs.E(op, node, "", fs.Access, nil)
	}
	if err := f.free(c, op, node, r.Stream, r.Offset, uint64(len(dst)), false, h); err != nil {
		return fs.ReadResult{}, err
	}
	n, s, err := f.findStream(op, node, r.Stream)
	if err != nil {
		return fs.ReadResult{}, err
	}
	if h == nil && !f.mayRead(c, n, r) {
		return fs.ReadResult{}, fs.E(op, node, "", fs.Access, nil)
	}
	got := s.read(r.Offset, dst)
	return fs.ReadResult{N: got, EOF: r.Offset+uint64(got) >= s.size, Attr: f.attr(n, node, r.Want)}, nil
}

// Write implements fs.Files.
func (f *FS) Write(_ context.Context, c *fs.Caller, node fs.Node, w *fs.WriteRequest) (fs.WriteResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.write(c, node, w, nil)
}

func (f *FS) write(c *fs.Caller, node fs.Node, w *fs.WriteRequest, h *handle) (fs.WriteResult, error) {
	const op = "write"
	fail := func(k fs.Kind) (fs.WriteResult, error) { return fs.WriteResult{}, fs.E(op, node, "", k, nil) }
	if h != nil && h.granted&fs.RightsWriteData == 0 {
		return fail(fs.Access)
	}
	off, length := w.Offset, uint64(len(w.Data))
	place := length
	if w.Append {
		place = 0 // not known yet
	}
	if err := f.free(c, op, node, w.Stream, off, place, true, h); err != nil {
		return fs.WriteResult{}, err
	}
	if err := writable(op, c, node); err != nil {
		return fs.WriteResult{}, err
	}
	if !w.Append && (off > fs.MaxFileSize || length > fs.MaxFileSize-off) {
		return fail(fs.TooBig)
	}
	n, s, err := f.findStream(op, node, w.Stream)
	if err != nil {
		return fs.WriteResult{}, err
	}
	if w.Append {
		off = s.size
	}
	if off > fs.MaxFileSize || length > fs.MaxFileSize-off {
		return fail(fs.TooBig)
	}
	switch {
	case !f.mayWrite(c, n, s, off, length, w.OwnerOverride, h):
		return fail(fs.Access)
	case n.locked(f.now()):
		return fail(fs.WORM)
	}
	if err := f.room(op, n, s.growth(off, length)); err != nil {
		return fs.WriteResult{}, err
	}
	b := before(n)
	committed := fs.FileSync
	if w.Stability == fs.Unstable {
		committed = fs.Unstable
		s.unstable()
	} else {
		s.sync()
	}
	if length > 0 {
		events := fs.EventData
		if off+length > s.size {
			events |= fs.EventSize
		}
		s.write(off, w.Data)
		f.touch(n, true)
		n.dropSetID(c)
		f.notify(n, events)
	}
	res := fs.WriteResult{Count: len(w.Data), Committed: committed, Verifier: f.verifier, Offset: off}
	res.File = fs.Changed{Before: b, After: f.attr(n, node, w.Want), Atomic: true}
	return res, nil
}

// mayWrite tells whether the caller may write n's data: over what is there,
// behind it, or both.
func (f *FS) mayWrite(c *fs.Caller, n *inode, s *stream, off, length uint64, override bool, h *handle) bool {
	var need fs.Rights
	if off < s.size || length == 0 {
		need |= fs.RightModify
	}
	if off+length > s.size {
		need |= fs.RightExtend
	}
	if h != nil { // the right to change data includes its length
		return h.granted&fs.RightModify != 0 || h.granted&need == need
	}
	return f.can(c, n, need) || override && acl.IsOwner(c, &n.acl)
}

// Commit implements fs.Files.
func (f *FS) Commit(_ context.Context, _ *fs.Caller, node fs.Node, id fs.StreamID, _, _ uint64) (fs.Verifier, fs.Changed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !node.Live() {
		return 0, fs.Changed{}, fs.E("commit", node, "", fs.ReadOnly, nil)
	}
	n, s, err := f.findStream("commit", node, id)
	if err != nil {
		return 0, fs.Changed{}, err
	}
	s.sync()
	return f.verifier, f.changed(n, before(n)), nil
}

// WriteVerifier implements fs.Files.
func (f *FS) WriteVerifier() fs.Verifier {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.verifier
}

// Zero implements fs.Files.
func (f *FS) Zero(_ context.Context, c *fs.Caller, node fs.Node, id fs.StreamID, off, length uint64) (fs.Changed, error) {
	const op = "zero"
	f.mu.Lock()
	defer f.mu.Unlock()
	fail := func(k fs.Kind) (fs.Changed, error) { return fs.Changed{}, fs.E(op, node, "", k, nil) }
	if err := writable(op, c, node); err != nil {
		return fs.Changed{}, err
	}
	if off > fs.MaxFileSize || length > fs.MaxFileSize-off {
		return fail(fs.TooBig)
	}
	if err := f.free(c, op, node, id, off, length, true, nil); err != nil {
		return fs.Changed{}, err
	}
	n, s, err := f.findStream(op, node, id)
	switch {
	case err != nil:
		return fs.Changed{}, err
	case !f.can(c, n, fs.RightModify):
		return fail(fs.Access)
	case n.locked(f.now()):
		return fail(fs.WORM)
	}
	b := before(n)
	if end := min(off+length, s.size); off < end {
		if end == s.size {
			// The block of the end goes as a whole.
			end = (end + fs.BlockSize - 1) / fs.BlockSize * fs.BlockSize
		}
		s.zero(off, end)
		s.rev++
		s.sync()
		f.touch(n, true)
		n.dropSetID(c)
		f.notify(n, fs.EventData)
	}
	return f.changed(n, b), nil
}

// Regions implements fs.Files.
func (f *FS) Regions(_ context.Context, c *fs.Caller, node fs.Node, id fs.StreamID, off uint64, yield func(fs.Region) bool) error {
	f.mu.Lock()
	n, s, err := f.findStream("regions", node, id)
	if err == nil && !f.can(c, n, fs.RightRead) {
		err = fs.E("regions", node, "", fs.Access, nil)
	}
	var rs []fs.Region
	if err == nil {
		rs = s.regions(off)
	}
	f.mu.Unlock()
	for _, r := range rs {
		if !yield(r) {
			break
		}
	}
	return err
}

// maxCopy bounds one CopyRange.
const maxCopy = 64 << 20

// CopyRange implements fs.Files.
func (f *FS) CopyRange(_ context.Context, c *fs.Caller, src fs.Node, srcID fs.StreamID, srcOff uint64, dst fs.Node, dstID fs.StreamID, dstOff, length uint64) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := writable("copy", c, dst); err != nil {
		return 0, err
	}
	if src == dst && srcID == dstID && srcOff < dstOff+length && dstOff < srcOff+length {
		return 0, fs.E("copy", dst, "", fs.Invalid, nil) // overlapping
	}
	if err := f.free(c, "copy", src, srcID, srcOff, length, false, nil); err != nil {
		return 0, err
	}
	_, s, err := f.findStream("copy", src, srcID)
	if err != nil {
		return 0, err
	}
	if srcOff >= s.size {
		length = 0
	} else {
		length = min(length, s.size-srcOff, maxCopy)
	}
	buf := make([]byte, length)
	if _, err := f.read(c, src, &fs.ReadRequest{Stream: srcID, Offset: srcOff}, buf, nil); err != nil {
		return 0, err
	}
	// Permission to write is checked even if there is nothing to copy.
	_, err = f.write(c, dst, &fs.WriteRequest{Stream: dstID, Offset: dstOff, Data: buf, Stability: fs.FileSync}, nil)
	if err != nil {
		return 0, err
	}
	return length, nil
}
