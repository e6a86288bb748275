package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"manifold/internal/config"
	"manifold/internal/data/segment"
	"manifold/internal/fs/acl"
	"manifold/internal/fs/core"
	"manifold/internal/identity"
	"manifold/internal/kv"
	"manifold/internal/kv/pebblekv"
	"manifold/internal/meta"
)

// storageOptions say which data directory to open and how.
type storageOptions struct {
	dir string
	// create makes and formats the directory where there is none.
	create bool
	log    *slog.Logger
	// engine opens the key store in a folder; nil is Pebble.
	engine func(ctx context.Context, dir string) (kv.Engine, error)
	// segments shape the extent store; the zero value works.
	segments segment.Options
}

// storage is an open data directory. What opened a part closes it, in reverse.
type storage struct {
	closers
	o      storageOptions
	dir    *dataDir
	kv     kv.Engine
	config *config.Store
	data   *segment.Store // nil until openExtents
	fs     *core.FS       // nil until openFS
}

// openStorage locks the directory and opens the key store and the configuration.
func openStorage(ctx context.Context, o storageOptions) (_ *storage, err error) {
	if o.log == nil {
		o.log = slog.New(slog.DiscardHandler)
	}
	if o.engine == nil {
		o.engine = func(ctx context.Context, dir string) (kv.Engine, error) {
			return pebblekv.Open(ctx, pebblekv.Options{Dir: dir, Logger: o.log, Fatal: fatal(o.log),
				CacheBytes: keyCacheBytes(), RowBytes: keyCacheBytes(), Scanned: meta.Scanned,
				MemTableBytes: memTableBytes(), LogAhead: 1 << 20})
		}
	}
	s := &storage{o: o}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.dir, err = openDataDir(o.dir, o.create); err != nil {
		return nil, err
	}
	s.add("data directory", s.dir.Close)

	kvPath, err := s.dir.subdir(kvDir)
	if err != nil {
		return nil, err
	}
	if s.kv, err = o.engine(ctx, kvPath); err != nil {
		return nil, fmt.Errorf("key store: %w", err)
	}
	s.add("key store", s.kv.Close)

	if o.create {
		// Root belongs to uid 0 as on any POSIX system.
		err := meta.Format(ctx, s.kv, meta.FormatOptions{Now: time.Now(), RootOwner: identity.UID(0), RootGroup: identity.GID(0)})
		if err != nil && !errors.Is(err, meta.ErrExists) {
			return nil, fmt.Errorf("format: %w", err)
		}
	}
	seal, err := s.dir.sealKey(o.create)
	if err != nil {
		return nil, err
	}
	if s.config, err = config.Open(ctx, config.Options{KV: s.kv, Logger: o.log, SealKey: seal}); err != nil {
		return nil, err
	}
	s.add("configuration", s.config.Close)
	return s, nil
}

// openExtents opens the extent store.
func (s *storage) openExtents() error {
	path, err := s.dir.subdir(segmentDir)
	if err != nil {
		return err
	}
	o := s.o.segments
	if o.CacheBytes == 0 {
		o.CacheBytes = blockCacheBytes()
	}
	if s.data, err = segment.Open(segment.OSDisk{Dir: path}, o); err != nil {
		return fmt.Errorf("extent store: %w", err)
	}
	s.add("extent store", s.data.Close)
	return nil
}

// fatal ends the process when the key store can make nothing durable any more:
// going on would acknowledge what a restart takes back.
func fatal(log *slog.Logger) func(error) {
	return func(err error) {
		log.Error("the key store failed; ending at once, what was acknowledged is safe", "error", err)
		os.Exit(3)
	}
}

// closeTimeout bounds flushing what is buffered when the file system closes.
const closeTimeout = 2 * time.Minute

// openFS opens the extent store and the file system on both engines.
func (s *storage) openFS(ctx context.Context) error {
	if err := s.openExtents(); err != nil {
		return err
	}
	f, err := core.New(ctx, core.Options{
		KV: s.kv, Store: s.data, Logger: s.o.log,
		Atime: func() time.Duration { return s.config.GeneralInForce().Atime.Interval() },
		Permissions: func() acl.Policy {
			if s.config.GeneralInForce().Permissions.Mode == config.PermissionsNative {
				return acl.Native
			}
			return acl.CrossProtocol
		},
	})
	if err != nil {
		return fmt.Errorf("file system: %w", err)
	}
	s.fs = f
	s.add("file system", func() error {
		// Whoever ended ctx still wants what is buffered to be safe.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		return f.Close(ctx)
	})
	return nil
}
