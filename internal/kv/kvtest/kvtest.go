// Package kvtest is the suite that every engine of the key store passes.
//
// Invariants: tests wait on events, never on time; random histories are
// seeded; nothing here knows which engine it drives.
package kvtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"manifold/internal/kv"
)

// Open returns an empty store that the test closes.
type Open func(t *testing.T) kv.Engine

// Option says what is peculiar to an engine.
type Option int

// MayRetry is for an engine that retries more often than it must: conflicts
// are found by page, or unvalidated reads are validated.
const MayRetry Option = 1

// Run runs the whole suite on engines that open returns.
func Run(t *testing.T, open Open, opts ...Option) {
	tests := []struct {
		name string
		fn   func(*testing.T, kv.Engine)
	}{
		{"Basics", testBasics},
		{"OwnWrites", testOwnWrites},
		{"ScanOrder", testScanOrder},
		{"ErrorOfFunction", testErrorOfFunction},
		{"ManyKeys", testManyKeys},
		{"Model", testModel},
		{"SnapshotView", testSnapshotView},
		{"WriteSkew", testWriteSkew},
		{"Conflicts", func(t *testing.T, e kv.Engine) { testConflicts(t, e, slices.Contains(opts, MayRetry)) }},
		{"Opacity", testOpacity},
		{"UnvalidatedSnapshot", testUnvalidatedSnapshot},
		{"UnvalidatedScanOfAll", testUnvalidatedScanOfAll},
		{"BusyHint", testBusyHint},
		{"Counter", testCounter},
		{"GiveUp", testGiveUp},
		{"Fair", testFair},
		{"Histories", testHistories},
		{"Limits", testLimits},
		{"Sessions", testSessions},
		{"Watch", testWatch},
		{"Close", testClose},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			e := open(t)
			c.fn(t, e)
			if err := e.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

// key makes a key with the 9-byte prefix (tag, id) and a rest.
func key(id uint64, rest string) []byte {
	k := append([]byte{'k'}, binary.BigEndian.AppendUint64(nil, id)...)
	return append(k, rest...)
}

func ctxOf(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func update(t *testing.T, e kv.Engine, fn func(kv.Txn) error) kv.Rev {
	t.Helper()
	rev, err := e.Update(ctxOf(t), fn)
	if err != nil {
		t.Fatalf("Update: %v", err)
	}
	return rev
}

func put(t *testing.T, e kv.Engine, k []byte, v string) kv.Rev {
	t.Helper()
	return update(t, e, func(x kv.Txn) error { x.Put(k, []byte(v)); return nil })
}

// get returns the value or "-" when absent.
func get(t *testing.T, r kv.Reader, k []byte) string {
	t.Helper()
	v, err := r.Get(ctxOf(t), k)
	if errors.Is(err, kv.ErrNotFound) {
		return "-"
	}
	if err != nil {
		t.Fatalf("Get %q: %v", k, err)
	}
	return string(v)
}

func viewGet(t *testing.T, e kv.Engine, k []byte) (v string) {
	t.Helper()
	if err := e.View(ctxOf(t), kv.Linearizable, func(r kv.Reader) error { v = get(t, r, k); return nil }); err != nil {
		t.Fatalf("View: %v", err)
	}
	return v
}

// scan returns "rest=value" for each key of the range, without the prefix.
func scan(t *testing.T, r kv.Reader, rg kv.Range, o kv.ScanOptions) string {
	t.Helper()
	var b bytes.Buffer
	for x, err := range r.Scan(ctxOf(t), rg, o) {
		if err != nil {
			t.Fatalf("Scan: %v", err)
		}
		rest := x.Key[min(kv.PrefixBytes, len(x.Key)):]
		if o.KeysOnly {
			fmt.Fprintf(&b, "%s ", rest)
		} else {
			fmt.Fprintf(&b, "%s=%s ", rest, x.Value)
		}
	}
	return string(bytes.TrimSpace(b.Bytes()))
}

func equal(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v, want %v", what, err, want)
	}
}
