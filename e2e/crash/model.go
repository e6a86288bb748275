package crash

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"manifold/e2e/nfsclient"
)

// node is one inode as the checker believes it to be. A file with several
// links is one node with several names.
type node struct {
	typ    nfsclient.Type
	handle nfsclient.Handle // "" until learned, for a create of unknown outcome
	fileid uint64           // 0 until learned
	mode   uint32
	uid    uint32
	nlink  int // of files; directories are not compared
	mtime  *time.Time
	target string // of symbolic links
	data   content
	// names of a directory.
	names map[string]*node
	// prefix limits a directory that workers share to the names of this one.
	prefix string
}

// write is a range of bytes that was sent.
type write struct {
	off  int
	data []byte
}

// content is what is known of a file's bytes.
type content struct {
	stable []byte  // acknowledged as durable
	cur    []byte  // what reads have to see while the server lives
	pend   []write // unstable or of unknown outcome, oldest first
}

func overlay(b []byte, w write) []byte {
	if end := w.off + len(w.data); end > len(b) {
		b = append(b, make([]byte, end-len(b))...)
	}
	copy(b[w.off:], w.data)
	return b
}

func resize(b []byte, n int) []byte {
	if n <= len(b) {
		return b[:n:n]
	}
	return append(b, make([]byte, n-len(b))...)
}

// unstable notes a write that a crash may lose.
func (c *content) unstable(w write) {
	c.cur = overlay(c.cur, w)
	c.pend = append(c.pend, w)
}

// synced notes a write that a crash may not lose, nor older writes undo.
func (c *content) synced(w write) {
	c.cur = overlay(c.cur, w)
	c.stable = overlay(c.stable, w)
	from, to := w.off, w.off+len(w.data)
	var rest []write
	for _, p := range c.pend {
		if head := min(len(p.data), from-p.off); head > 0 {
			rest = append(rest, write{p.off, p.data[:head]})
		}
		if cut := max(0, to-p.off); cut < len(p.data) {
			rest = append(rest, write{p.off + cut, p.data[cut:]})
		}
	}
	c.pend = rest
}

// committed makes everything durable.
func (c *content) committed() {
	c.stable = slices.Clone(c.cur)
	c.pend = nil
}

// truncated notes a durable change of size.
func (c *content) truncated(n int) {
	c.cur = resize(c.cur, n)
	c.stable = resize(c.stable, n)
	var rest []write
	for _, p := range c.pend {
		if keep := min(len(p.data), n-p.off); keep > 0 {
			rest = append(rest, write{p.off, p.data[:keep]})
		}
	}
	c.pend = rest
}

// settle replaces the belief by what was read after a restart.
func (c *content) settle(got []byte) {
	c.stable, c.cur, c.pend = got, slices.Clone(got), nil
}

// allows says what is wrong with the bytes found after a crash, or "".
func (c *content) allows(got []byte) string {
	limit := len(c.stable)
	for _, p := range c.pend {
		limit = max(limit, p.off+len(p.data))
	}
	if len(got) < len(c.stable) || len(got) > limit {
		return fmt.Sprintf("size %d, want %d to %d", len(got), len(c.stable), limit)
	}
	bad, first := 0, 0
bytes:
	for i, b := range got {
		if i < len(c.stable) {
			if b == c.stable[i] {
				continue
			}
		} else if b == 0 {
			continue
		}
		for _, p := range c.pend {
			if i >= p.off && i < p.off+len(p.data) && p.data[i-p.off] == b {
				continue bytes
			}
		}
		if bad == 0 {
			first = i
		}
		bad++
	}
	if bad > 0 {
		return fmt.Sprintf("%d bytes differ, the first at %d of %d (durable size %d, %d writes pending)",
			bad, first, len(got), len(c.stable), len(c.pend))
	}
	return ""
}

func (c *content) clone() content {
	return content{slices.Clone(c.stable), slices.Clone(c.cur), slices.Clone(c.pend)}
}

// clone copies a tree; nodes with several names stay one.
func (n *node) clone(seen map[*node]*node) *node {
	if c, ok := seen[n]; ok {
		return c
	}
	c := *n
	seen[n] = &c
	c.data = n.data.clone()
	if n.names != nil {
		c.names = make(map[string]*node, len(n.names))
		for name, child := range n.names {
			c.names[name] = child.clone(seen)
		}
	}
	return &c
}

// walk visits every name below n, parents first, in the order of names.
func (n *node) walk(path string, visit func(path, name string, parent, child *node)) {
	for _, name := range slices.Sorted(maps.Keys(n.names)) {
		child := n.names[name]
		visit(path, name, n, child)
		if child.names != nil {
			child.walk(path+"/"+name, visit)
		}
	}
}
