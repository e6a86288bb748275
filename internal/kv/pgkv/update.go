package pgkv

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/jackc/pgx/v5"

	"manifold/internal/kv"
	"manifold/internal/kv/kvbase"
)

// attempt is one try of an Update.
type attempt struct {
	e      *Engine
	ctx    context.Context // of the Update, for Abort
	t      tx
	s      *slot
	guards []kv.Range
	err    error // of a Guard that had to fix the snapshot
}

// begin takes the slot before the snapshot, so that the slot's last commit is
// in it.
func (e *Engine) begin(ctx context.Context, _ int, _ *kvbase.Ticket) (kvbase.Attempt, error) {
	c, err := e.acquire(ctx)
	if err != nil {
		return nil, err
	}
	return &attempt{e: e, ctx: ctx, t: tx{e: e, c: c, begin: beginUpdate}, s: e.takeSlot()}, nil
}

// early translates an error from before COMMIT: with a lost connection the
// attempt is lost and another may do.
func (a *attempt) early(err error) error {
	if errors.Is(err, errBroken) {
		a.e.pool.Reset() // its other connections are likely gone too
		a.e.log.Warn("lost a connection to the metadata database", "err", err)
		return kvbase.ErrConflict
	}
	return err
}

func (a *attempt) Get(ctx context.Context, key []byte) ([]byte, error) {
	v, err := a.t.get(ctx, key)
	return v, a.early(err)
}

func (a *attempt) GetMany(ctx context.Context, keys [][]byte) ([][]byte, error) {
	vs, err := a.t.getMany(ctx, keys)
	return vs, a.early(err)
}

func (a *attempt) Scan(ctx context.Context, r kv.Range, o kv.ScanOptions) iter.Seq2[kv.KV, error] {
	return func(yield func(kv.KV, error) bool) {
		for x, err := range a.t.scan(ctx, r, o, func() error { return nil }) {
			if !yield(x, a.early(err)) {
				return
			}
		}
	}
}

// Guard is a read of the whole range, sent with the writes. The range is
// guarded from now on, so there must be a snapshot from now on.
func (a *attempt) Guard(r kv.Range) {
	if !a.t.begun {
		_, a.err = a.t.getMany(a.ctx, nil)
	}
	a.guards = append(a.guards, kv.Range{Start: bytes.Clone(r.Start), End: bytes.Clone(r.End)})
}

// Unvalidated reads in the same transaction: the database knows no reads that
// it does not track, so they may cost a retry.
func (a *attempt) Unvalidated() kv.Reader { return a }

// Validate commits what has only read, to hear whether a serial order has it.
func (a *attempt) Validate(ctx context.Context) (kv.Rev, error) {
	if a.err != nil {
		return 0, a.early(a.err)
	}
	if err := a.t.commit(ctx); err != nil {
		return 0, a.early(err)
	}
	return kv.Rev(a.e.lastRev.Load()), nil
}

func (a *attempt) Commit(ctx context.Context, b *kvbase.Buffer) (kv.Rev, error) {
	var rev int64
	if a.err != nil {
		return 0, a.early(a.err)
	}
	if err := a.write(ctx, b, &rev); err != nil {
		return 0, a.early(err)
	}
	err := a.t.commit(ctx)
	if errors.Is(err, errBroken) && len(b.Writes) > 0 {
		a.e.log.Warn("lost a connection to the metadata database at COMMIT", "err", err)
		a.e.pool.Reset()
		err = a.e.resolve(ctx, a.s)
	}
	if err != nil {
		return 0, a.early(err)
	}
	if len(b.Writes) == 0 {
		return kv.Rev(a.e.lastRev.Load()), nil
	}
	a.e.poll.hurry()
	return a.e.met(rev), nil
}

// write sends all but COMMIT in one round trip.
func (a *attempt) write(ctx context.Context, b *kvbase.Buffer, rev *int64) error {
	q := a.t.batch()
	for _, g := range a.guards {
		q.Queue(`select count(*) from manifold_kv where k >= $1 and k < $2`, g.Start, g.End)
	}
	ids := make([]int64, 0, len(b.Fences))
	for _, id := range b.Fences {
		if !slices.Contains(ids, int64(id)) {
			ids = append(ids, int64(id))
		}
	}
	if len(ids) > 0 {
		// The lock makes the end of a session wait for this commit, and lets
		// renewals through.
		q.Queue(`select id from manifold_session where id = any($1) and expires > clock_timestamp() for key share`, ids)
	}
	// In the order of keys, so that transactions do not block each other in a circle.
	slices.SortFunc(b.Writes, func(x, y kvbase.Write) int { return bytes.Compare(x.Key, y.Key) })
	var ks, vs, dead [][]byte
	for _, w := range b.Writes {
		if w.Value == nil {
			dead = append(dead, w.Key)
		} else {
			ks, vs = append(ks, w.Key), append(vs, w.Value)
		}
	}
	if len(ks) > 0 {
		q.Queue(`insert into manifold_kv (k, v) select * from unnest($1::bytea[], $2::bytea[]) on conflict (k) do update set v = excluded.v`, ks, vs)
	}
	if len(dead) > 0 {
		q.Queue(`delete from manifold_kv where k = any($1)`, dead)
	}
	if len(b.Writes) > 0 {
		a.s.seq++
		q.Queue(`insert into manifold_change (rev, keys) values (nextval('manifold_rev'), $1) returning rev`, packKeys(b.Writes))
		q.Queue(`insert into manifold_slot (origin, slot, seq, rev) values ($1, $2, $3, 0)
			on conflict (origin, slot) do update set seq = excluded.seq`, a.e.origin, a.s.id, a.s.seq)
	}
	return a.t.send(ctx, q, func(br pgx.BatchResults) error {
		for range a.guards {
			if _, err := br.Exec(); err != nil {
				return err
			}
		}
		if len(ids) > 0 {
			tag, err := br.Exec()
			if err != nil {
				return err
			}
			if tag.RowsAffected() != int64(len(ids)) {
				return kv.ErrFenced
			}
		}
		if len(ks) > 0 {
			if _, err := br.Exec(); err != nil {
				return err
			}
		}
		if len(dead) > 0 {
			if _, err := br.Exec(); err != nil {
				return err
			}
		}
		if len(b.Writes) == 0 {
			return nil
		}
		if err := br.QueryRow().Scan(rev); err != nil {
			return err
		}
		_, err := br.Exec()
		return err
	})
}

func (a *attempt) Abort() {
	a.t.release(a.ctx)
	a.e.giveSlot(a.s)
}

// maxPacked bounds the keys of one row of changes; a commit with more makes
// watches read again.
const maxPacked = 64 << 10

// packKeys joins keys, each after its length; nil if they are too many.
func packKeys(ws []kvbase.Write) []byte {
	out := []byte{}
	for _, w := range ws {
		out = binary.AppendUvarint(out, uint64(len(w.Key)))
		out = append(out, w.Key...)
		if len(out) > maxPacked {
			return nil
		}
	}
	return out
}

// unpackKeys undoes packKeys.
func unpackKeys(p []byte) ([]kvbase.Write, error) {
	var out []kvbase.Write
	for len(p) > 0 {
		n, w := binary.Uvarint(p)
		if w <= 0 || n > uint64(len(p)-w) {
			return nil, fmt.Errorf("a row of changes is damaged")
		}
		out = append(out, kvbase.Write{Key: p[w : w+int(n)]})
		p = p[w+int(n):]
	}
	return out, nil
}
