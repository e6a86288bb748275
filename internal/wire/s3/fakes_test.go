package s3_test

import (
	"context"
	"slices"
	"sync"

	"manifold/internal/fs"
	"manifold/internal/wire/s3"
)

// memBuckets keeps bucket records in memory.
type memBuckets struct {
	mu   sync.Mutex
	m    map[string]*s3.Bucket
	base fs.Node
}

func clone(b *s3.Bucket) *s3.Bucket { c := *b; return &c }

func (m *memBuckets) Bucket(_ context.Context, name string) (*s3.Bucket, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b, ok := m.m[name]; ok {
		return clone(b), nil
	}
	return nil, s3.ErrNoBucket
}

func (m *memBuckets) ListBuckets(_ context.Context, after string, yield func(*s3.Bucket) bool) error {
	m.mu.Lock()
	var list []*s3.Bucket
	for _, b := range m.m {
		if b.Name > after {
			list = append(list, clone(b))
		}
	}
	m.mu.Unlock()
	slices.SortFunc(list, func(a, b *s3.Bucket) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	for _, b := range list {
		if !yield(b) {
			break
		}
	}
	return nil
}

func (m *memBuckets) CreateBucket(_ context.Context, b *s3.Bucket) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.m[b.Name]; ok {
		return s3.ErrBucketExists
	}
	if m.m == nil {
		m.m = map[string]*s3.Bucket{}
	}
	m.m[b.Name] = clone(b)
	return nil
}

func (m *memBuckets) UpdateBucket(_ context.Context, name string, change func(*s3.Bucket) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.m[name]
	if !ok {
		return s3.ErrNoBucket
	}
	c := clone(b)
	if err := change(c); err != nil {
		return err
	}
	m.m[name] = c
	return nil
}

func (m *memBuckets) DeleteBucket(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.m[name]; !ok {
		return s3.ErrNoBucket
	}
	delete(m.m, name)
	return nil
}

func (m *memBuckets) BasePath(context.Context) (fs.Node, error) { return m.base, nil }

// memKeys are fixed access keys.
type memKeys map[string]*s3.Key

func (m memKeys) AccessKey(_ context.Context, id string) (*s3.Key, error) {
	if k, ok := m[id]; ok {
		return k, nil
	}
	return nil, s3.ErrNoKey
}
