package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
)

// show measures whole processes, from the start to the end, that print the token.
func show(e *env, r *record) error {
	server, kill, err := e.redis()
	if err != nil {
		return err
	}
	defer kill()
	if err := storeToken(server.URL()); err != nil {
		return err
	}
	commands := []struct {
		name string
		args []string
	}{
		{"redis-cli hget", []string{"redis-cli", "-p", strconv.Itoa(server.Port()), "hget", "zhongkong:{" + appID + "}:token", "access_token"}},
		{"zhongkong show", []string{e.zhongkong, "--redis", server.URL(), "show", appID}},
		{"zhongkong version", []string{e.zhongkong, "version"}},
	}
	took := make([][]time.Duration, len(commands))
	for range e.or(60, 3) {
		for i, c := range commands {
			began := time.Now()
			out, err := exec.Command(c.args[0], c.args[1:]...).Output()
			took[i] = append(took[i], time.Since(began))
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			if i < 2 && string(bytes.TrimSpace(out)) != tokenText(1) {
				return fmt.Errorf("%s printed %q", c.name, out)
			}
		}
	}
	for i, c := range commands {
		r.add(c.name, ms("p50-ms", percentile(took[i], .5)), ms("p99-ms", percentile(took[i], .99)))
	}
	return nil
}

// storeToken puts a token into the store as a refresher does.
func storeToken(url string) error {
	store, err := redisstore.Open(url, redisstore.Options{})
	if err != nil {
		return err
	}
	defer store.Close()
	ctx := context.Background()
	attempt, err := store.Begin(ctx, appID, coordinator.BeginRequest{Reason: coordinator.ReasonMissing, TTL: 3 * time.Second, Limits: coordinator.DefaultLimits()})
	if err != nil {
		return err
	}
	_, err = store.Commit(ctx, appID, coordinator.CommitRequest{
		Attempt: attempt, Reason: coordinator.ReasonMissing, Token: coordinator.NewToken(tokenText(1)), Lifetime: 2 * time.Hour,
	})
	return err
}
