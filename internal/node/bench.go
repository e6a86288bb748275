package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"manifold/internal/config"
	"manifold/internal/control/audit"
	"manifold/internal/node/bench"
	"manifold/internal/ports"
)

// What a benchmark tells its caller.
type (
	BenchShape = bench.Options
	BenchPhase = bench.Phase
)

// WriteBench renders phases for people.
var WriteBench = bench.Write

// BenchOptions say what to measure and where.
type BenchOptions struct {
	BenchShape
	// Dir is where a data directory is made and removed again; "" is the
	// system's folder for temporary files.
	Dir string
	// NFS measures through NFSv3 connections over loopback to a server of this
	// process instead of the storage engine itself.
	NFS bool
	// NFSBytes is the size of the large files of all clients together; 0 is the
	// benchmark's own.
	NFSBytes int64
	// Audit records what the clients do in the local audit log, with NFS.
	Audit bool
	// Logger; nil discards.
	Logger *slog.Logger
}

// Bench measures on a fresh file system, which it removes.
func Bench(ctx context.Context, o BenchOptions) (phases []BenchPhase, err error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	dir, err := os.MkdirTemp(o.Dir, "manifold-bench-")
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	data := filepath.Join(dir, "data")
	if o.NFS {
		return benchNFS(ctx, o, data)
	}
	limitMemory()
	st, err := openStorage(ctx, storageOptions{dir: data, create: true, log: o.Logger})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if err := st.openFS(ctx); err != nil {
		return nil, err
	}
	return bench.Storage(ctx, st.fs, o.BenchShape)
}

// benchNFS runs a server of its own on loopback, on ports that the system
// chooses, and measures through them.
func benchNFS(ctx context.Context, o BenchOptions, data string) ([]BenchPhase, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if o.Audit {
		if err := keepAudit(ctx, data, o.Logger); err != nil {
			return nil, err
		}
	}
	ready := make(chan *ports.Ledger, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, Options{
			DataDir: data, Logger: o.Logger, AdminPassword: "Benchmark-1",
			Ports: ports.Options{
				Addresses: []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})},
				Move:      map[ports.ID]uint16{ports.NFS: 0, ports.REST: 0},
				// The benchmark needs no other door, and takes none from a server beside it.
				Disable: []ports.ID{ports.RPCBind, ports.CIFS},
			},
			Ready: func(l *ports.Ledger) { ready <- l },
		})
	}()
	var ledger *ports.Ledger
	select {
	case ledger = <-ready:
	case err := <-ended:
		return nil, err
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(ledger.Number(ports.NFS))))
	phases, err := bench.NFS(ctx, bench.NFSOptions{
		Options: o.BenchShape, Bytes: o.NFSBytes,
		Dial: func(ctx context.Context) (net.Conn, error) {
			return ledger.Dial(ctx, ports.BenchOut, "tcp", address, ports.DialOptions{})
		},
		Pair:     func(ctx context.Context) (net.Conn, net.Conn, error) { return ledger.Loopback(ctx, ports.BenchOut) },
		PlainDir: filepath.Dir(data),
	})
	stop()
	return phases, errors.Join(err, <-ended)
}

// keepAudit makes a data directory whose server keeps a local audit log.
func keepAudit(ctx context.Context, data string, log *slog.Logger) (err error) {
	st, err := openStorage(ctx, storageOptions{dir: data, create: true, log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	_, err = st.config.SetSyslog(ctx, 0, config.Syslog{Local: true, Port: 514, Format: string(audit.CSV)})
	return err
}
