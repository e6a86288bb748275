package node

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestWatch_aliveOnlyWhileTheFileSystemAnswers(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	checks, alive := 0, 0
	watch(ctx, time.Millisecond, func(context.Context) error {
		switch checks++; checks {
		case 2:
			return errors.New("down")
		case 4:
			cancel()
		}
		return nil
	}, func() { alive++ }, slog.New(slog.DiscardHandler))
	if checks != 4 || alive != 2 {
		t.Errorf("%d checks, %d times alive", checks, alive)
	}
}

// TestServe_notifies plays the service manager.
func TestServe_notifies(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "20000000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	r := startServer(t, filepath.Join(t.TempDir(), "data"))
	seen := map[string]bool{}
	await := func(all ...string) {
		t.Helper()
		if err := l.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		for b := make([]byte, 4096); slices.ContainsFunc(all, func(s string) bool { return !seen[s] }); {
			n, err := l.Read(b)
			if err != nil {
				t.Fatalf("%v; got %v", err, seen)
			}
			for _, s := range strings.Split(string(b[:n]), "\n") {
				seen[s] = true
			}
		}
	}
	await("READY=1", "WATCHDOG=1")
	if seen["STOPPING=1"] {
		t.Fatalf("it stops by itself: %v", seen)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	await("STOPPING=1")
}
