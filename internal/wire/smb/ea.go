package smb

import (
	"context"
	"strings"

	"manifold/internal/fs"
)

const maxEAs = 64 << 10 // bytes of all attributes of a file together

// eaName checks a name of an extended attribute.
func eaName(b []byte) (string, bool) {
	if len(b) == 0 {
		return "", false
	}
	for _, c := range b {
		if c < 0x20 || strings.IndexByte("\"*+,/:;<=>?[\\]|", c) >= 0 {
			return "", false
		}
	}
	return string(b), true
}

// eaKey finds the stored spelling of a name, which is matched without case.
func (r *request) eaKey(ctx context.Context, n fs.Node, name string) string {
	key := name
	_ = r.c.s.o.FS.ListMeta(ctx, fs.SystemCaller(), n, fs.MetaEA, "", func(k string, _ int) bool {
		if equalFold(k, name) {
			key = k
			return false
		}
		return true
	})
	return key
}

// setEAs applies FILE_FULL_EA_INFORMATION; an empty value removes.
func (r *request) setEAs(ctx context.Context, n fs.Node, b []byte) status {
	type pair struct {
		name  string
		value []byte
	}
	var pairs []pair
	for len(b) > 0 {
		if len(b) < 8 {
			return stInvalidParameter
		}
		next, nl, vl := int(le.Uint32(b)), int(b[5]), int(le.Uint16(b[6:]))
		if len(b) < 8+nl+1+vl {
			return stEALEIllegal
		}
		name, ok := eaName(b[8 : 8+nl])
		if !ok {
			return stInvalidEAName
		}
		pairs = append(pairs, pair{name, b[8+nl+1 : 8+nl+1+vl]})
		if next == 0 {
			break
		}
		if next < 8 || next > len(b) {
			return stEALEIllegal
		}
		b = b[next:]
	}
	f := r.c.s.o.FS
	for _, p := range pairs {
		key := r.eaKey(ctx, n, p.name)
		var err error
		if len(p.value) == 0 {
			if _, err = f.RemoveMeta(ctx, r.caller, n, fs.MetaEA, key); err != nil && fs.KindOf(err) == fs.NoAttr {
				err = nil
			}
		} else {
			_, err = f.SetMeta(ctx, r.caller, n, fs.MetaEA, key, p.value, fs.MetaUpsert)
		}
		if err != nil {
			return statusOf(err)
		}
	}
	return stOK
}

const stInvalidEAName status = 0x80000013

// eaSize is the size that FileEaInformation and listings show.
func (r *request) eaSize(node fs.Node) uint32 {
	n := uint32(0)
	_ = r.c.s.o.FS.ListMeta(r.ctx, fs.SystemCaller(), node, fs.MetaEA, "", func(k string, size int) bool {
		n += uint32(5 + len(k) + size)
		return true
	})
	if n > 0 {
		n += 4
	}
	return n
}

// queryEAs answers all attributes or those that the input names.
func (r *request) queryEAs(o *open, in []byte, flags uint32, limit int) ([]byte, status) {
	var names []string
	f := r.c.s.o.FS
	listed := len(in) > 0
	for b := in; len(b) > 0; {
		if len(b) < 5 {
			return nil, stInvalidParameter
		}
		next, nl := int(le.Uint32(b)), int(b[4])
		if len(b) < 5+nl {
			return nil, stInvalidParameter
		}
		names = append(names, r.eaKey(r.ctx, o.node, string(b[5:5+nl])))
		if next == 0 {
			break
		}
		if next > len(b) || next < 5 {
			return nil, stInvalidParameter
		}
		b = b[next:]
	}
	if !listed {
		err := f.ListMeta(r.ctx, r.system(), o.node, fs.MetaEA, "", func(k string, _ int) bool {
			names = append(names, k)
			return true
		})
		if err != nil {
			return nil, statusOf(err)
		}
		if len(names) == 0 {
			return nil, status(0xC0000052) // STATUS_NO_EAS_ON_FILE
		}
	}
	var b []byte
	last := -1
	for _, k := range names {
		v, err := f.GetMeta(r.ctx, r.system(), o.node, fs.MetaEA, k)
		if err != nil && fs.KindOf(err) != fs.NoAttr {
			return nil, statusOf(err)
		}
		if len(k) > 255 || len(v) > maxEAs-1 {
			continue
		}
		at := (len(b) + 3) &^ 3
		if at+9+len(k)+len(v) > limit {
			if at == 0 {
				return nil, stBufferOverflow
			}
			return b, stBufferOverflow
		}
		b = alignTo(b, 0, 4)
		if last >= 0 {
			le.PutUint32(b[last:], uint32(at-last))
		}
		last = at
		b = append(b, 0, 0, 0, 0, 0, byte(len(k)))
		b = le.AppendUint16(b, uint16(len(v)))
		b = append(append(b, k...), 0)
		b = append(b, v...)
	}
	return b, stOK
}
