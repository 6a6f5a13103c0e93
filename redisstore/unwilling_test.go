package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// A Redis that answers and takes no write is said, with what to do about it, and
// when it takes them again all goes on.
func TestARedisThatTakesNoWritesIsSaid(t *testing.T) {
	for name, test := range map[string]struct {
		refuse, repair []any
		words          string
	}{
		"without memory": {
			[]any{"config", "set", "maxmemory", "1"}, []any{"config", "set", "maxmemory", "0"}, "raise maxmemory",
		},
		"without replicas": {
			[]any{"config", "set", "min-replicas-to-write", "1"}, []any{"config", "set", "min-replicas-to-write", "0"}, "min-replicas-to-write",
		},
		"a replica": {
			[]any{"replicaof", "127.0.0.1", "1"}, []any{"replicaof", "no", "one"}, "master",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			server := redistest.Start(t)
			log, source := new(logged), new(coordinatortest.Source)
			source.Life = 8 * time.Second // a refresh is due each 4 s
			logger := log.logger()
			c := runCoordinator(t, coordinator.Config{
				Store: open(t, server.URL(), redisstore.Options{Logger: logger}), Logger: logger, RefreshEvery: 2 * time.Second,
				Accounts: []coordinator.AccountConfig{{Name: "a", Source: source}},
			})
			if _, err := c.Token(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
			server.MustDo(t, test.refuse...)
			eventually(t, "StoreError", patience, func() bool { return errors.Is(c.StoreError(), coordinator.ErrUnreachable) })
			if err := c.StoreError(); !strings.Contains(err.Error(), test.words) {
				t.Errorf("StoreError() = %v, which does not say what to do: %s", err, test.words)
			}
			eventually(t, "the log says so", patience, func() bool {
				return strings.Contains(log.String(), "level=WARN") && strings.Contains(log.String(), test.words)
			})
			if _, err := c.Token(t.Context(), "a"); err != nil && !strings.Contains(err.Error(), "a") {
				t.Error(err)
			}
			calls := len(source.Calls())
			server.MustDo(t, test.repair...)
			eventually(t, "a refresh", patience, func() bool { return len(source.Calls()) > calls && c.StoreError() == nil })
			if n := strings.Count(log.String(), "following the store"); n > 3 {
				t.Errorf("the connection was called lost and found %d times", n)
			}
		})
	}
}

// A client that may publish can send any number of messages that cannot be decoded.
func TestAFloodOfUnreadableMessagesFillsNoLogAndReadsLittle(t *testing.T) {
	server := redistest.Start(t)
	log := new(logged)
	store := open(t, server.URL(), redisstore.Options{Logger: log.logger()})
	_, r := followed(t, store, coordinator.Refresher, "a")
	before, _, _ := r.counts()
	client := server.Client()
	defer client.Close()
	flood := func(channel string, n int) {
		pipe := client.Pipeline()
		for i := range n {
			pipe.Publish(t.Context(), "zhongkong:{a}:"+channel, fmt.Sprintf("junk %d", i))
		}
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	flood("wanted", 20_000)
	flood("refreshed", 20_000)
	eventually(t, "all are counted", patience, func() bool { return store.Stats().Unreadable == 40_000 })
	if n := strings.Count(log.String(), "\n"); n < 1 || n > 2 {
		t.Errorf("%d lines in the log, want one: %.500s", n, log)
	}
	if after, _, _ := r.counts(); after == before || after-before > 500 {
		t.Errorf("the account was announced %d times, want some", after-before)
	}
	// What can be read still arrives.
	record := refreshed(t, store, "a", "token")
	eventually(t, "Notified", patience, func() bool { return r.saw(coordinator.EventRefreshed, record.Generation) })
}

func TestAPasswordWhereNoneIsSetIsCalledThat(t *testing.T) {
	server := redistest.Start(t)
	server.MustDo(t, "acl", "setuser", "default", "off", "nopass")
	url := strings.Replace(server.URL(), "redis://", "redis://:SECRET-PASSWORD@", 1)
	if strings.Count(url, "@") != 1 {
		t.Fatal(url)
	}
	_, err := open(t, url, redisstore.Options{}).Load(context.Background(), "a")
	if !errors.Is(err, redisstore.ErrDenied) || !errors.Is(err, coordinator.ErrUnreachable) || strings.Contains(err.Error(), "SECRET") {
		t.Errorf("Load() = %v, want %v", err, redisstore.ErrDenied)
	}
}
