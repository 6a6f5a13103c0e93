package redisstore

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// dated is a store whose idea of the server's clock is set before each step.
type dated struct {
	*Store
	t     *testing.T
	wrong time.Duration // how far ahead it is taken to be
}

func newDated(t *testing.T, url string, wrong time.Duration, o Options) dated {
	t.Helper()
	o.Timeout = 5 * time.Second // a busy machine may be late
	s, err := Open(url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return dated{s, t, wrong}
}

func (d dated) begin(seen coordinator.Fence) coordinator.Attempt {
	d.t.Helper()
	d.clock.ahead.Store(int64(d.wrong))
	attempt, err := d.Begin(d.t.Context(), "a", coordinator.BeginRequest{Seen: seen, Reason: coordinator.ReasonSchedule, TTL: time.Minute})
	if err != nil {
		d.t.Fatal(err)
	}
	return attempt
}

func (d dated) commit(attempt coordinator.Attempt, calls int) coordinator.Record {
	d.t.Helper()
	d.clock.ahead.Store(int64(d.wrong))
	r, err := d.Commit(d.t.Context(), "a", coordinator.CommitRequest{
		Attempt: attempt, Token: coordinator.NewToken("token"), Lifetime: 2 * time.Hour, Calls: calls,
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}

func (d dated) fail(attempt coordinator.Attempt, calls int) {
	d.t.Helper()
	d.clock.ahead.Store(int64(d.wrong))
	err := d.Fail(d.t.Context(), "a", coordinator.FailRequest{
		Attempt: attempt, Failure: coordinator.Failure{Kind: coordinator.FailedBusy, Message: "x"}, Calls: calls,
	})
	if err != nil {
		d.t.Fatal(err)
	}
}

// callsToday loads the account by the script and by a transaction.
func (d dated) callsToday() (scripted, transacted int) {
	d.t.Helper()
	var counts [2]int
	for i, scripted := range []bool{true, false} {
		d.scripted.Store(scripted)
		d.clock.ahead.Store(int64(d.wrong))
		states, err := d.Load(d.t.Context(), "a", "b")
		if err != nil || states[0].Err != nil || states[1].Err != nil || states[1].CallsToday != 0 {
			d.t.Fatalf("Load() = %+v, %v", states, err)
		}
		counts[i] = states[0].CallsToday
	}
	return counts[0], counts[1]
}

func TestCallsAreCountedOnTheServersDayWhateverTheProcessTakesItFor(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	defer client.Close()
	for name, wrong := range map[string]time.Duration{
		"right": 0, "a day ahead": 24 * time.Hour, "a day behind": -24 * time.Hour, "in another year": 400 * 24 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			server.FlushAll(t)
			d := newDated(t, server.URL(), wrong, Options{Replicas: 1, WaitTimeout: time.Millisecond})
			first := d.commit(d.begin(0), 3)
			d.fail(d.begin(first.Generation), 2)
			d.fail(d.begin(first.Generation), 0)

			if ahead := time.Duration(d.clock.ahead.Load()); ahead.Abs() > time.Minute {
				t.Errorf("the process still takes the server's clock to be ahead by %v", ahead)
			}
			keys, err := client.Keys(t.Context(), "*:calls:*").Result()
			if want := "zhongkong:{a}:calls:" + issuersDay(time.Now()); err != nil || len(keys) != 1 || keys[0] != want {
				t.Fatalf("calls are counted in %q, %v, want %q alone", keys, err, want)
			}
			if n := server.MustDo(t, "get", keys[0]); n != "5" {
				t.Errorf("%v calls are counted, want 5", n)
			}
			if ttl := server.MustDo(t, "ttl", keys[0]).(int64); ttl < 2*86400 {
				t.Errorf("the counter expires in %d s", ttl)
			}
			if scripted, transacted := d.callsToday(); scripted != 5 || transacted != 5 {
				t.Errorf("CallsToday = %d by script, %d by transaction, want 5", scripted, transacted)
			}
			if n := d.Stats().Unconfirmed; n != 1 {
				t.Errorf("%d writes were not confirmed, want the one that wrote", n)
			}
		})
	}
}

func TestCallsAreCountedOnTheDayThatBeginsDuringAnAttempt(t *testing.T) {
	server := miniredis.RunT(t)
	midnight := time.Date(2026, 3, 1, 16, 0, 0, 0, time.UTC) // in UTC+8
	d := newDated(t, "redis://"+server.Addr(), time.Until(midnight.Add(-time.Second)), Options{})

	server.SetTime(midnight.Add(-time.Second))
	attempt := d.begin(0)
	server.SetTime(midnight)
	record := d.commit(attempt, 3)
	if attempt = d.begin(record.Generation); attempt.CallsToday != 3 {
		t.Errorf("Begin() has counted %d calls of the new day, want two of the commit and one of its own", attempt.CallsToday)
	}
	d.fail(attempt, 0)
	if scripted, transacted := d.callsToday(); scripted != 2 || transacted != 2 {
		t.Errorf("CallsToday = %d by script, %d by transaction, want 2", scripted, transacted)
	}
	counted := map[string]string{}
	for _, key := range server.Keys() {
		if _, day, ok := strings.Cut(key, ":calls:"); ok {
			counted[day], _ = server.Get(key)
		}
	}
	if want := (map[string]string{"20260301": "1", "20260302": "2"}); !maps.Equal(counted, want) {
		t.Errorf("calls are counted as %v, want %v", counted, want)
	}
}
