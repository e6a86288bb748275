package smb

import (
	"manifold/internal/fs"
)

// File information classes, [MS-FSCC] 2.4.
const (
	fiDirectory          = 1
	fiFullDirectory      = 2
	fiBothDirectory      = 3
	fiBasic              = 4
	fiStandard           = 5
	fiInternal           = 6
	fiEA                 = 7
	fiAccess             = 8
	fiName               = 9
	fiRename             = 10
	fiLink               = 11
	fiNames              = 12
	fiDisposition        = 13
	fiPosition           = 14
	fiFullEA             = 15
	fiMode               = 16
	fiAlignment          = 17
	fiAll                = 18
	fiAllocation         = 19
	fiEndOfFile          = 20
	fiAlternateName      = 21
	fiStream             = 22
	fiPipe               = 23
	fiPipeLocal          = 24
	fiCompression        = 28
	fiNetworkOpen        = 34
	fiAttributeTag       = 35
	fiIDBothDirectory    = 37
	fiIDFullDirectory    = 38
	fiValidDataLength    = 39
	fiShortName          = 40
	fiNormalizedName     = 48
	fiStandardLink       = 54
	fiID                 = 59
	fiIDExtd             = 60
	fiIDExtdBoth         = 63
	fiDispositionEx      = 64
	fiRenameEx           = 65
	sectorSize           = 512
	sectorsPerAllocation = fs.BlockSize / sectorSize
)

func (r *request) queryInfo() status {
	p := r.payload()
	kind, class := p[2], p[3]
	limit := int(le.Uint32(p[4:]))
	inOff, inLen := uint64(le.Uint16(p[8:])), uint64(le.Uint32(p[12:]))
	extra, flags := le.Uint32(p[16:]), le.Uint32(p[20:])
	in, ok := r.bytes(inOff, inLen)
	if !ok || limit < 0 || limit > r.c.s.o.MaxTransact || !r.needs(max(limit, len(in))) {
		return stInvalidParameter
	}
	o, st := r.file(p[24:40])
	if st != stOK {
		return st
	}
	var out []byte
	st = stInvalidParameter
	switch kind {
	case 1:
		out, st = r.queryFile(o, class, in, flags, limit)
	case 2:
		out, st = r.queryFS(o, class, limit)
	case 3:
		out, st = r.querySecurity(o, extra, limit)
	case 4:
		st = stNotSupported
	}
	if st != stOK && st != stBufferOverflow {
		return st
	}
	if len(out) > limit {
		out = out[:limit]
		st = stBufferOverflow
	}
	b := make([]byte, 8, 8+len(out))
	b[0] = 9
	if len(out) > 0 {
		b[2] = headerSize + 8
	}
	le.PutUint32(b[4:], uint32(len(out)))
	r.body = append(b, out...)
	return st
}

// fixedSizes is what a buffer must hold at least.
var fixedSizes = map[byte]int{
	fiBasic: 40, fiStandard: 24, fiInternal: 8, fiEA: 4, fiAccess: 4, fiName: 8, fiPosition: 8, fiMode: 4, fiAlignment: 4, fiAll: 104,
	fiAlternateName: 8, fiStream: 32, fiPipe: 8, fiPipeLocal: 40, fiCompression: 16, fiNetworkOpen: 56, fiAttributeTag: 8,
	fiNormalizedName: 4, fiStandardLink: 16, fiID: 24, fiFullEA: 0,
}

func (r *request) queryFile(o *open, class byte, in []byte, flags uint32, limit int) ([]byte, status) {
	least, known := fixedSizes[class]
	if !known {
		return nil, stInvalidInfoClass
	}
	if limit < least {
		return nil, stInfoLengthMismatch
	}
	if o.pipe != nil {
		return r.queryPipe(o, class)
	}
	switch class {
	case fiBasic, fiAll, fiNetworkOpen, fiAttributeTag:
		if o.granted&fs.RightReadAttr == 0 {
			return nil, stAccessDenied
		}
	case fiFullEA:
		if o.granted&fs.RightReadEA == 0 {
			return nil, stAccessDenied
		}
		return r.queryEAs(o, in, flags, limit)
	}
	a, err := r.attr(o)
	if err != nil {
		return nil, statusOf(err)
	}
	switch class {
	case fiBasic:
		return appendBasic(nil, &a), stOK
	case fiStandard:
		return o.appendStandard(nil, &a), stOK
	case fiInternal:
		return le.AppendUint64(nil, uint64(o.node.ID)), stOK
	case fiEA:
		return le.AppendUint32(nil, r.eaSize(o.node)), stOK
	case fiAccess:
		return le.AppendUint32(nil, uint32(o.granted)), stOK
	case fiName:
		return appendName(nil, "\\"+o.fullName()), stOK
	case fiNormalizedName:
		if r.c.dialect < dialect311 {
			return nil, stNotSupported
		}
		return appendName(nil, o.fullName()), stOK
	case fiPosition:
		o.mu.Lock()
		defer o.mu.Unlock()
		return le.AppendUint64(nil, o.pos), stOK
	case fiMode:
		o.mu.Lock()
		defer o.mu.Unlock()
		return le.AppendUint32(nil, o.mode), stOK
	case fiAlignment:
		return le.AppendUint32(nil, 0), stOK
	case fiAll:
		b := appendBasic(nil, &a)
		b = o.appendStandard(b, &a)
		b = le.AppendUint64(b, uint64(o.node.ID))
		b = le.AppendUint32(b, r.eaSize(o.node))
		b = le.AppendUint32(b, uint32(o.granted))
		o.mu.Lock()
		b = le.AppendUint64(b, o.pos)
		b = le.AppendUint32(b, o.mode)
		o.mu.Unlock()
		b = le.AppendUint32(b, 0)
		return appendName(b, "\\"+o.fullName()), stOK
	case fiAlternateName:
		o.s.mu.Lock()
		name := o.name
		o.s.mu.Unlock()
		short := shortName(name)
		// A name that is short already is its own alternate.
		if name == "" || !o.s.o.ShortNames && !equalFold(short, name) {
			return nil, stObjectNameNotFound
		}
		return appendName(nil, short), stOK
	case fiStream:
		return r.queryStreams(o, limit)
	case fiCompression:
		b := make([]byte, 16)
		le.PutUint64(b, a.Size)
		return b, stOK
	case fiNetworkOpen:
		b := make([]byte, 56)
		putNetworkOpen(b, &a, o)
		return b, stOK
	case fiAttributeTag:
		b := le.AppendUint32(nil, dosAttr(&a))
		return le.AppendUint32(b, reparseTag(a.Type)), stOK
	case fiStandardLink:
		b := le.AppendUint32(nil, a.Links)
		b = le.AppendUint32(b, a.Links)
		return appendZero(b, 8), stOK
	case fiID:
		b := le.AppendUint64(nil, volumeID(r.c.s))
		b = le.AppendUint64(b, uint64(o.node.ID))
		return appendZero(b, 8), stOK
	}
	return nil, stInvalidInfoClass
}

func (o *open) fullName() string {
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	return o.path
}

func appendName(b []byte, name string) []byte {
	n := encodeUTF16(name)
	b = le.AppendUint32(b, uint32(len(n)))
	return append(b, n...)
}

func appendBasic(b []byte, a *fs.Attr) []byte {
	b = le.AppendUint64(b, filetime(a.Btime))
	b = le.AppendUint64(b, filetime(a.Atime))
	b = le.AppendUint64(b, filetime(a.Mtime))
	b = le.AppendUint64(b, filetime(a.Ctime))
	b = le.AppendUint32(b, dosAttr(a))
	return appendZero(b, 4)
}

func (o *open) appendStandard(b []byte, a *fs.Attr) []byte {
	size, alloc := sizes(a, o)
	b = le.AppendUint64(b, alloc)
	b = le.AppendUint64(b, size)
	o.s.mu.Lock()
	pending := o.file != nil && o.file.pending
	o.s.mu.Unlock()
	links := a.Links
	if o.isDir {
		links = 1
	}
	if pending && links > 0 {
		links--
	}
	b = le.AppendUint32(b, links)
	x := [4]byte{}
	if pending {
		x[0] = 1
	}
	if a.Type == fs.Directory && o.stream == 0 {
		x[1] = 1
	}
	return append(b, x[:]...)
}

func (r *request) queryStreams(o *open, limit int) ([]byte, status) {
	ss, err := r.c.s.o.FS.Streams(r.ctx, r.system(), o.node)
	if err != nil && fs.KindOf(err) != fs.NotSupported {
		return nil, statusOf(err)
	}
	var b []byte
	last := -1
	add := func(name string, size uint64) {
		if last >= 0 {
			b = alignTo(b, 0, 8)
			le.PutUint32(b[last:], uint32(len(b)-last))
		}
		last = len(b)
		n := encodeUTF16(name)
		b = le.AppendUint32(b, 0)
		b = le.AppendUint32(b, uint32(len(n)))
		b = le.AppendUint64(b, size)
		b = le.AppendUint64(b, (size+fs.BlockSize-1)&^(fs.BlockSize-1))
		b = append(b, n...)
	}
	a, err := r.c.s.o.FS.GetAttr(r.ctx, r.caller, o.node, fs.AttrType|fs.AttrSize)
	if err != nil {
		return nil, statusOf(err)
	}
	if a.Type == fs.File {
		add("::$DATA", a.Size)
	}
	for _, s := range ss {
		at, was := len(b), last
		add(":"+s.Name+":$DATA", s.Size)
		if len(b) > limit {
			b = b[:at]
			if was >= 0 {
				le.PutUint32(b[was:], 0)
			}
			return b, stBufferOverflow
		}
	}
	if len(b) > limit {
		return nil, stBufferOverflow
	}
	return b, stOK
}

// queryFS answers the classes of [MS-FSCC] 2.5.
func (r *request) queryFS(o *open, class byte, limit int) ([]byte, status) {
	if o.handle == nil {
		return nil, stInvalidDeviceRequest
	}
	least := map[byte]int{1: 24, 3: 24, 4: 8, 5: 16, 6: 48, 7: 32, 8: 64, 11: 28}
	n, known := least[class]
	if !known {
		return nil, stInvalidInfoClass
	}
	if limit < n {
		return nil, stInfoLengthMismatch
	}
	srv := r.c.s
	share := r.tree.shared()
	var st fs.StatFS
	var err error
	if class == 3 || class == 7 || class == 8 || class == 1 {
		if st, err = srv.o.FS.StatFS(r.ctx, r.caller, o.node); err != nil {
			return nil, statusOf(err)
		}
	}
	switch class {
	case 1: // volume
		label := encodeUTF16(share.Name)
		if len(label) > 64 {
			label = label[:64]
		}
		a, err := srv.o.FS.GetAttr(r.ctx, r.caller, share.Root, fs.AttrBtime)
		if err != nil {
			return nil, statusOf(err)
		}
		b := le.AppendUint64(nil, filetime(a.Btime))
		b = append(b, st.FSID[:4]...)
		b = le.AppendUint32(b, uint32(len(label)))
		b = append(b, 0, 0)
		return append(b, label...), stOK
	case 3, 7: // size, full size
		b := le.AppendUint64(nil, st.TotalBytes/fs.BlockSize)
		b = le.AppendUint64(b, st.AvailBytes/fs.BlockSize)
		if class == 7 {
			b = le.AppendUint64(b, st.FreeBytes/fs.BlockSize)
		}
		b = le.AppendUint32(b, sectorsPerAllocation)
		return le.AppendUint32(b, sectorSize), stOK
	case 4: // device: a disk, mounted
		b := le.AppendUint32(nil, 7)
		return le.AppendUint32(b, 0x20), stOK
	case 5: // attributes
		flags := uint32(0x1 | 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x40000 | 0x400000 | 0x800000 | 0x8000000)
		if share.NoStreams {
			flags &^= 0x40000
		}
		if share.ReadOnly {
			flags |= 0x80000
		}
		name := encodeUTF16("NTFS")
		b := le.AppendUint32(nil, flags)
		b = le.AppendUint32(b, fs.MaxName)
		b = le.AppendUint32(b, uint32(len(name)))
		return append(b, name...), stOK
	case 6: // quota control: none is kept by user
		b := appendZero(nil, 24)
		b = le.AppendUint64(b, ^uint64(0))
		b = le.AppendUint64(b, ^uint64(0))
		return appendZero(b, 8), stOK
	case 8: // object id
		b := append([]byte(nil), st.FSID[:]...)
		return appendZero(b, 48), stOK
	case 11: // sector size
		b := le.AppendUint32(nil, sectorSize)
		b = le.AppendUint32(b, sectorSize)
		b = le.AppendUint32(b, sectorSize)
		b = le.AppendUint32(b, sectorSize)
		b = le.AppendUint32(b, 3) // aligned
		b = le.AppendUint32(b, 0)
		return le.AppendUint32(b, 0), stOK
	}
	return nil, stInvalidInfoClass
}
