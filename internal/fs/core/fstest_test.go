package core_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"manifold/internal/data/errdisk"
	"manifold/internal/fs"
	"manifold/internal/fs/core"
	"manifold/internal/fs/fstest"
	"manifold/internal/kv/memkv"
)

func TestSuite(t *testing.T) {
	fstest.Run(t, func(t *testing.T) fs.FS { return newFS(t, memkv.New()) })
}

func TestSuite_crash(t *testing.T) {
	fstest.Run(t, func(t *testing.T) fs.FS { return newCrashing(t, 1) })
}

// modelSeeds may be widened from outside: MODEL_SEEDS=100-200.
func modelSeeds() (from, to uint64) {
	from, to = 0, 4
	var a, b uint64
	if n, _ := fmt.Sscanf(os.Getenv("MODEL_SEEDS"), "%d-%d", &a, &b); n == 2 {
		from, to = a, b
	}
	return from, to
}

func TestModel(t *testing.T) {
	for seed, to := modelSeeds(); seed < to; seed++ {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			fstest.Model(t, func(t *testing.T) fs.FS { return newFS(t, memkv.New()) }, seed, modelOps())
		})
	}
}

func modelOps() int {
	if n, err := strconv.Atoi(os.Getenv("MODEL_OPS")); err == nil {
		return n
	}
	return 250
}

// crashing loses its power when asked, keeping what was synced, and starts again.
type crashing struct {
	*core.FS
	t    *testing.T
	m    machine
	stop func() error
	rnd  *rand.Rand
}

func newCrashing(t *testing.T, seed uint64) *crashing {
	t.Helper()
	c := &crashing{t: t, m: machine{vfs.NewCrashableMem(), errdisk.New()}, rnd: rand.New(rand.NewPCG(seed, 3))}
	var err error
	if c.FS, c.stop, err = c.m.boot(context.WithoutCancel(t.Context()), true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Crash implements fstest.Crasher.
func (c *crashing) Crash() {
	ctx := context.WithoutCancel(c.t.Context())
	clone := machine{disk: c.m.disk.CrashTorn(c.rnd)} // data first: what the keys name is synced
	clone.mem = c.m.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: c.rnd.IntN(101), RNG: c.rnd})
	f, stop, err := clone.boot(ctx, false)
	if err != nil {
		c.t.Fatalf("start after a crash: %v", err)
	}
	if err := c.stop(); err != nil {
		c.t.Errorf("end of the old instance: %v", err)
	}
	c.FS, c.m, c.stop = f, clone, stop
}

func TestModel_crash(t *testing.T) {
	for seed, to := modelSeeds(); seed < to; seed++ {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			fstest.Model(t, func(t *testing.T) fs.FS { return newCrashing(t, seed) }, 500+seed, modelOps())
		})
	}
}
