package coordinator_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

// running returns an account that is followed and has a token.
func running(b *testing.B) *coordinator.Account {
	b.Helper()
	c, err := coordinator.New(coordinator.Config{Store: memstore.New()})
	if err != nil {
		b.Fatal(err)
	}
	a, err := c.Add(coordinator.AccountConfig{Name: account, Source: new(coordinatortest.Source)})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(ctx) }()
	b.Cleanup(func() { cancel(); <-done })
	if _, err := a.Token(ctx); err != nil {
		b.Fatal(err)
	}
	return a
}

var (
	sinkToken coordinator.Token
	sinkPtr   *string
)

func BenchmarkToken(b *testing.B) {
	a, ctx := running(b), context.Background()
	b.ReportAllocs()
	for b.Loop() {
		sinkToken, _ = a.Token(ctx)
	}
}

// The limit: an atomic load and a check.
func BenchmarkAtomicLoad(b *testing.B) {
	var p atomic.Pointer[string]
	p.Store(new(string))
	for b.Loop() {
		if s := p.Load(); s != nil {
			sinkPtr = s
		}
	}
}

func BenchmarkTokenParallel(b *testing.B) {
	a, ctx := running(b), context.Background()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if token, _ := a.Token(ctx); token.IsZero() {
				b.Error("no token")
			}
		}
	})
}

func BenchmarkAtomicLoadParallel(b *testing.B) {
	var p atomic.Pointer[string]
	p.Store(new(string))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if p.Load() == nil {
				b.Error("nil")
			}
		}
	})
}
