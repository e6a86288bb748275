package node

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// until makes a part that serves until it is shut down, and counts that.
func until(name string, shut chan<- string) part {
	stopped := make(chan struct{})
	return part{
		name:     name,
		serve:    func(context.Context) error { <-stopped; return nil },
		shutdown: func(context.Context) error { shut <- name; close(stopped); return nil },
	}
}

func TestRunParts_stopsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	shut := make(chan string, 2)
	background := false
	parts := []part{until("a", shut), until("b", shut), {name: "c", serve: func(ctx context.Context) error {
		<-ctx.Done()
		background = true
		return ctx.Err()
	}}}
	if err := runParts(ctx, slog.New(slog.DiscardHandler), time.Minute, parts, cancel); err != nil {
		t.Error(err)
	}
	if len(shut) != 2 || !background {
		t.Errorf("shut %d, background ended %v", len(shut), background)
	}
}

func TestRunParts_failureStopsAll(t *testing.T) {
	shut := make(chan string, 1)
	boom := errors.New("boom")
	parts := []part{until("a", shut), {name: "bad", serve: func(context.Context) error { return boom }, shutdown: func(context.Context) error { return nil }}}
	err := runParts(t.Context(), slog.New(slog.DiscardHandler), time.Minute, parts, nil)
	if !errors.Is(err, boom) || !strings.Contains(err.Error(), "bad: ") {
		t.Errorf("%v", err)
	}
	if len(shut) != 1 {
		t.Error("the other part was not shut down")
	}
}

func TestRunParts_cutsOffWhenDrainTakesTooLong(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	parts := []part{{
		name:     "stuck",
		serve:    func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		shutdown: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	}}
	if err := runParts(ctx, slog.New(slog.DiscardHandler), time.Millisecond, parts, cancel); err != nil {
		t.Error(err)
	}
}

func TestClosers_reverseOrderWhateverFails(t *testing.T) {
	var order []string
	var c closers
	bad := errors.New("bad")
	for _, n := range []string{"a", "b", "c"} {
		c.add(n, func() error {
			order = append(order, n)
			if n == "b" {
				return bad
			}
			return nil
		})
	}
	if err := c.Close(); !errors.Is(err, bad) || !strings.Contains(err.Error(), "close b") {
		t.Errorf("%v", err)
	}
	if got := strings.Join(order, ""); got != "cba" {
		t.Errorf("order %s", got)
	}
	if err := c.Close(); err != nil || len(order) != 3 {
		t.Error("closed twice")
	}
}
