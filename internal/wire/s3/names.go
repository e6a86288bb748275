package s3

import (
	"net/netip"
	"strings"

	"manifold/internal/fs"
)

const (
	maxKey = 4096
	// versionsName holds versions, in each directory. It is never part of a key.
	versionsName = ".s3-versioning~"
)

// hidden tells whether a component is ours and so never shown or taken.
func hidden(name string) bool { return name == versionsName }

// objectPath is a key as a path: the directories, then the last component,
// which is "" for a key that ends in a slash.
type objectPath struct {
	dirs []string
	name string
}

// parseKey turns a key into a path, or refuses what cannot be one.
func parseKey(key string) (objectPath, *apiError) {
	if len(key) > maxKey {
		return objectPath{}, errKeyTooLong
	}
	parts := strings.Split(key, "/")
	last := len(parts) - 1
	p := objectPath{dirs: parts[:last], name: parts[last]}
	for i, c := range parts {
		if c == "" && i == last && last > 0 {
			break // "dir/"
		}
		if len(c) > fs.MaxName {
			return objectPath{}, errKeyTooLong
		}
		if fs.CheckName(c) != nil || hidden(c) {
			return objectPath{}, errInvalidKey
		}
	}
	return p, nil
}

// isDir tells whether the key names a directory.
func (p *objectPath) isDir() bool { return p.name == "" }

// validBucketName applies the rules of the protocol; names with dots are
// refused where they look like addresses.
func validBucketName(n string) bool {
	if len(n) < 3 || len(n) > 63 {
		return false
	}
	alnum := func(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }
	if !alnum(n[0]) || !alnum(n[len(n)-1]) {
		return false
	}
	for i := 0; i < len(n); i++ {
		c := n[i]
		if !alnum(c) && c != '-' && c != '.' {
			return false
		}
		if c == '.' && !(alnum(n[i-1]) && alnum(n[i+1])) {
			return false
		}
	}
	_, err := netip.ParseAddr(n)
	return err != nil && !strings.HasPrefix(n, "xn--") && !strings.HasSuffix(n, "-s3alias")
}
