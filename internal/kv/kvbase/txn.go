package kvbase

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"

	"manifold/internal/kv"
)

// Attempt is one try of an Update as an engine offers it: reads of the
// committed state that join the read set, and the two ways to end.
type Attempt interface {
	kv.Reader
	// Guard puts a range into the read set.
	Guard(r kv.Range)
	// Unvalidated reads the same state without joining the read set.
	Unvalidated() kv.Reader
	// Commit validates the read set, applies the writes and makes them durable.
	Commit(ctx context.Context, b *Buffer) (kv.Rev, error)
	// Validate ends an attempt that writes nothing: when it returns nil the
	// reads were consistent and a crash cannot take back what they saw.
	Validate(ctx context.Context) (kv.Rev, error)
	// Abort releases what the attempt holds; called last in every case.
	Abort()
}

// Write is one buffered write. A nil Value is a deletion, Once one of a key that
// was written once.
type Write struct {
	Key, Value []byte
	Once       bool
}

// Buffer is what an Update is about to commit.
type Buffer struct {
	// Writes holds one entry per key, in no particular order.
	Writes []Write
	// Fences are the ids of the sessions that must still be valid.
	Fences []uint64

	index map[string]int // of Writes, once there are many
	size  int            // sum of keys and values
	arena []byte         // what copies are cut from
	first [8]Write
}

const linearWrites = 12 // up to so many writes are searched one by one

func (b *Buffer) reset() {
	clear(b.first[:])
	*b = Buffer{Writes: b.first[:0], Fences: b.Fences[:0]}
}

func (b *Buffer) find(key []byte) int {
	if b.index != nil {
		if i, ok := b.index[string(key)]; ok {
			return i
		}
		return -1
	}
	for i := range b.Writes {
		if bytes.Equal(b.Writes[i].Key, key) {
			return i
		}
	}
	return -1
}

// copy returns a copy of p cut from the arena; never nil.
func (b *Buffer) copy(p []byte) []byte {
	if len(b.arena) < len(p) || b.arena == nil {
		if len(p) > 2048 {
			return append([]byte{}, p...)
		}
		b.arena = make([]byte, max(1024, len(p)))
	}
	c := b.arena[:len(p):len(p)]
	b.arena = b.arena[len(p):]
	copy(c, p)
	return c
}

func (b *Buffer) set(key, value []byte, once bool) {
	i := b.find(key)
	if i >= 0 {
		w := &b.Writes[i]
		b.size += len(value) - len(w.Value)
		w.Value, w.Once = value, once
		return
	}
	k := b.copy(key)
	b.size += len(key) + len(value)
	b.Writes = append(b.Writes, Write{k, value, once})
	if b.index != nil {
		b.index[string(k)] = len(b.Writes) - 1
	} else if len(b.Writes) > linearWrites {
		b.index = make(map[string]int, 4*linearWrites)
		for j := range b.Writes {
			b.index[string(b.Writes[j].Key)] = j
		}
	}
}

// sorted returns the writes in r in the order of a scan.
func (b *Buffer) sorted(r kv.Range, reverse bool) []Write {
	var ws []Write
	for _, w := range b.Writes {
		if r.Contains(w.Key) {
			ws = append(ws, w)
		}
	}
	slices.SortFunc(ws, func(x, y Write) int {
		if reverse {
			x, y = y, x
		}
		return bytes.Compare(x.Key, y.Key)
	})
	return ws
}

// Txn implements kv.Txn on an Attempt.
type Txn struct {
	a     Attempt
	buf   Buffer
	lim   kv.Limits
	reads int
	err   error // the first error of the attempt; sticks
	done  bool
}

var _ kv.Txn = (*Txn)(nil)

func (t *Txn) begin(a Attempt) {
	t.a, t.reads, t.err, t.done = a, 0, nil, false
	t.buf.reset()
}

func (t *Txn) fail(err error) error {
	if t.err == nil {
		t.err = err
	}
	return err
}

// read accounts n keys read and says whether the Txn may go on.
func (t *Txn) read(n int) error {
	if t.done {
		return ErrDone
	}
	if t.err != nil {
		return t.err
	}
	if t.reads += n; t.reads > t.lim.MaxReads {
		return t.fail(fmt.Errorf("%w: more than %d keys read", kv.ErrTooLarge, t.lim.MaxReads))
	}
	return nil
}

// Get implements kv.Reader.
func (t *Txn) Get(ctx context.Context, key []byte) ([]byte, error) {
	if err := t.read(0); err != nil {
		return nil, err
	}
	if err := CheckKey(key); err != nil {
		return nil, t.fail(err)
	}
	if len(t.buf.Writes) > 0 {
		if i := t.buf.find(key); i >= 0 {
			if v := t.buf.Writes[i].Value; v != nil {
				return v, nil
			}
			return nil, kv.ErrNotFound
		}
	}
	if err := t.read(1); err != nil {
		return nil, err
	}
	v, err := t.a.Get(ctx, key)
	if err != nil && err != kv.ErrNotFound {
		return nil, t.fail(err)
	}
	return v, err
}

// GetMany implements kv.Reader.
func (t *Txn) GetMany(ctx context.Context, keys [][]byte) ([][]byte, error) {
	if err := t.read(0); err != nil {
		return nil, err
	}
	for _, k := range keys {
		if err := CheckKey(k); err != nil {
			return nil, t.fail(err)
		}
	}
	out := make([][]byte, len(keys))
	ask, at := keys, []int(nil)
	if len(t.buf.Writes) > 0 {
		ask = nil
		for i, k := range keys {
			if j := t.buf.find(k); j >= 0 {
				out[i] = t.buf.Writes[j].Value
			} else {
				ask, at = append(ask, k), append(at, i)
			}
		}
	}
	if len(ask) == 0 {
		return out, nil
	}
	if err := t.read(len(ask)); err != nil {
		return nil, err
	}
	vs, err := t.a.GetMany(ctx, ask)
	if err != nil {
		return nil, t.fail(err)
	}
	if at == nil {
		return vs, nil
	}
	for j, v := range vs {
		out[at[j]] = v
	}
	return out, nil
}

// Scan implements kv.Reader: the committed keys merged with the writes that
// were buffered when the scan began.
func (t *Txn) Scan(ctx context.Context, r kv.Range, o kv.ScanOptions) iter.Seq2[kv.KV, error] {
	return func(yield func(kv.KV, error) bool) {
		if err := t.read(0); err != nil {
			yield(kv.KV{}, err)
			return
		}
		if !r.WithinPrefix() {
			yield(kv.KV{}, t.fail(kv.ErrOutsidePrefix))
			return
		}
		own := t.buf.sorted(r, o.Reverse)
		base := o
		if len(own) > 0 {
			base.Limit = 0 // deletions may hide some
		}
		left := o.Limit
		emit := func(k, v []byte) bool {
			if o.KeysOnly {
				v = nil
			}
			if !yield(kv.KV{Key: k, Value: v}, nil) {
				return false
			}
			left--
			return left != 0
		}
		for e, err := range t.a.Scan(ctx, r, base) {
			if err == nil {
				err = t.read(1)
			}
			if err != nil {
				yield(kv.KV{}, t.fail(err))
				return
			}
			hidden := false
			for len(own) > 0 && !hidden {
				c := bytes.Compare(own[0].Key, e.Key)
				if o.Reverse {
					c = -c
				}
				if c > 0 {
					break
				}
				w := own[0]
				own = own[1:]
				hidden = c == 0
				if w.Value != nil && !emit(w.Key, w.Value) {
					return
				}
			}
			if !hidden && !emit(e.Key, e.Value) {
				return
			}
		}
		for _, w := range own {
			if w.Value != nil && !emit(w.Key, w.Value) {
				return
			}
		}
	}
}

// write buffers a copy of a value, or a deletion if that is nil.
func (t *Txn) write(key, value []byte, once bool) {
	if t.done || t.err != nil {
		return
	}
	if err := CheckKey(key); err != nil {
		t.fail(err)
		return
	}
	if len(value) > t.lim.MaxValueBytes {
		t.fail(fmt.Errorf("%w: value of %d bytes", kv.ErrTooLarge, len(value)))
		return
	}
	if value != nil {
		value = t.buf.copy(value)
	}
	t.buf.set(key, value, once)
	if len(t.buf.Writes) > t.lim.MaxWrites {
		t.fail(fmt.Errorf("%w: more than %d keys written", kv.ErrTooLarge, t.lim.MaxWrites))
	} else if t.buf.size > t.lim.MaxTxnBytes {
		t.fail(fmt.Errorf("%w: more than %d bytes written", kv.ErrTooLarge, t.lim.MaxTxnBytes))
	}
}

// Put implements kv.Txn.
func (t *Txn) Put(key, value []byte) {
	if value == nil {
		value = []byte{}
	}
	t.write(key, value, false)
}

// Delete implements kv.Txn.
func (t *Txn) Delete(key []byte) { t.write(key, nil, false) }

// DeleteOnce implements kv.Txn.
func (t *Txn) DeleteOnce(key []byte) { t.write(key, nil, true) }

// Guard implements kv.Txn.
func (t *Txn) Guard(r kv.Range) {
	switch {
	case t.done || t.err != nil:
	case !r.WithinPrefix():
		t.fail(kv.ErrOutsidePrefix)
	default:
		t.a.Guard(r)
	}
}

// Unvalidated implements kv.Txn.
func (t *Txn) Unvalidated() kv.Reader { return unvalidated{t, t.a.Unvalidated()} }

// Fence implements kv.Txn.
func (t *Txn) Fence(s kv.Session) {
	if !t.done {
		t.buf.Fences = append(t.buf.Fences, s.ID())
	}
}

// unvalidated lets an engine's error end the attempt, but counts nothing.
type unvalidated struct {
	t *Txn
	r kv.Reader
}

func (u unvalidated) Get(ctx context.Context, key []byte) ([]byte, error) {
	if u.t.done {
		return nil, ErrDone
	}
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	v, err := u.r.Get(ctx, key)
	if err != nil && err != kv.ErrNotFound {
		return nil, u.t.fail(err)
	}
	return v, err
}

func (u unvalidated) GetMany(ctx context.Context, keys [][]byte) ([][]byte, error) {
	if u.t.done {
		return nil, ErrDone
	}
	for _, k := range keys {
		if err := CheckKey(k); err != nil {
			return nil, err
		}
	}
	vs, err := u.r.GetMany(ctx, keys)
	if err != nil {
		return nil, u.t.fail(err)
	}
	return vs, nil
}

func (u unvalidated) Scan(ctx context.Context, r kv.Range, o kv.ScanOptions) iter.Seq2[kv.KV, error] {
	return func(yield func(kv.KV, error) bool) {
		if u.t.done {
			yield(kv.KV{}, ErrDone)
			return
		}
		for e, err := range u.r.Scan(ctx, r, o) {
			if err != nil {
				u.t.fail(err)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}
