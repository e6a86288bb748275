package memkv

import (
	"bytes"
	"hash/fnv"

	"manifold/internal/kv"
)

// node is a node of an immutable treap: a change copies the path from the
// root, so a root is a snapshot that lives as long as somebody holds it.
type node struct {
	key, val []byte
	rev      kv.Rev // of the commit that wrote it
	pri      uint64 // from the key, so equal contents have equal shape
	l, r     *node
}

func priority(key []byte) uint64 {
	h := fnv.New64a()
	h.Write(key)
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	return x ^ x>>33
}

func (n *node) get(key []byte) *node {
	for n != nil {
		switch c := bytes.Compare(key, n.key); {
		case c < 0:
			n = n.l
		case c > 0:
			n = n.r
		default:
			return n
		}
	}
	return nil
}

func (n *node) with(l, r *node) *node {
	c := *n
	c.l, c.r = l, r
	return &c
}

// put returns the tree with x in it; x has no children yet.
func (n *node) put(x *node) *node {
	if n == nil {
		return x
	}
	c := bytes.Compare(x.key, n.key)
	switch {
	case c == 0:
		return x.with(n.l, n.r)
	case x.pri > n.pri:
		l, r := n.split(x.key)
		return x.with(l, r)
	case c < 0:
		return n.with(n.l.put(x), n.r)
	default:
		return n.with(n.l, n.r.put(x))
	}
}

// split divides the tree into the keys below and above key, which is absent.
func (n *node) split(key []byte) (l, r *node) {
	if n == nil {
		return nil, nil
	}
	if bytes.Compare(n.key, key) < 0 {
		a, b := n.r.split(key)
		return n.with(n.l, a), b
	}
	a, b := n.l.split(key)
	return a, n.with(b, n.r)
}

func (n *node) del(key []byte) *node {
	if n == nil {
		return nil
	}
	switch c := bytes.Compare(key, n.key); {
	case c < 0:
		if l := n.l.del(key); l != n.l {
			return n.with(l, n.r)
		}
		return n
	case c > 0:
		if r := n.r.del(key); r != n.r {
			return n.with(n.l, r)
		}
		return n
	default:
		return merge(n.l, n.r)
	}
}

func merge(l, r *node) *node {
	switch {
	case l == nil:
		return r
	case r == nil:
		return l
	case l.pri > r.pri:
		return l.with(l.l, merge(l.r, r))
	default:
		return r.with(merge(l, r.l), r.r)
	}
}

// walk yields the nodes of r in order until yield says stop.
func (n *node) walk(r kv.Range, reverse bool, yield func(*node) bool) bool {
	if n == nil {
		return true
	}
	above := bytes.Compare(n.key, r.Start) >= 0
	below := r.End == nil || bytes.Compare(n.key, r.End) < 0
	if reverse {
		return (!below || n.r.walk(r, true, yield)) &&
			(!above || !below || yield(n)) &&
			(!above || n.l.walk(r, true, yield))
	}
	return (!above || n.l.walk(r, false, yield)) &&
		(!above || !below || yield(n)) &&
		(!below || n.r.walk(r, false, yield))
}

// sameIn tells whether two trees hold the same commits in r.
func sameIn(a, b *node, r kv.Range) bool {
	if a == b {
		return true
	}
	var revs []kv.Rev
	var keys [][]byte
	a.walk(r, false, func(n *node) bool {
		revs, keys = append(revs, n.rev), append(keys, n.key)
		return true
	})
	i := 0
	same := b.walk(r, false, func(n *node) bool {
		if i == len(keys) || revs[i] != n.rev || !bytes.Equal(keys[i], n.key) {
			return false
		}
		i++
		return true
	})
	return same && i == len(keys)
}
