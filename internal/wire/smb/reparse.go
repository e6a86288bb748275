package smb

import (
	"context"
	"strings"

	"manifold/internal/fs"
)

// Tags of reparse points, [MS-FSCC] 2.1.2.1.
const (
	tagSymlink   = 0xA000000C
	tagNFS       = 0x80000014
	tagUnixLink  = 0xA000001D
	tagSocket    = 0x80000023
	tagFIFO      = 0x80000024
	tagCharDev   = 0x80000025
	tagBlockDev  = 0x80000026
	maxReparse   = 16384
	linkRelative = 1
)

// Types of files in an NFS reparse point, [MS-FSCC] 2.1.2.6.
const (
	nfsLink   = 0x00000000014B4E4C
	nfsChar   = 0x0000000000524843
	nfsBlock  = 0x00000000004B4C42
	nfsFIFO   = 0x000000004F464946
	nfsSocket = 0x000000004B434F53
)

// reparseTag is what objects that are neither file nor directory are shown as.
func reparseTag(t fs.Type) uint32 {
	switch t {
	case fs.Symlink:
		return tagSymlink
	case fs.FIFO:
		return tagFIFO
	case fs.Socket:
		return tagSocket
	case fs.CharDevice:
		return tagCharDev
	case fs.BlockDevice:
		return tagBlockDev
	}
	return 0
}

// symlinkError tells the client where a symlink leads, [MS-SMB2] 2.2.2.2.1;
// unparsed are the bytes of its path that come behind the name of the symlink.
func (r *request) symlinkError(n fs.Node, unparsed int) status {
	link, err := r.c.s.o.FS.Readlink(r.ctx, r.caller, n)
	if err != nil {
		return statusOf(err)
	}
	rd := symlinkData(string(link))
	le.PutUint16(rd[6:], uint16(unparsed))
	out := make([]byte, 8, 8+len(rd))
	le.PutUint32(out, uint32(4+len(rd)))
	le.PutUint32(out[4:], 0x4C4D5953)
	r.errData = append(out, rd...)
	return stStoppedOnSymlink
}

// symlinkData is a symbolic link reparse buffer, [MS-FSCC] 2.1.2.4.
func symlinkData(link string) []byte {
	name := encodeUTF16(strings.ReplaceAll(link, "/", "\\"))
	b := make([]byte, 20, 20+2*len(name))
	le.PutUint32(b, tagSymlink)
	le.PutUint16(b[4:], uint16(12+2*len(name)))
	le.PutUint16(b[8:], uint16(len(name)))  // substitute name offset
	le.PutUint16(b[10:], uint16(len(name))) // and length
	le.PutUint16(b[14:], uint16(len(name))) // print name at 0
	if !strings.HasPrefix(link, "/") {
		le.PutUint32(b[16:], linkRelative)
	}
	return append(append(b, name...), name...)
}

// reparsePoint answers FSCTL_GET_REPARSE_POINT, [MS-FSA] 2.1.5.10.14.
func (r *request) reparsePoint(o *open, limit int) ([]byte, status) {
	a, err := r.attr(o)
	if err != nil {
		return nil, statusOf(err)
	}
	tag := reparseTag(a.Type)
	switch {
	case tag == 0:
		return nil, stNotAReparsePoint
	case limit < 8:
		return nil, stBufferTooSmall
	case tag != tagSymlink:
		return le.AppendUint64(nil, uint64(tag)), stOK
	}
	link, err := r.c.s.o.FS.Readlink(r.ctx, r.caller, o.node)
	if err != nil {
		return nil, statusOf(err)
	}
	return symlinkData(string(link)), stOK
}

// reparse is what a client wants an object to be.
type reparse struct {
	fs.RetypeSpec
	// shareRoot: the target is seen from the root of the share, not from where
	// the symlink is.
	shareRoot bool
}

// setReparse answers FSCTL_SET_REPARSE_POINT, [MS-FSA] 2.1.5.10.37: an empty
// file becomes a symlink or, as Unix clients ask for, a special file. Other
// reparse points mean nothing to other protocols and are refused.
func (r *request) setReparse(ctx context.Context, o *open, in []byte) status {
	if o.granted&(fs.RightModify|fs.RightWriteAttr) == 0 {
		return stAccessDenied
	}
	p, st := parseReparse(in)
	if st != stOK {
		return st
	}
	if p.shareRoot {
		p.Target = append([]byte(strings.Repeat("../", strings.Count(o.fullName(), "\\"))), p.Target...)
	}
	if st := checkTarget(&p); st != stOK {
		return st
	}
	a, err := r.attr(o)
	if err != nil {
		return statusOf(err)
	}
	switch {
	case o.stream != 0:
		return stInvalidParameter
	case o.isDir && a.Children > 0:
		return stDirectoryNotEmpty
	case o.isDir:
		return stNotSupported
	case (p.Type == fs.CharDevice || p.Type == fs.BlockDevice) && !r.caller.Cred.Superuser:
		return stAccessDenied // it would be one on Unix clients, too
	}
	p.SymlinkHint = fs.SymlinkUnknown
	if p.Type == fs.Symlink {
		p.SymlinkHint = fs.SymlinkToFile
	}
	return r.retype(ctx, o, &p.RetypeSpec)
}

func checkTarget(p *reparse) status {
	switch n := len(p.Target); {
	case p.Type == fs.Symlink && (n == 0 || n > 4095 || strings.IndexByte(string(p.Target), 0) >= 0):
		return stIOReparseDataInvalid
	case p.Type != fs.Symlink && n != 0:
		return stIOReparseDataInvalid
	}
	return stOK
}

func (r *request) retype(ctx context.Context, o *open, spec *fs.RetypeSpec) status {
	r.c.s.contendRead(o)
	c := r.system() // its protocol is that whose caches we have seen to
	c.ReadOnly = r.caller.ReadOnly
	_, err := r.c.s.o.FS.Retype(ctx, c, o.node, spec)
	switch k := fs.KindOf(err); {
	case err == nil:
		return stOK
	case k == fs.NotEmpty:
		return stIOReparseDataInvalid // data and a symlink exclude each other
	case k == fs.Exist:
		return stIOReparseTagMismatch
	case k == fs.Busy:
		return stNotSupported // hard links keep their type
	}
	return statusOf(err)
}

// deleteReparse answers FSCTL_DELETE_REPARSE_POINT, [MS-FSA] 2.1.5.10.5: what is
// left is an empty file.
func (r *request) deleteReparse(ctx context.Context, o *open, in []byte) status {
	if o.granted&(fs.RightModify|fs.RightWriteAttr) == 0 {
		return stAccessDenied
	}
	if len(in) < 8 {
		return stIOReparseDataInvalid
	}
	tag, n := le.Uint32(in), le.Uint16(in[4:])
	switch {
	case tag <= 1:
		return stIOReparseTagInvalid
	case n != 0 || len(in) != 8 && (tag>>31 == 1 || len(in) != 24):
		return stIOReparseDataInvalid
	}
	a, err := r.attr(o)
	if err != nil {
		return statusOf(err)
	}
	switch reparseTag(a.Type) {
	case 0:
		return stNotAReparsePoint
	case tag:
		return r.retype(ctx, o, &fs.RetypeSpec{Type: fs.File})
	}
	return stIOReparseTagMismatch
}

// parseReparse reads a reparse buffer, [MS-FSCC] 2.1.2.
func parseReparse(b []byte) (p reparse, st status) {
	if len(b) < 8 || len(b) > maxReparse {
		return p, stIOReparseDataInvalid
	}
	tag, n := le.Uint32(b), int(le.Uint16(b[4:]))
	switch {
	case tag <= 1:
		return p, stIOReparseTagInvalid
	case tag>>31 == 0: // somebody's own, with a GUID behind the length
		return p, stNotSupported
	case len(b) != 8+n:
		return p, stIOReparseDataInvalid
	}
	data := b[8:]
	switch tag {
	case tagSymlink:
		st = p.parseSymlink(data)
		return p, st
	case tagNFS:
		st = p.parseNFS(data)
		return p, st
	case tagUnixLink:
		if n < 4 || le.Uint32(data) != 2 {
			return p, stIOReparseDataInvalid
		}
		p.Type, p.Target = fs.Symlink, append([]byte(nil), data[4:]...)
		return p, stOK
	case tagFIFO, tagSocket:
		if n != 0 {
			return p, stIOReparseDataInvalid
		}
		if p.Type = fs.FIFO; tag == tagSocket {
			p.Type = fs.Socket
		}
		return p, stOK
	}
	return p, stNotSupported
}

func (p *reparse) parseSymlink(b []byte) status {
	if len(b) < 12 {
		return stIOReparseDataInvalid
	}
	name := func(at int) ([]byte, bool) {
		off, n := int(le.Uint16(b[at:])), int(le.Uint16(b[at+2:]))
		if off%2 != 0 || n%2 != 0 || 12+off+n > len(b) {
			return nil, false
		}
		return b[12+off : 12+off+n], true
	}
	to, ok := name(0)
	_, printable := name(4)
	flags := le.Uint32(b[8:])
	if !ok || !printable || flags > linkRelative {
		return stIOReparseDataInvalid
	}
	target := strings.ReplaceAll(decodeUTF16(to), "\\", "/")
	if flags == linkRelative && strings.HasPrefix(target, "/") {
		if p.shareRoot, target = true, strings.TrimLeft(target, "/"); target == "" {
			target = "."
		}
	}
	p.Type, p.Target = fs.Symlink, []byte(target)
	return stOK
}

func (p *reparse) parseNFS(b []byte) status {
	if len(b) < 8 {
		return stIOReparseDataInvalid
	}
	kind, b := le.Uint64(b), b[8:]
	switch kind {
	case nfsLink:
		if len(b)%2 != 0 {
			return stIOReparseDataInvalid
		}
		p.Type, p.Target = fs.Symlink, []byte(decodeUTF16(b))
		return stOK
	case nfsChar, nfsBlock:
		if len(b) != 8 {
			return stIOReparseDataInvalid
		}
		p.RdevMajor, p.RdevMinor = le.Uint32(b), le.Uint32(b[4:])
		if p.Type = fs.CharDevice; kind == nfsBlock {
			p.Type = fs.BlockDevice
		}
		return stOK
	case nfsFIFO:
		p.Type = fs.FIFO
	case nfsSocket:
		p.Type = fs.Socket
	default:
		return stIOReparseDataInvalid
	}
	if len(b) != 0 {
		return stIOReparseDataInvalid
	}
	return stOK
}
