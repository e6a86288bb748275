package streamio

import (
	"errors"
	"time"

	"manifold/internal/fs"
)

// enqueue asks a worker to flush f; needs f.mu. False if the queue is full:
// the age worker will find the file.
func (e *Engine) enqueue(f *file) bool {
	s := e.shard(f.id)
	s.mu.Lock()
	f.refs++
	s.mu.Unlock()
	select {
	case e.kick <- f:
		return true
	default:
		s.mu.Lock()
		f.refs--
		s.mu.Unlock()
		return false
	}
}

func (e *Engine) flushWorker() {
	defer e.workers.Done()
	for {
		select {
		case <-e.ctx.Done():
			return
		case f := <-e.kick:
			f.mu.Lock()
			f.queued = false
			f.mu.Unlock()
			e.flushInBackground(f)
			e.drop(f)
		}
	}
}

// flushInBackground keeps the bytes on failure: they stay readable, and the
// next flush or Commit tries again and reports.
func (e *Engine) flushInBackground(f *file) {
	if err := e.flushFile(e.ctx, f); err != nil && e.ctx.Err() == nil && !errors.Is(err, fs.Canceled) {
		e.o.Logger.Error("flushing buffered writes failed; they are kept and tried again", "inode", uint64(f.id), "err", err)
	}
}

// ageWorker flushes what has been dirty for too long.
func (e *Engine) ageWorker() {
	defer e.workers.Done()
	t := time.NewTicker(e.o.FlushAge / 2)
	defer t.Stop()
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-t.C:
			e.flushOlder(e.o.Now().Add(-e.o.FlushAge))
		}
	}
}

// flushOlder queues the files whose oldest dirty byte came before limit.
func (e *Engine) flushOlder(limit time.Time) {
	for _, f := range e.heldFiles() {
		f.mu.Lock()
		if !f.dirtyAt.IsZero() && f.dirtyAt.Before(limit) && !f.queued {
			f.queued = e.enqueue(f)
		}
		f.mu.Unlock()
		e.drop(f)
	}
}

// flushOldest makes room in the dirty budget: every file with dirty bytes is queued.
func (e *Engine) flushOldest() { e.flushOlder(e.o.Now().Add(time.Hour)) }
