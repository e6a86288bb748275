package smb

import (
	"context"
	"slices"
	"time"

	"manifold/internal/fs"
)

// Control codes, [MS-FSCC] 2.3 and [MS-SMB2] 2.2.31.
const (
	fsctlDFSReferrals      = 0x00060194
	fsctlDFSReferralsEx    = 0x000601B0
	fsctlSetReparse        = 0x000900A4
	fsctlGetReparse        = 0x000900A8
	fsctlDeleteReparse     = 0x000900AC
	fsctlCreateObjectID    = 0x000900C0
	fsctlSetCompression    = 0x0009C040
	fsctlGetCompression    = 0x0009003C
	fsctlSetSparse         = 0x000900C4
	fsctlQueryRanges       = 0x000940CF
	fsctlSetZeroData       = 0x000980C8
	fsctlFileLevelTrim     = 0x00098208
	fsctlDuplicateExtents  = 0x00098344
	fsctlPipePeek          = 0x0011400C
	fsctlPipeWait          = 0x00110018
	fsctlPipeTransceive    = 0x0011C017
	fsctlEnumSnapshots     = 0x00144064
	fsctlResumeKey         = 0x00140078
	fsctlCopyChunk         = 0x001440F2
	fsctlCopyChunkWrite    = 0x001480F2
	fsctlLMRResiliency     = 0x001401D4
	fsctlInterfaces        = 0x001401FC
	fsctlValidateNegotiate = 0x00140204
	fsctlQueryFileRegions  = 0x00090284
	fsctlTestUnacked       = 0x83848003
	fsctlTestPadIoctl      = 0x83848013
	fsctlTestPadReads      = 0x83848023
	fsctlTestSleep         = 0x83848043
)

const (
	copyChunks  = 256
	copyOne     = 1 << 20
	copyAll     = 16 << 20
	resumeMagic = "resume\x00\x00"
)

func (r *request) ioctl() status {
	p := r.payload()
	code := le.Uint32(p[4:])
	in, ok := r.bytes(uint64(le.Uint32(p[24:])), uint64(le.Uint32(p[28:])))
	limit := int(le.Uint32(p[44:]))
	if !ok || le.Uint32(p[48:]) != 1 {
		if ok {
			return stNotSupported
		}
		return stInvalidParameter
	}
	if limit < 0 || limit > r.c.s.o.MaxTransact || !r.needs(max(limit, len(in))) || le.Uint32(p[32:]) > uint32(r.c.s.o.MaxTransact) {
		return stInvalidParameter
	}
	out, st := r.control(code, p[8:24], in, limit)
	if st.failed() && len(out) == 0 {
		return st
	}
	if len(out) > limit {
		if st = stBufferOverflow; code != fsctlPipeTransceive && code != fsctlQueryRanges && code != fsctlGetReparse {
			return stBufferTooSmall
		}
		out = out[:limit]
	}
	head := 48
	if code == fsctlTestPadIoctl {
		head += 8
	}
	b := make([]byte, head, head+len(out))
	b[0] = 49
	le.PutUint32(b[4:], code)
	copy(b[8:24], p[8:24])
	if r.ch.open != nil && le.Uint64(p[8:]) == ^uint64(0) && !handleless(code) {
		le.PutUint64(b[8:], r.ch.open.id)
		le.PutUint64(b[16:], r.ch.open.vol)
	}
	le.PutUint32(b[24:], uint32(headerSize+head))
	le.PutUint32(b[32:], uint32(headerSize+head))
	le.PutUint32(b[36:], uint32(len(out)))
	b = append(b, out...)
	if st.failed() {
		r.body = b
		r.ch.append(r, st, b)
		return stSent
	}
	r.body = b
	return st
}

func handleless(code uint32) bool {
	switch code {
	case fsctlDFSReferrals, fsctlDFSReferralsEx, fsctlInterfaces, fsctlValidateNegotiate, fsctlPipeWait, fsctlTestUnacked, fsctlTestPadIoctl, fsctlTestPadReads:
		return true
	}
	return false
}

func (r *request) control(code uint32, id, in []byte, limit int) ([]byte, status) {
	switch code {
	case fsctlDFSReferrals, fsctlDFSReferralsEx:
		return nil, stNotFound
	case fsctlPipeWait:
		return nil, stNotSupported
	case fsctlInterfaces:
		if le.Uint64(id) != ^uint64(0) || le.Uint64(id[8:]) != ^uint64(0) {
			return nil, stInvalidParameter
		}
		return r.interfaces(limit)
	case fsctlValidateNegotiate:
		return r.validateNegotiate(in, limit)
	case fsctlTestUnacked:
		if !r.c.s.o.TestFsctls {
			return nil, stInvalidDeviceRequest
		}
		r.c.mu.Lock()
		r.c.unacked = true
		r.c.mu.Unlock()
		return nil, stOK
	}
	if r.c.s.o.TestFsctls {
		switch code {
		case fsctlTestPadReads:
			r.c.s.padReads.Store(true)
			return nil, stOK
		case fsctlTestPadIoctl:
			return []byte{8}, stOK
		}
	}
	o, st := r.file(id)
	if st != stOK {
		return nil, st
	}
	if st := o.checkSequence(r); st != stOK {
		return nil, st
	}
	if o.pipe != nil {
		if code == fsctlPipeTransceive {
			return r.transceive(o, in, limit)
		}
		return nil, stInvalidDeviceRequest
	}
	ctx := context.WithoutCancel(r.ctx)
	canWrite := o.granted&(fs.RightModify|fs.RightExtend) != 0
	switch code {
	case fsctlEnumSnapshots:
		return r.snapshots(o, limit)
	case fsctlResumeKey:
		if limit < 32 {
			return nil, stInvalidParameter
		}
		b := make([]byte, 32)
		copy(b, r.resumeKey(o))
		return b, stOK
	case fsctlCopyChunk, fsctlCopyChunkWrite:
		o.begin()
		defer o.end()
		return r.copyChunk(o, code, in, limit)
	case fsctlCreateObjectID:
		b := make([]byte, 64)
		le.PutUint64(b, uint64(o.node.ID))
		copy(b[8:], r.c.s.o.GUID[:8])
		return b, stOK
	case fsctlGetCompression:
		if limit < 2 {
			return nil, stInvalidParameter
		}
		return []byte{0, 0}, stOK
	case fsctlSetCompression:
		if !canWrite {
			return nil, stAccessDenied
		}
		if len(in) < 2 {
			return nil, stInvalidParameter
		}
		if le.Uint16(in) != 0 {
			return nil, stNotSupported
		}
		return nil, stOK
	case fsctlSetSparse:
		return nil, r.setSparse(ctx, o, in)
	case fsctlSetZeroData:
		if len(in) < 16 {
			return nil, stInvalidParameter
		}
		from, to := le.Uint64(in), le.Uint64(in[8:])
		switch {
		case o.granted&fs.RightModify == 0:
			return nil, stAccessDenied
		case o.isDir, int64(from) < 0, int64(to) < 0, from > to:
			return nil, stInvalidParameter
		}
		return nil, r.zeroData(ctx, o, from, to)
	case fsctlQueryRanges:
		return r.queryRanges(o, in, limit)
	case fsctlGetReparse:
		return r.reparsePoint(o, limit)
	case fsctlSetReparse:
		return nil, r.setReparse(ctx, o, in)
	case fsctlDeleteReparse:
		return nil, r.deleteReparse(ctx, o, in)
	case fsctlLMRResiliency:
		return nil, stInvalidDeviceRequest
	case fsctlDuplicateExtents:
		return nil, r.duplicateExtents(ctx, o, in)
	case fsctlTestSleep:
		if !r.c.s.o.TestFsctls || len(in) < 1 {
			return nil, stInvalidDeviceRequest
		}
		o.begin()
		defer o.end()
		r.pend()
		t := time.NewTimer(time.Duration(in[0]) * time.Millisecond)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.ctx.Done():
			return nil, stCancelled
		}
		if _, st := r.file(id); st != stOK {
			return nil, stFileClosed
		}
		return nil, stOK
	}
	return nil, stInvalidDeviceRequest
}

func (r *request) resumeKey(o *open) []byte {
	b := make([]byte, 24)
	le.PutUint64(b, o.id)
	le.PutUint64(b[8:], o.vol)
	copy(b[16:], resumeMagic)
	return b
}

func (r *request) setSparse(ctx context.Context, o *open, in []byte) status {
	switch {
	case o.isDir:
		return stInvalidParameter
	case o.granted&(fs.RightModify|fs.RightExtend|fs.RightWriteAttr) == 0:
		return stAccessDenied
	}
	on := len(in) == 0 || in[0] != 0
	a, err := o.handle.GetAttr(ctx, fs.AttrDOS)
	if err != nil {
		return statusOf(err)
	}
	dos := a.DOS &^ fs.DOSSparse
	if on {
		dos |= fs.DOSSparse
	}
	if dos == a.DOS {
		return stOK
	}
	_, err = r.c.s.o.FS.SetAttr(ctx, r.system(), o.node, &fs.SetAttr{DOS: &dos})
	return statusOf(err)
}

func (r *request) zeroData(ctx context.Context, o *open, from, to uint64) status {
	if from == to {
		return stOK
	}
	if st := r.lockedBy(o, from, to-from, true); st != stOK {
		return st
	}
	r.c.s.contendRead(o)
	a, err := r.attr(o)
	if err != nil {
		return statusOf(err)
	}
	to = min(to, a.Size)
	if from >= to {
		return stOK
	}
	c := r.system() // its protocol is that whose caches we have seen to
	c.ReadOnly = r.caller.ReadOnly
	_, err = r.c.s.o.FS.Zero(ctx, c, o.node, o.stream, from, to-from)
	return statusOf(err)
}

// lockedBy tells whether a lock forbids the open to touch the range.
func (r *request) lockedBy(o *open, off, n uint64, write bool) status {
	if r.c.s.o.FS.CheckIO(fs.LockSMB, o.node, o.stream, o.handle.ID(), off, n, write) != nil {
		return stFileLockConflict
	}
	return stOK
}

func (r *request) queryRanges(o *open, in []byte, limit int) ([]byte, status) {
	if len(in) < 16 {
		return nil, stInvalidParameter
	}
	off, n := le.Uint64(in), le.Uint64(in[8:])
	switch {
	case o.granted&fs.RightRead == 0:
		return nil, stAccessDenied
	case o.isDir, int64(off) < 0, int64(n) < 0, int64(off+n) < 0:
		return nil, stInvalidParameter
	case n == 0:
		return nil, stOK
	}
	a, err := r.attr(o)
	if err != nil {
		return nil, statusOf(err)
	}
	end := min(off+n, a.Size)
	if off >= end {
		return nil, stOK
	}
	var b []byte
	st := stOK
	add := func(from, to uint64) bool {
		if len(b)+16 > limit {
			st = stBufferOverflow
			if len(b) == 0 {
				st = stBufferTooSmall
			}
			return false
		}
		b = le.AppendUint64(b, from)
		b = le.AppendUint64(b, to-from)
		return true
	}
	if a.DOS&fs.DOSSparse == 0 {
		add(off, end)
		return b, st
	}
	err = r.c.s.o.FS.Regions(r.ctx, r.system(), o.node, o.stream, off, func(g fs.Region) bool {
		from, to := max(g.Offset, off), min(g.Offset+g.Length, end)
		if from >= to {
			return g.Offset < end
		}
		if g.Hole {
			return true
		}
		return add(from, to)
	})
	if err != nil {
		return nil, statusOf(err)
	}
	return b, st
}

func (r *request) copyChunk(o *open, code uint32, in []byte, limit int) ([]byte, status) {
	if limit < 12 || len(in) < 32 {
		return nil, stInvalidParameter
	}
	reply := func(chunks, last, total uint32) []byte {
		b := le.AppendUint32(nil, chunks)
		b = le.AppendUint32(b, last)
		return le.AppendUint32(b, total)
	}
	src := r.c.s.openByID(le.Uint64(in), le.Uint64(in[8:]))
	if string(in[16:24]) != resumeMagic || src == nil || src.handle == nil || src.sess != r.sess {
		return nil, stObjectNameNotFound
	}
	n := le.Uint32(in[24:])
	if n > copyChunks || uint64(len(in)) < 32+24*uint64(n) {
		return reply(copyChunks, copyOne, copyAll), stInvalidParameter
	}
	type chunk struct{ from, to, n uint64 }
	chunks := make([]chunk, n)
	total := uint64(0)
	for i := range chunks {
		e := in[32+24*i:]
		chunks[i] = chunk{le.Uint64(e), le.Uint64(e[8:]), uint64(le.Uint32(e[16:]))}
		total += chunks[i].n
		if chunks[i].n == 0 || chunks[i].n > copyOne {
			return reply(copyChunks, copyOne, copyAll), stInvalidParameter
		}
	}
	if total > copyAll {
		return reply(copyChunks, copyOne, copyAll), stInvalidParameter
	}
	switch {
	case o.isDir || src.isDir:
		return nil, stAccessDenied
	case o.granted&(fs.RightModify|fs.RightExtend) == 0, src.granted&(fs.RightRead|fs.RightExecute) == 0,
		code == fsctlCopyChunk && o.granted&fs.RightRead == 0:
		return nil, stAccessDenied
	}
	a, err := src.attr(r.ctx)
	if err != nil {
		return nil, statusOf(err)
	}
	r.c.s.contendRead(o)
	done, written := uint32(0), uint64(0)
	ctx := context.WithoutCancel(r.ctx)
	for _, c := range chunks {
		if c.from > a.Size || c.n > a.Size-c.from {
			return reply(done, 0, uint32(written)), stInvalidViewSize
		}
		st := r.lockedBy(src, c.from, c.n, false)
		if st == stOK {
			st = r.lockedBy(o, c.to, c.n, true)
		}
		if st == stOK {
			st = r.copyRange(ctx, src, o, c.from, c.to, c.n)
		}
		if st != stOK {
			return reply(done, 0, uint32(written)), st
		}
		done++
		written += c.n
	}
	return reply(done, 0, uint32(written)), stOK
}

const stInvalidViewSize status = 0xC000001F

// copyRange copies by reference; ranges of one file that overlap go through memory.
func (r *request) copyRange(ctx context.Context, src, dst *open, from, to, n uint64) status {
	if src.node == dst.node && src.stream == dst.stream && from < to+n && to < from+n {
		buf := make([]byte, n)
		for at := uint64(0); at < n; {
			res, err := src.handle.Read(ctx, from+at, buf[at:])
			if err != nil {
				return statusOf(err)
			}
			if res.N == 0 {
				break
			}
			at += uint64(res.N)
		}
		_, err := dst.handle.Write(ctx, &fs.WriteRequest{Offset: to, Data: buf})
		return statusOf(err)
	}
	c := r.system() // its protocol is that whose caches we have seen to
	c.ReadOnly = r.caller.ReadOnly
	for n > 0 {
		k, err := r.c.s.o.FS.CopyRange(ctx, c, src.node, src.stream, from, dst.node, dst.stream, to, n)
		if err != nil {
			return statusOf(err)
		}
		if k == 0 {
			return stEndOfFile
		}
		from, to, n = from+k, to+k, n-k
	}
	return stOK
}

// duplicateExtents shares whole blocks, [MS-FSA] 2.1.5.10.4: unlike copying it
// does not ask for locks, and does not make a file longer.
func (r *request) duplicateExtents(ctx context.Context, o *open, in []byte) status {
	if len(in) < 40 {
		return stInvalidParameter
	}
	src := r.c.s.openByID(le.Uint64(in), le.Uint64(in[8:]))
	from, to, n := le.Uint64(in[16:]), le.Uint64(in[24:]), le.Uint64(in[32:])
	switch {
	case src == nil || src.handle == nil || src.sess != r.sess:
		return stInvalidHandle
	case o.granted&fs.RightModify == 0 || src.granted&fs.RightRead == 0:
		return stAccessDenied
	case from%fs.BlockSize != 0 || to%fs.BlockSize != 0 || int64(from+n) < 0 || int64(to+n) < 0:
		return stInvalidParameter
	}
	a, err := src.attr(ctx)
	if err != nil {
		return statusOf(err)
	}
	b, err := o.attr(ctx)
	if err != nil {
		return statusOf(err)
	}
	switch {
	case from > a.Size || n > a.Size-from, src.node == o.node && src.stream == o.stream && from < to+n && to < from+n,
		a.DOS&fs.DOSSparse != 0 && b.DOS&fs.DOSSparse == 0:
		return stNotSupported
	case to >= b.Size:
		return stOK
	}
	r.c.s.contendRead(o)
	return r.copyRange(ctx, src, o, from, to, min(n, b.Size-to))
}

// snapshots lists what previous versions there are.
func (r *request) snapshots(o *open, limit int) ([]byte, status) {
	if limit < 16 {
		return nil, stInvalidParameter
	}
	var names []string
	f := r.c.s.o.FS
	err := f.ListSnapshots(r.ctx, 0, func(s *fs.Snapshot) bool {
		if in, err := f.Contains(r.ctx, s.Root, r.tree.shared().Root); err == nil && in && !s.InDelete {
			names = append(names, s.Created.UTC().Format("@GMT-2006.01.02-15.04.05"))
		}
		return true
	})
	if err != nil {
		return nil, statusOf(err)
	}
	slices.Reverse(names)
	names = slices.Compact(names)
	var text []byte
	given := 0
	for _, n := range names {
		u := append(encodeUTF16(n), 0, 0)
		text = append(text, u...)
		given++
	}
	text = append(text, 0, 0)
	need := len(text)
	if 12+need > limit {
		given, text = 0, []byte{0, 0, 0, 0}
	}
	b := le.AppendUint32(nil, uint32(len(names)))
	b = le.AppendUint32(b, uint32(given))
	b = le.AppendUint32(b, uint32(need))
	return append(b, text...), stOK
}

// validateNegotiate proves that nobody meddled with the negotiation.
func (r *request) validateNegotiate(in []byte, limit int) ([]byte, status) {
	c := r.c
	if len(in) < 24 || len(in) < 24+2*int(le.Uint16(in[22:])) || limit < 24 || c.dialect >= dialect311 {
		_ = c.nc.Close()
		return nil, stInvalidParameter
	}
	n := int(le.Uint16(in[22:]))
	var dialects []uint16
	for i := range n {
		dialects = append(dialects, le.Uint16(in[24+2*i:]))
	}
	var guid [16]byte
	copy(guid[:], in[4:20])
	same := le.Uint32(in) == c.clientCaps && guid == c.clientGUID && le.Uint16(in[20:]) == c.clientMode && slices.Equal(dialects, c.dialects)
	if !same {
		_ = c.nc.Close()
		return nil, stAccessDenied
	}
	b := make([]byte, 24)
	le.PutUint32(b, c.capabilities())
	copy(b[4:], c.s.o.GUID[:])
	le.PutUint16(b[20:], c.securityMode())
	le.PutUint16(b[22:], c.dialect)
	return b, stOK
}

// interfaces lists addresses for multichannel.
func (r *request) interfaces(limit int) ([]byte, status) {
	if r.c.dialect < dialect300 {
		return nil, stInvalidDeviceRequest
	}
	var list []Interface
	if r.c.s.o.Interfaces != nil {
		list = r.c.s.o.Interfaces()
	}
	var b []byte
	for i, x := range list {
		e := make([]byte, 152)
		if i < len(list)-1 {
			le.PutUint32(e, 152)
		}
		le.PutUint32(e[4:], x.Index)
		if x.RSS {
			e[8] = 1
		}
		le.PutUint64(e[16:], x.LinkRate)
		if a := x.Addr.Unmap(); a.Is4() {
			v := a.As4()
			le.PutUint16(e[24:], 2)
			copy(e[28:], v[:])
		} else {
			v := a.As16()
			le.PutUint16(e[24:], 23)
			copy(e[32:], v[:])
		}
		b = append(b, e...)
	}
	if len(b) > limit {
		return nil, stBufferTooSmall
	}
	return b, stOK
}
