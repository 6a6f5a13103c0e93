package redisstore

import (
	"reflect"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// A script and a transaction read the same fields, each with its own list of them.
func TestScriptAndTransactionReadTheSame(t *testing.T) {
	server := redistest.Start(t)
	d := newDated(t, server.URL(), 0, Options{})
	record, err := d.Commit(t.Context(), "a", coordinator.CommitRequest{
		Attempt: d.begin(0), Token: coordinator.NewToken("token"), Lifetime: 2 * time.Hour, RefreshIn: time.Hour, Calls: 2,
		Attributes: map[string]string{"scope": "a"}, Repeated: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	rejected, err := d.Begin(t.Context(), "a", coordinator.BeginRequest{Seen: record.Generation, Reason: coordinator.ReasonRejected, TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Fail(t.Context(), "a", coordinator.FailRequest{
		Attempt: rejected, RetryIn: time.Minute, Calls: 1,
		Failure: coordinator.Failure{Kind: coordinator.FailedRefused, Code: "40013", Message: "invalid appid", Credential: "print"},
	}); err != nil {
		t.Fatal(err)
	}
	// A new secret may be tried in spite of the back-off.
	if _, err := d.Begin(t.Context(), "a", coordinator.BeginRequest{
		Seen: record.Generation, Reason: coordinator.ReasonSchedule, Credential: "another", TTL: time.Minute,
		Limits: coordinator.Limits{Window: 365 * 24 * time.Hour},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lock(t.Context(), "a", 20*time.Second); err != nil {
		t.Fatal(err)
	}

	var states [2]coordinator.State
	for i, scripted := range []bool{true, false} {
		d.scripted.Store(scripted)
		loaded, err := d.Load(t.Context(), "a")
		if err != nil || loaded[0].Err != nil {
			t.Fatalf("Load() = %+v, %v", loaded, err)
		}
		states[i] = loaded[0]
	}
	s := states[0]
	if s.Failure == nil || s.Failure.Credential == "" || s.Failure.Code == "" || len(s.Open) == 0 || s.Holder == "" || s.HolderTTL == 0 ||
		s.Conflicts == 0 || s.CallsToday != 1 || s.Record.Attributes == nil || !s.Record.Repeated || s.Record.RefreshAt.IsZero() || s.Fence <= record.Generation {
		t.Errorf("the state lacks something: %+v", s)
	}
	for i := range states { // these pass between the two
		states[i].Now, states[i].HolderTTL, states[i].Record.TTL = time.Time{}, 0, 0
	}
	if !reflect.DeepEqual(states[0], states[1]) { //nolint:govet // neither state has an error: see above
		t.Errorf("by script:\n%+v\nby transaction:\n%+v", states[0], states[1])
	}
}
