package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
)

// LocalFiles is how many files the local log has: the one that is written to,
// audit.log, and those before it, audit.log.1 the newest.
const LocalFiles = 4

const localName = "audit.log"

// keep writes what is spooled to the local log while that is wanted, until ctx
// ends. A record is there once, also over restarts.
func (l *Log) keep(ctx context.Context) {
	for ctx.Err() == nil {
		c, changed := l.config()
		if !c.Local {
			select {
			case <-ctx.Done():
			case <-changed:
			}
			continue
		}
		if err := l.keepUntil(ctx, changed); err != nil {
			l.o.Logger.ErrorContext(ctx, "local audit log not written; tried again", "error", err)
			t := time.NewTimer(l.o.Retry)
			select {
			case <-ctx.Done():
			case <-t.C:
			}
			t.Stop()
		}
	}
}

func (l *Log) keepUntil(ctx context.Context, changed <-chan struct{}) error {
	f, err := openLocal(l.spool.path(localName), l.o.LocalBytes, l.o.Host)
	if err != nil {
		return err
	}
	defer f.close()
	l.local.Store(f.last)
	r := l.spool.readFrom(f.last + 1)
	defer r.close()
	for {
		for {
			e, ok := r.read()
			if !ok {
				break
			}
			if err := f.add(&e); err != nil {
				return err
			}
		}
		if err := f.flush(); err != nil {
			return err
		}
		l.local.Store(f.last)
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			return nil
		default:
		}
		if err := l.more[1].wait(ctx, changed, nil, r); err != nil {
			return err
		}
	}
}

// localLog is a file of messages, one a line.
type localLog struct {
	path  string
	limit int64
	f     *os.File
	bytes int64
	out   []byte
	text  messages
	last  uint64 // sequence number of the last record
}

func openLocal(path string, limit int64, host string) (*localLog, error) {
	l := &localLog{path: path, limit: limit, text: messages{host: host}}
	if err := l.open(); err != nil {
		return nil, err
	}
	last, bytes, err := lastLine(l.f, l.bytes)
	if err == nil && last == 0 { // it may just have been begun
		var before *os.File
		if before, err = os.Open(path + ".1"); err == nil {
			var st os.FileInfo
			if st, err = before.Stat(); err == nil {
				last, _, err = lastLine(before, st.Size())
			}
			_ = before.Close() // it was only read
		} else if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
	}
	if err == nil && bytes != l.bytes { // a line that was not written whole
		err = l.f.Truncate(bytes)
		l.bytes = bytes
	}
	if err != nil {
		return nil, errors.Join(err, l.f.Close())
	}
	l.last = last
	return l, nil
}

func (l *localLog) open() error {
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.f, l.bytes = f, st.Size()
	return nil
}

// lastLine answers the sequence number in the last whole line, 0 if there is
// none, and where that line ends.
func lastLine(f *os.File, size int64) (seq uint64, end int64, err error) {
	from := max(0, size-(maxText+1<<10)) // no line is longer
	tail := make([]byte, size-from)
	if _, err := f.ReadAt(tail, from); err != nil && err != io.EOF {
		return 0, 0, err
	}
	n := bytes.LastIndexByte(tail, '\n') + 1
	if n == 0 {
		return 0, from, nil
	}
	seq, _ = seqOf(tail[bytes.LastIndexByte(tail[:n-1], '\n')+1 : n])
	return seq, from + int64(n), nil
}

func seqOf(line []byte) (uint64, bool) {
	_, tail, ok := bytes.Cut(line, []byte(headApp))
	if !ok {
		return 0, false
	}
	digits, _, _ := bytes.Cut(tail, []byte(`"`))
	q, err := strconv.ParseUint(string(digits), 10, 64)
	return q, err == nil
}

func (l *localLog) add(e *entry) error {
	l.out = l.text.append(l.out, e)
	l.out = append(l.out, '\n')
	l.last = e.seq
	if len(l.out) < sendBytes {
		return nil
	}
	return l.flush()
}

func (l *localLog) flush() error {
	if len(l.out) == 0 {
		return nil
	}
	if l.bytes > 0 && l.bytes+int64(len(l.out)) > l.limit {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	n, err := l.f.Write(l.out)
	l.bytes += int64(n)
	l.out = l.out[:0]
	return err
}

func (l *localLog) rotate() error {
	if err := l.f.Close(); err != nil {
		return err
	}
	for i := LocalFiles - 1; i > 0; i-- {
		from := l.path
		if i > 1 {
			from = fmt.Sprintf("%s.%d", l.path, i-1)
		}
		if err := os.Rename(from, fmt.Sprintf("%s.%d", l.path, i)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return l.open()
}

func (l *localLog) close() { _ = l.f.Close() } // what was written is in the file already
