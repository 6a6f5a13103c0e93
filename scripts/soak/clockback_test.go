package main

import (
	"context"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
)

// A process died mid-call, and then the server's clock went back: its attempt
// must not keep everybody from refreshing for as long as the jump was.
func TestAnAttemptOfAClockThatWentBackBlocksNobody(t *testing.T) {
	t.Skip("known: deadlines, locks and back-offs that lie ahead by more than they can are believed")
	n := newNetwork(newFamily())
	servers, err := newServers(n, single, t.TempDir(), prefix, account, options{fake: true})
	t.Cleanup(servers.kill)
	if err != nil {
		t.Fatal(err)
	}
	store, err := redisstore.Open(servers.url(coordinator.Refresher), redisstore.Options{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := store.Begin(t.Context(), account, coordinator.Begin{Reason: coordinator.ReasonMissing, Life: 3 * time.Second}); err != nil {
		t.Fatal(err)
	}
	if err := servers.setClock(-2 * time.Hour); err != nil {
		t.Fatal(err)
	}
	source := coordinator.SourceFunc(func(context.Context, coordinator.Ask) (coordinator.Issue, error) {
		return coordinator.Issue{Token: coordinator.NewToken("x"), Life: time.Hour}, nil
	})
	c, err := coordinator.New(coordinator.Config{Store: store, Accounts: []coordinator.AccountConfig{{Name: account, Source: source}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	go func() { _ = c.Run(ctx) }()
	began := time.Now()
	_, err = c.Token(ctx, account)
	t.Logf("Token() = %v after %v", err, time.Since(began))
	if err != nil {
		t.Error(err)
	}
}
