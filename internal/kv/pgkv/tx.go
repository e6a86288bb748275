package pgkv

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"manifold/internal/kv"
)

const (
	beginUpdate = `begin isolation level serializable`
	beginView   = `begin isolation level serializable read only`
)

// endTimeout bounds COMMIT and ROLLBACK, which do not end with the caller's
// context: a cancelled COMMIT would leave its outcome unknown for nothing.
const endTimeout = 30 * time.Second

// tx is a transaction of the database. It begins with its first statement, in
// the same round trip.
type tx struct {
	e     *Engine
	c     *pgxpool.Conn
	begin string
	begun bool
	over  bool
}

// batch returns a batch that begins the transaction if need be.
func (t *tx) batch() *pgx.Batch {
	b := &pgx.Batch{}
	if !t.begun {
		b.Queue(t.begin)
	}
	return b
}

// send sends a batch made by batch and passes the results of what was queued
// after it to read.
func (t *tx) send(ctx context.Context, b *pgx.Batch, read func(pgx.BatchResults) error) error {
	first := !t.begun
	t.begun = true
	br := t.c.SendBatch(ctx, b)
	var err error
	if first {
		_, err = br.Exec()
	}
	if err == nil {
		err = read(br)
	}
	if cerr := br.Close(); err == nil {
		err = cerr
	}
	return classify(ctx, err, t.c.Conn().IsClosed())
}

// query runs one statement.
func (t *tx) query(ctx context.Context, read func(pgx.Rows) error, sql string, args ...any) error {
	b := t.batch()
	b.Queue(sql, args...)
	return t.send(ctx, b, func(br pgx.BatchResults) error {
		rows, err := br.Query()
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			if err := read(rows); err != nil {
				return err
			}
		}
		return rows.Err()
	})
}

func (t *tx) get(ctx context.Context, key []byte) (v []byte, err error) {
	err = t.query(ctx, func(r pgx.Rows) error { return r.Scan(&v) }, `select v from manifold_kv where k = $1`, key)
	if err != nil {
		return nil, err
	}
	if v == nil {
		return nil, kv.ErrNotFound
	}
	return v, nil
}

func (t *tx) getMany(ctx context.Context, keys [][]byte) ([][]byte, error) {
	found := make(map[string][]byte, len(keys))
	err := t.query(ctx, func(r pgx.Rows) error {
		var k, v []byte
		if err := r.Scan(&k, &v); err != nil {
			return err
		}
		found[string(k)] = v
		return nil
	}, `select k, v from manifold_kv where k = any($1)`, keys)
	if err != nil {
		return nil, err
	}
	out := make([][]byte, len(keys))
	for i, k := range keys {
		out[i] = found[string(k)]
	}
	return out, nil
}

// Pages of a scan grow up to maxPage keys, and shrink so that a page of large
// values stays near pageBytes.
const (
	firstPage = 16
	maxPage   = 1024
	pageBytes = 1 << 20
)

// scan fetches page after page; no statement is open while yield runs.
func (t *tx) scan(ctx context.Context, r kv.Range, o kv.ScanOptions, check func() error) iter.Seq2[kv.KV, error] {
	return func(yield func(kv.KV, error) bool) {
		rg := r
		if len(rg.Start) == 0 {
			rg.Start = []byte{}
		}
		left, size := o.Limit, firstPage
		for {
			if err := check(); err != nil {
				yield(kv.KV{}, err)
				return
			}
			n := size
			if left > 0 {
				n = min(n, left)
			}
			page, bytes, err := t.page(ctx, rg, o, n)
			if err != nil {
				yield(kv.KV{}, err)
				return
			}
			for _, x := range page {
				if !yield(x, nil) {
					return
				}
			}
			if len(page) < n {
				return
			}
			if left > 0 {
				if left -= n; left == 0 {
					return
				}
			}
			last := page[n-1].Key
			if o.Reverse {
				rg.End = last
			} else {
				rg.Start = append(append([]byte{}, last...), 0)
			}
			size = max(1, min(4*size, maxPage, pageBytes*n/max(bytes, 1)))
		}
	}
}

func (t *tx) page(ctx context.Context, r kv.Range, o kv.ScanOptions, n int) (page []kv.KV, bytes int, err error) {
	sql, args := `select k, v from manifold_kv where k >= $1 `, []any{r.Start}
	if o.KeysOnly {
		sql = `select k from manifold_kv where k >= $1 `
	}
	if r.End != nil {
		args = append(args, r.End)
		sql += `and k < $2 `
	}
	order := "asc"
	if o.Reverse {
		order = "desc"
	}
	args = append(args, int64(n))
	sql += fmt.Sprintf(`order by k %s limit $%d`, order, len(args))
	page = make([]kv.KV, 0, min(n, 64))
	err = t.query(ctx, func(rows pgx.Rows) error {
		var x kv.KV
		to := []any{&x.Key, &x.Value}
		if o.KeysOnly {
			to = to[:1]
		}
		if err := rows.Scan(to...); err != nil {
			return err
		}
		bytes += len(x.Key) + len(x.Value)
		page = append(page, x)
		return nil
	}, sql, args...)
	return page, bytes, err
}

// commit sends COMMIT alone. errBroken means that the outcome is unknown.
func (t *tx) commit(ctx context.Context) error {
	if !t.begun {
		return nil
	}
	t.over = true
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	t.e.warned.Delete(t.c.Conn().PgConn())
	tag, err := t.c.Exec(ctx, `commit`)
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", errBroken, err)
		}
		return classify(ctx, err, t.c.Conn().IsClosed())
	}
	if tag.String() != "COMMIT" {
		return fmt.Errorf("%w: the database answered %s to COMMIT", kv.ErrUnavailable, tag)
	}
	if w, ok := t.e.warned.LoadAndDelete(t.c.Conn().PgConn()); ok {
		return fmt.Errorf("%w: the database warned at COMMIT: %v", kv.ErrUnknownOutcome, w)
	}
	return nil
}

// release rolls back if need be and gives the connection back.
func (t *tx) release(ctx context.Context) {
	if t.c == nil {
		return
	}
	if t.begun && !t.over && !t.c.Conn().IsClosed() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
		defer cancel()
		// A failure needs no handling: the pool drops a connection that is not idle.
		_, _ = t.c.Exec(ctx, `rollback`)
	}
	t.c.Release()
	t.c = nil
}
