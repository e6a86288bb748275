package ntpcheck

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"testing"
	"time"
)

// server answers NTP queries with a clock that is off, over a pipe.
func server(t *testing.T, off time.Duration) func(context.Context, string) (net.Conn, error) {
	return func(_ context.Context, address string) (net.Conn, error) {
		if address != "198.51.100.5:123" {
			return nil, errors.New("unreachable")
		}
		ours, theirs := net.Pipe()
		t.Cleanup(func() { theirs.Close() })
		go func() {
			var b [512]byte
			n, err := theirs.Read(b[:])
			if err != nil || n < 48 {
				return
			}
			now := stamp(time.Now().Add(off))
			a := make([]byte, 48)
			a[0], a[1], a[2], a[3] = 4<<3|4, 2, 6, 0xec // version 4, server, stratum 2
			copy(a[24:32], b[40:48])
			binary.BigEndian.PutUint64(a[16:], now)
			binary.BigEndian.PutUint64(a[32:], now)
			binary.BigEndian.PutUint64(a[40:], now)
			_, _ = theirs.Write(a)
		}()
		return ours, nil
	}
}

func stamp(t time.Time) uint64 {
	const epoch = 2208988800 // from 1900 to 1970
	return uint64(t.Unix()+epoch)<<32 | uint64(t.Nanosecond())<<32/1e9
}

func TestMonitor(t *testing.T) {
	for name, c := range map[string]struct {
		off    time.Duration
		server string
		synced bool
	}{
		"right":       {0, "198.51.100.5", true},
		"wrong":       {time.Hour, "198.51.100.5", false},
		"unreachable": {0, "198.51.100.6", false},
	} {
		t.Run(name, func(t *testing.T) {
			m := New(Options{
				Servers: func() []string { return []string{c.server} }, Changed: func() <-chan struct{} { return nil },
				Dial: server(t, c.off),
			})
			m.round(t.Context())
			servers, synced := m.Status()
			if synced != c.synced || len(servers) != 1 || servers[0].Checked.IsZero() {
				t.Fatalf("%v %+v", synced, servers)
			}
			if s := servers[0]; s.Healthy() == (name == "unreachable") || s.Healthy() && (s.Offset-c.off).Abs() > time.Minute {
				t.Errorf("%+v", s)
			}
		})
	}
}

// Another list of servers is asked at once, not with the next round.
func TestRun(t *testing.T) {
	changed := make(chan struct{})
	lists := make(chan []string, 2)
	asked := make(chan string, 2)
	lists <- []string{"198.51.100.7"}
	current := []string{}
	m := New(Options{
		Servers: func() []string {
			select {
			case current = <-lists:
			default:
			}
			return current
		},
		Changed: func() <-chan struct{} { return changed },
		Dial: func(_ context.Context, a string) (net.Conn, error) {
			asked <- a
			return nil, errors.New("unreachable")
		},
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx) }()
	if a := <-asked; a != "198.51.100.7:123" {
		t.Error(a)
	}
	lists <- []string{"198.51.100.8"}
	changed <- struct{}{}
	if a := <-asked; a != "198.51.100.8:123" {
		t.Error(a)
	}
	stop()
	<-done
}
