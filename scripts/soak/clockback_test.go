package main

import (
	"context"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
)

// A process died mid-call, lock in hand, and then the server's clock went back:
// neither may keep the others from refreshing for as long as the jump was.
func TestALockAndAnAttemptOfAClockThatWentBackBlockNobody(t *testing.T) {
	servers, err := newServers(newNetwork(newProcessTable()), single, t.TempDir(), options{fake: true})
	t.Cleanup(servers.kill)
	if err != nil {
		t.Fatal(err)
	}
	store, err := redisstore.Open(servers.url(coordinator.Refresher), redisstore.Options{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := store.Lock(t.Context(), account, lockLife); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Begin(t.Context(), account, coordinator.BeginRequest{Reason: coordinator.ReasonMissing, TTL: lockLife}); err != nil {
		t.Fatal(err)
	}
	if err := servers.setClock(-2 * time.Hour); err != nil {
		t.Fatal(err)
	}
	source := coordinator.SourceFunc(func(context.Context, coordinator.FetchRequest) (coordinator.FetchResult, error) {
		return coordinator.FetchResult{Token: coordinator.NewToken("x"), Lifetime: time.Hour}, nil
	})
	c, err := coordinator.New(coordinator.Config{Store: store, Accounts: []coordinator.AccountConfig{{Name: account, Source: source}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), lockLife+2*time.Second)
	ran := make(chan error)
	go func() { ran <- c.Run(ctx) }()
	began := time.Now()
	if _, err := c.Token(ctx, account); err != nil {
		t.Errorf("Token() = %v after %v", err, time.Since(began))
	}
	cancel()
	if err := <-ran; err != nil {
		t.Errorf("Run() = %v", err)
	}
}
