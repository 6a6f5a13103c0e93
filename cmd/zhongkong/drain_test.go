package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
)

// slowIssuer rotates refresh tokens, and takes its time.
type slowIssuer struct{ latency time.Duration }

func (*slowIssuer) Description() coordinator.Description {
	return coordinator.Description{Grant: coordinator.GrantRules{Needed: true, Replay: coordinator.ReplayNever}}
}

func (i *slowIssuer) Fetch(ctx context.Context, ask coordinator.FetchRequest) (coordinator.FetchResult, error) {
	select {
	case <-time.After(i.latency):
	case <-ctx.Done():
		return coordinator.FetchResult{}, ctx.Err()
	}
	return coordinator.FetchResult{
		Token: coordinator.NewToken("access"), Lifetime: time.Hour, Grant: coordinator.NewToken("successor of " + ask.Grant.Token.Reveal()), Calls: 1,
	}, nil
}

// callerWaits is what the caller of grantUnderWay waits for: less than the issuer takes.
const callerWaits = 5 * time.Second

// grantUnderWay calls test with a coordinator that has just called an issuer for a caller
// who has gone: the refresh token that it presented is used up.
func grantUnderWay(t *testing.T, latency time.Duration, test func(t *testing.T, store *memstore.Store, zk *coordinator.Coordinator)) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New()
		zk, a := consentedTo(t, coordinator.Config{Store: store.Instance("command")}, latency)
		defer func() { _ = zk.Drain(context.Background()) }() // the bubble outlives all that is in it
		called(t, a)
		test(t, store, zk)
	})
}

// consentedTo makes a coordinator of an account that has a refresh token.
func consentedTo(t *testing.T, cfg coordinator.Config, latency time.Duration) (*coordinator.Coordinator, *coordinator.Account) {
	t.Helper()
	cfg.Accounts = []coordinator.AccountConfig{{Name: "crm", Source: &slowIssuer{latency}}}
	zk, err := coordinator.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := zk.Account("crm")
	if err := a.Consent(t.Context(), coordinator.Consent{Token: coordinator.NewToken("first")}); err != nil {
		t.Fatal(err)
	}
	return zk, a
}

// called has the issuer called for a caller who does not wait for its answer.
func called(t *testing.T, a *coordinator.Account) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callerWaits)
	defer cancel()
	if _, err := a.Refresh(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Refresh() = %v, want DeadlineExceeded", err)
	}
}

func storedGrant(store *memstore.Store) string {
	g := store.PeekGrant("crm")
	return g.Tokens[len(g.Tokens)-1].Token.Reveal()
}

func TestACommandKeepsTheRefreshTokenOfASlowIssuer(t *testing.T) {
	grantUnderWay(t, 39*time.Second, func(t *testing.T, store *memstore.Store, zk *coordinator.Coordinator) {
		var stderr bytes.Buffer
		if err := (program{stderr: &stderr}).drain(zk); err != nil {
			t.Errorf("drain() = %v", err)
		}
		if got := storedGrant(store); got != "successor of first" {
			t.Errorf("the store has %q, want the refresh token that was issued", got)
		}
		if n := strings.Count(stderr.String(), "the issuer's answer is awaited: waiting up to 1m55s until it is stored; a second interrupt ends this at once and may lose the token"); n != 1 {
			t.Errorf("it says %d times that it waits, want once:\n%s", n, &stderr)
		}
	})
}

func TestACommandKeepsARefreshTokenThatOnlyItHasWhileRedisIsAway(t *testing.T) {
	for _, latency := range []time.Duration{39 * time.Second, callerWaits + 2*drainMoment} {
		grantUnderWay(t, latency, func(t *testing.T, store *memstore.Store, zk *coordinator.Coordinator) {
			store.SetDown(true)
			time.AfterFunc(90*time.Second, func() { store.SetDown(false) })
			if err := (program{stderr: new(bytes.Buffer)}).drain(zk); err != nil {
				t.Errorf("drain() = %v", err)
			}
			if got := storedGrant(store); got != "successor of first" {
				t.Errorf("the store has %q, want the refresh token that was issued", got)
			}
		})
	}
}

func TestACommandWaitsNoLongerThanTheStopTime(t *testing.T) {
	grantUnderWay(t, 39*time.Second, func(t *testing.T, store *memstore.Store, zk *coordinator.Coordinator) {
		store.SetDown(true)
		time.AfterFunc(time.Hour, func() { store.SetDown(false) })
		began := time.Now()
		err := (program{stderr: new(bytes.Buffer)}).drain(zk)
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took > zk.StopTime()+drainMoment {
			t.Errorf("drain() = %v after %v, want DeadlineExceeded after %v", err, took, zk.StopTime())
		}
	})
}

func TestACommandThatHasNothingUnderWayEndsAtOnceAndSaysNothing(t *testing.T) {
	grantUnderWay(t, callerWaits+drainMoment/2, func(t *testing.T, _ *memstore.Store, zk *coordinator.Coordinator) {
		var stderr bytes.Buffer
		began := time.Now()
		if err := (program{stderr: &stderr}).drain(zk); err != nil || stderr.Len() > 0 || time.Since(began) > drainMoment {
			t.Errorf("drain() = %v after %v, and says %q", err, time.Since(began), &stderr)
		}
	})
}

func TestACommandSaysThatAnAnswerIsBeingStored(t *testing.T) {
	grantUnderWay(t, 10*time.Second, func(t *testing.T, store *memstore.Store, zk *coordinator.Coordinator) {
		store.SetDown(true)
		time.Sleep(10 * time.Second)
		time.AfterFunc(20*time.Second, func() { store.SetDown(false) })
		var stderr bytes.Buffer
		if err := (program{stderr: &stderr}).drain(zk); err != nil {
			t.Errorf("drain() = %v", err)
		}
		if out := stderr.String(); !strings.Contains(out, "the outcome of a refresh is being stored") || strings.Contains(out, "awaited") {
			t.Errorf("it says:\n%s", out)
		}
	})
}

// fullCopy is a copy of grants on a disk that is full.
type fullCopy struct{}

func (fullCopy) Put(context.Context, string, coordinator.Grant) error { return syscall.ENOSPC }
func (fullCopy) Get(context.Context, string) (coordinator.Grant, error) {
	return coordinator.Grant{}, nil
}
func (fullCopy) Accounts(context.Context) ([]string, error) { return nil, nil }

func TestACommandDoesNotWaitLongForTheCopiesOfGrants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stderr, log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, nil))
		var all []*coordinator.Coordinator
		for range 3 {
			store := memstore.New()
			consentedTo(t, coordinator.Config{Store: store.Instance("before")}, 0)
			zk, err := coordinator.New(coordinator.Config{
				Store: store.Instance("command"), Copy: fullCopy{}, Logger: logger,
				Accounts: []coordinator.AccountConfig{{Name: "crm", Source: &slowIssuer{}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := zk.Token(t.Context(), "crm"); err != nil {
				t.Fatal(err)
			}
			all = append(all, zk)
		}
		began := time.Now()
		if err := (program{stderr: &stderr}).drain(all...); err != nil || time.Since(began) > 15*time.Second {
			t.Errorf("drain() = %v after %v", err, time.Since(began))
		}
		if out := stderr.String(); !strings.Contains(out, "the new refresh token is kept") || strings.Contains(out, "awaited") || strings.Contains(out, "may lose") {
			t.Errorf("it says:\n%s", out)
		}
		if n := strings.Count(log.String(), "level=WARN"); n != len(all) {
			t.Errorf("the log has %d warnings, want one of each:\n%s", n, &log)
		}
	})
}

func TestACommandWaitsForAllCallsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all []*coordinator.Coordinator
		for range 10 {
			store := memstore.New()
			zk, a := consentedTo(t, coordinator.Config{Store: store.Instance("command")}, 39*time.Second)
			all = append(all, zk)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, _ = a.Refresh(ctx)
			cancel()
			store.SetDown(true)
			time.AfterFunc(time.Hour, func() { store.SetDown(false) })
		}
		var stderr bytes.Buffer
		began := time.Now()
		err := (program{stderr: &stderr}).drain(all...)
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took > all[0].StopTime()+drainMoment {
			t.Errorf("drain() = %v after %v, want DeadlineExceeded after %v", err, took, all[0].StopTime())
		}
		if n := strings.Count(stderr.String(), "\n"); n != 1 {
			t.Errorf("it says %d times that it waits, want once:\n%s", n, &stderr)
		}
		for _, zk := range all { // the bubble outlives all that is in it
			_ = zk.Drain(context.Background())
		}
	})
}

// slowGrantBench has a grant that is not used up yet, and an issuer that answers late.
func slowGrantBench(t *testing.T, latency time.Duration) (b *bench, issuer *oauthtest.Server, first string) {
	t.Helper()
	b, issuer = grantBench(t)
	_, first = issuer.Consent("zhongkong", "")
	if r := b.feed(first, "grant", "import"); r.code != exitDone {
		t.Fatalf("grant import = %d\n%s", r.code, r.stderr)
	}
	issuer.Tune(func(k *oauthtest.Knobs) { k.Latency = oauthtest.Duration(latency) })
	return b, issuer, first
}

// keptSuccessor checks that the token was used up, and that the store has the next one.
func keptSuccessor(b *bench, issuer *oauthtest.Server, first string) {
	b.t.Helper()
	if issuer.Accepts(first) {
		b.t.Error("the refresh token was not presented")
	}
	if out := b.must("grant", "status", "crm"); !strings.Contains(out, "good") {
		b.t.Errorf("grant status:\n%s", out)
	}
}

func TestRefreshWaitsBeyondItsWaitForARefreshToken(t *testing.T) {
	b, issuer, first := slowGrantBench(t, 3*time.Second)
	r := b.run("refresh", "--wait", "500ms", "crm")
	if r.code == exitDone || strings.Count(r.stderr, "a second interrupt") != 1 {
		t.Errorf("refresh = %d:\n%s", r.code, r.stderr)
	}
	keptSuccessor(b, issuer, first)
}

func TestAnInterruptedDoctorWaitsForARefreshToken(t *testing.T) {
	b, issuer, first := slowGrantBench(t, 3*time.Second)
	r := b.start(t.Context(), "", "doctor")
	r.says("presenting the refresh token")
	if out := r.stop(); !strings.Contains(out.stderr, "a second interrupt") {
		t.Errorf("doctor = %d:\n%s%s", out.code, out.stdout, out.stderr)
	}
	keptSuccessor(b, issuer, first)
}
