package node

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"manifold/internal/config"
)

// What lies in a data directory. docs/format/datadir.md describes it.
const (
	markFile     = "MANIFOLD" // says that the directory is ours and how it is laid out
	lockFile     = "LOCK"
	kvDir        = "kv"
	segmentDir   = "segments"
	passwordFile = "initial-admin-password"
	metricsFile  = "metrics-token"
	sealFile     = "secrets.key"
)

// mark is the content of markFile, JSON.
type mark struct {
	Format int `json:"format"`
}

// dirFormat is what this version writes. Versions that know a lower one only must
// not open it: 2, the key store has a log that they would not read.
const dirFormat = 2

// Errors about data directories; test with errors.Is.
var (
	// ErrLocked: another process has the directory.
	ErrLocked = errors.New("data directory is in use")
	// ErrNotData: the directory holds something that is not ours, or nothing.
	ErrNotData = errors.New("not a data directory")
	// ErrNewer: a newer version has written the directory.
	ErrNewer = errors.New("data directory was written by a newer version")
)

// dataDir is a locked data directory.
type dataDir struct {
	path string
	lock *os.File
	// fresh: this process has marked the directory as ours.
	fresh bool
}

// openDataDir locks the directory. With create it makes it first where it does
// not exist or is empty; else such a directory is ErrNotData.
func openDataDir(path string, create bool) (_ *dataDir, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if create {
		// Only the last element: a missing parent is more likely a typing
		// mistake or a file system that is not mounted.
		if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("data directory: %w", err)
		}
	}
	names, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	marked := false
	for _, n := range names {
		marked = marked || n.Name() == markFile
	}
	switch {
	case !marked && !create:
		return nil, fmt.Errorf("%w: %s", ErrNotData, path)
	case !marked && !ours(names):
		return nil, fmt.Errorf("%w: %s is not empty and holds no file %s; give a new or an empty directory", ErrNotData, path, markFile)
	}
	// Everything within is private, so nobody may look in.
	if err := os.Chmod(path, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	d := &dataDir{path: path}
	if d.lock, err = lock(d.join(lockFile)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = d.Close()
		}
	}()
	if err := d.checkMark(create); err != nil {
		return nil, err
	}
	return d, nil
}

// ours accepts a directory without the mark: empty, or left by a crash between
// the lock and the mark.
func ours(names []os.DirEntry) bool {
	for _, n := range names {
		if n.Name() != lockFile && n.Name() != markFile+".tmp" && n.Name() != "lost+found" {
			return false
		}
	}
	return true
}

func (d *dataDir) join(name string) string { return filepath.Join(d.path, name) }

// checkMark reads the mark, or writes it: it comes before all that follows, and
// each later step of a first run can be repeated.
func (d *dataDir) checkMark(create bool) error {
	b, err := os.ReadFile(d.join(markFile))
	if errors.Is(err, fs.ErrNotExist) && create {
		d.fresh = true
		return d.writeMark()
	}
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	var m mark
	if err := json.Unmarshal(b, &m); err != nil || m.Format < 1 {
		return fmt.Errorf("%w: %s cannot be read", ErrNotData, d.join(markFile))
	}
	if m.Format > dirFormat {
		return fmt.Errorf("%w: %s has format %d, this version reads up to %d", ErrNewer, d.path, m.Format, dirFormat)
	}
	if m.Format < dirFormat {
		// Before anything is written that lower versions cannot read.
		return d.writeMark()
	}
	return nil
}

func (d *dataDir) writeMark() error {
	b, err := json.Marshal(mark{Format: dirFormat})
	if err != nil {
		return err
	}
	return d.writeFile(markFile, append(b, '\n'), 0o600)
}

// Close gives the directory back.
func (d *dataDir) Close() error { return d.lock.Close() }

// lock takes the lock and leaves our process id in the file for the message of
// the next who tries. The lock goes with the descriptor, so a crash frees it.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		b, _ := os.ReadFile(path)
		_ = f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("data directory: lock %s: %w", path, err)
		}
		by := ""
		if pid := strings.TrimSpace(string(b)); pid != "" {
			by = " by process " + pid
		}
		return nil, fmt.Errorf("%w%s: %s; stop the server first", ErrLocked, by, filepath.Dir(path))
	}
	if err := f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("data directory: %w", err)
	}
	return f, nil
}

// sealKey reads the key that secrets in the configuration are sealed under,
// and makes it first where there is none and create says so. Without the file
// those secrets are lost, so it belongs in every backup.
func (d *dataDir) sealKey(create bool) ([]byte, error) {
	b, err := os.ReadFile(d.join(sealFile))
	if errors.Is(err, fs.ErrNotExist) {
		if !create {
			return nil, nil
		}
		b = make([]byte, config.SealKeyBytes)
		if _, err := rand.Read(b); err != nil {
			return nil, err
		}
		return b, d.writeFile(sealFile, b, 0o600)
	}
	if err == nil && len(b) != config.SealKeyBytes {
		err = fmt.Errorf("%s has %d bytes, want %d; take it from a backup", d.join(sealFile), len(b), config.SealKeyBytes)
	}
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	return b, nil
}

// subdir makes a directory below, durably.
func (d *dataDir) subdir(name string) (string, error) {
	p := d.join(name)
	if err := os.Mkdir(p, 0o700); errors.Is(err, fs.ErrExist) {
		return p, nil
	} else if err != nil {
		return "", fmt.Errorf("data directory: %w", err)
	}
	return p, d.sync()
}

// writeFile puts a small file in place, whole or not at all, durably.
func (d *dataDir) writeFile(name string, b []byte, perm os.FileMode) error {
	tmp := d.join(name + ".tmp")
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, d.join(name))
	}
	if err != nil {
		return fmt.Errorf("data directory: %s: %w", name, err)
	}
	return d.sync()
}

// sync makes names in the directory durable.
func (d *dataDir) sync() error {
	f, err := os.Open(d.path)
	if err != nil {
		return err
	}
	err = f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
