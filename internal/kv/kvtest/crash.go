package kvtest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"manifold/internal/kv"
)

// Crash drives an engine whose storage a test copies at random moments as a
// power cut would leave it. Each worker writes a growing number under several
// keys in one transaction; readers note the numbers that Views showed.
type Crash struct {
	Workers int
	// Values says how many bytes go along with each number at most.
	Values int

	acked []atomic.Uint64 // by worker: the last number acknowledged or seen in a View
	tried []atomic.Uint64 // by worker: the last number that an Update began with
	count atomic.Uint64
}

// Promise is what had been acknowledged at one moment.
type Promise []uint64

const crashKeys = 3

func crashKey(worker, i int) []byte { return key(uint64(100*i+worker), "n") }

// NewCrash prepares a workload.
func NewCrash(workers, values int) *Crash {
	return &Crash{
		Workers: workers, Values: values,
		acked: make([]atomic.Uint64, workers), tried: make([]atomic.Uint64, workers),
	}
}

// Promised returns what has been acknowledged so far. Take it before the copy.
func (c *Crash) Promised() Promise {
	p := make(Promise, c.Workers)
	for i := range p {
		p[i] = c.acked[i].Load()
	}
	return p
}

// Forget goes back to an earlier promise, because the test goes on from a copy
// that was made with it: what was acknowledged after the copy never happened.
func (c *Crash) Forget(p Promise) {
	for i := range p {
		c.acked[i].Store(p[i])
	}
}

// Acknowledged counts the transactions that were acknowledged.
func (c *Crash) Acknowledged() uint64 { return c.count.Load() }

func raise(a *atomic.Uint64, n uint64) {
	for {
		old := a.Load()
		if old >= n || a.CompareAndSwap(old, n) {
			return
		}
	}
}

// Run works until ctx ends or each worker has done n transactions. The errors
// of an engine that was stopped are no errors of Run.
func (c *Crash) Run(ctx context.Context, e kv.Engine, n int, seed uint64) error {
	var wg sync.WaitGroup
	errs := make(chan error, 2*c.Workers)
	for w := range c.Workers {
		wg.Add(2)
		go func() {
			defer wg.Done()
			errs <- c.write(ctx, e, w, n, rand.New(rand.NewPCG(seed, uint64(w))))
		}()
		go func() {
			defer wg.Done()
			errs <- c.watch(ctx, e, w, n)
		}()
	}
	wg.Wait()
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return errors.Join(all...)
}

func stopped(err error) bool {
	return errors.Is(err, kv.ErrUnavailable) || errors.Is(err, kv.ErrClosed) || errors.Is(err, kv.ErrUnknownOutcome) ||
		errors.Is(err, context.Canceled) || errors.Is(err, kv.ErrTooManyRetries)
}

func (c *Crash) write(ctx context.Context, e kv.Engine, w, n int, rng *rand.Rand) error {
	for range n {
		num := c.tried[w].Add(1)
		v := binary.BigEndian.AppendUint64(nil, num)
		v = append(v, make([]byte, rng.IntN(c.Values+1))...)
		_, err := e.Update(ctx, func(x kv.Txn) error {
			for i := range crashKeys {
				x.Put(crashKey(w, i), v)
			}
			return nil
		})
		if err != nil {
			if stopped(err) {
				return nil
			}
			return err
		}
		raise(&c.acked[w], num)
		c.count.Add(1)
	}
	return nil
}

// watch reads what the worker wrote: what a View returned counts as promised.
func (c *Crash) watch(ctx context.Context, e kv.Engine, w, n int) error {
	for i := range n {
		var num uint64
		k := crashKey(w, i%crashKeys)
		err := e.View(ctx, kv.Linearizable, func(r kv.Reader) error {
			v, err := r.Get(ctx, k)
			if errors.Is(err, kv.ErrNotFound) {
				return nil
			}
			if err == nil {
				num = binary.BigEndian.Uint64(v)
			}
			return err
		})
		if err != nil {
			if stopped(err) {
				return nil
			}
			return err
		}
		raise(&c.acked[w], num)
	}
	return nil
}

// Check looks at the store that came back: every promised transaction is
// there, and each transaction is there whole or not at all.
func (c *Crash) Check(ctx context.Context, e kv.Engine, p Promise) error {
	return e.View(ctx, kv.Linearizable, func(r kv.Reader) error {
		for w := range c.Workers {
			var nums [crashKeys]uint64
			for i := range crashKeys {
				v, err := r.Get(ctx, crashKey(w, i))
				if err != nil && !errors.Is(err, kv.ErrNotFound) {
					return err
				}
				if len(v) >= 8 {
					nums[i] = binary.BigEndian.Uint64(v)
				}
				if nums[i] != nums[0] {
					return fmt.Errorf("worker %d: a transaction came back in part: %v", w, nums)
				}
			}
			if nums[0] < p[w] {
				return fmt.Errorf("worker %d: transaction %d was promised, %d came back", w, p[w], nums[0])
			}
			if max := c.tried[w].Load(); nums[0] > max {
				return fmt.Errorf("worker %d: transaction %d came back, only %d were tried", w, nums[0], max)
			}
		}
		return nil
	})
}
