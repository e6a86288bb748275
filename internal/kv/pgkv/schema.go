package pgkv

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

type (
	pgxConn      = pgx.Conn
	batchResults = pgx.BatchResults
)

// formatVersion is the version of the tables. A higher one in the database is
// of a newer program and is refused.
const formatVersion = 1

// schema is run one by one, as not every database takes definitions in a
// transaction.
var schema = []string{
	// One row per key.
	`create table if not exists manifold_kv (k bytea primary key, v bytea not null)`,
	// One row per commit, for watches; deleted after some minutes.
	`create table if not exists manifold_change (rev bigint primary key, keys bytea)`,
	// One row per connection that commits: the number of its last commit.
	`create table if not exists manifold_slot (origin bigint, slot bigint, seq bigint not null, rev bigint not null, primary key (origin, slot))`,
	// One row per session that has not ended.
	`create table if not exists manifold_session (id bigint primary key, info bytea not null, expires timestamptz not null)`,
	`create table if not exists manifold_format (id int primary key, version int not null)`,
	`create sequence if not exists manifold_rev cache 1`,
	`create sequence if not exists manifold_id cache 1`,
	`insert into manifold_format (id, version) values (1, 1) on conflict (id) do nothing`,
}

// prepare makes the tables, checks the format and takes an origin.
func (e *Engine) prepare(ctx context.Context) error {
	c, err := e.acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	var version int
	// Asking first spares every start but the first the definitions.
	err = c.QueryRow(ctx, `select version from manifold_format where id = 1`).Scan(&version)
	var pe *pgconn.PgError
	if errors.As(err, &pe) && pe.Code == "42P01" {
		for _, q := range schema {
			if err := define(ctx, c.Conn(), q); err != nil {
				return fmt.Errorf("make the tables: %w", err)
			}
		}
		err = c.QueryRow(ctx, `select version from manifold_format where id = 1`).Scan(&version)
	}
	if err != nil {
		return fmt.Errorf("read the format: %w", err)
	}
	if version != formatVersion {
		return fmt.Errorf("the tables have format %d, this program knows %d", version, formatVersion)
	}
	if err := checkDurable(ctx, c.Conn()); err != nil {
		return err
	}
	if err := c.QueryRow(ctx, `select nextval('manifold_id')`).Scan(&e.origin); err != nil {
		return fmt.Errorf("take an id: %w", err)
	}
	return nil
}

// define runs one definition; two nodes that start at once get in each
// other's way in spite of "if not exists".
func define(ctx context.Context, c *pgx.Conn, q string) error {
	for try := 0; ; try++ {
		_, err := c.Exec(ctx, q)
		var pe *pgconn.PgError
		if err == nil || try == 5 || !errors.As(err, &pe) {
			return err
		}
		switch pe.Code {
		case "23505", "42P07", "42710", "40001", "XX000":
		default:
			return err
		}
		t := time.NewTimer(time.Duration(try+1) * 50 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// checkDurable refuses a database that acknowledges before it has written.
// Databases without these settings always write first.
func checkDurable(ctx context.Context, c *pgx.Conn) error {
	for name, bad := range map[string]string{"synchronous_commit": "off", "fsync": "off"} {
		var v string
		err := c.QueryRow(ctx, `show `+name).Scan(&v)
		var pe *pgconn.PgError
		if errors.As(err, &pe) {
			continue
		}
		if err != nil {
			return err
		}
		if v == bad {
			return fmt.Errorf("the database has %s = %s: it would lose acknowledged commits", name, v)
		}
	}
	return nil
}
