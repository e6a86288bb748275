package core_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/fs/fstest"
	"manifold/internal/kv/memkv"
)

func TestSuite(t *testing.T) {
	fstest.Run(t, func(t *testing.T) fs.FS { return newFS(t, memkv.New()) })
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
