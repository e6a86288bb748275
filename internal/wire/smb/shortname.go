package smb

import (
	"hash/fnv"
	"strings"

	"manifold/internal/fs"
)

const shortDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

// plain tells whether a part of a name needs no change to be short.
func plainShort(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || c >= 'a' && c <= 'z' || strings.IndexByte("+,;=[].", c) >= 0 {
			return false
		}
	}
	return true
}

// shortName answers the 8.3 form of a name; it depends on nothing else, so it
// is not kept anywhere. A name that is short already is its own.
func shortName(name string) string {
	base, ext := name, ""
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		base, ext = name[:i], name[i+1:]
	}
	if base != "" && len(base) <= 8 && len(ext) <= 3 && plainShort(strings.ToUpper(base)) && plainShort(strings.ToUpper(ext)) {
		return strings.ToUpper(name)
	}
	keep := func(s string, n int) string {
		var b []byte
		for i := 0; i < len(s) && len(b) < n; i++ {
			if c := strings.ToUpper(s[i : i+1]); s[i] < 0x7f && plainShort(c) {
				b = append(b, c...)
			}
		}
		return string(b)
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(strings.ToUpper(name)))
	v := h.Sum32()
	var mark [6]byte
	for i := range mark {
		mark[i] = shortDigits[v%36]
		v /= 36
	}
	s := keep(base, 1) + string(mark[:6-len(keep(base, 1))]) + "~" + string(mark[5:])
	if e := keep(ext, 3); e != "" {
		s += "." + e
	}
	return s
}

// isShort tells whether a name may be one that shortName made up.
func isShort(name string) bool {
	base, ext, _ := strings.Cut(name, ".")
	return len(base) == 8 && base[6] == '~' && len(ext) <= 3
}

// longName finds the name that a short one stands for.
func (r *request) longName(dir fs.Node, short string) (string, bool) {
	if !r.c.s.o.ShortNames || !isShort(short) {
		return "", false
	}
	found := ""
	_, err := r.c.s.o.FS.ReadDir(r.ctx, r.caller, dir, 0, 0, func(e *fs.Dirent) bool {
		if equalFold(shortName(e.Name), short) {
			found = e.Name
			return false
		}
		return true
	})
	return found, err == nil && found != ""
}
