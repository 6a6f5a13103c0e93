package redisstore_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// The processes of a fleet are replaced one by one. These tests have what the version
// before attributes, windows and codes in text has written, and what it reads.

// olderMessage is a notification as that version decodes it.
type olderMessage struct {
	Event       string    `json:"event"`
	By          string    `json:"by"`
	Fence       uint64    `json:"fence"`
	Generation  uint64    `json:"generation"`
	AccessToken string    `json:"access_token"`
	IssuedAt    time.Time `json:"issued_at"`
	ExpiresAt   time.Time `json:"expires_at"`
	RefreshAt   time.Time `json:"refresh_at"`
	TTL         int64     `json:"ttl_ms"`
	Kind        string    `json:"kind"`
	Code        int       `json:"code"`
	Failures    int       `json:"failures"`
	Limit       string    `json:"limit"`
}

func TestWhatTheVersionBeforeHasWrittenIsReadAndKept(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	now := time.Now().UTC().Truncate(time.Millisecond)
	issued, fence := now.Add(-time.Hour), now.Add(-time.Hour).UnixMicro()
	ms := func(at time.Time) string { return strconv.FormatInt(at.UnixMilli(), 10) }
	key := func(what string) string { return "zhongkong:{a}:" + what }
	calls := key("calls:" + now.Add(8*time.Hour).Format("20060102"))
	const layout = "2006-01-02T15:04:05.000Z"
	for _, command := range [][]any{
		{"hset", key("token"), "access_token", "88_old", "generation", fence, "issued_at", issued.Format(layout),
			"expires_at", issued.Add(2 * time.Hour).Format(layout), "issued_by", "old:1"},
		{"pexpire", key("token"), (time.Hour - 30*time.Second).Milliseconds()},
		{"hset", key("state"), "fence", fence + 1, "failures", 2, "retry_at", ms(now.Add(time.Minute)), "conflicts", 3,
			"refresh_at", ms(now.Add(10 * time.Minute)), "last_error", "system busy", "last_error_code", -1, "last_error_at", ms(now),
			"last_error_kind", "busy", "failed_fence", fence + 1, "demanded_at", ms(now.Add(-time.Minute)), "paced_until", ms(now)},
		{"zadd", key("attempts"), ms(now.Add(time.Minute)), fence + 1},
		{"set", calls, 41, "ex", 3 * 86400},
	} {
		server.MustDo(t, command...)
	}
	s := loaded(t, store, "a")
	if r := s.Record; s.Err != nil || r.Token.Reveal() != "88_old" || r.Generation != coordinator.Fence(fence) || r.Attributes != nil || r.Repeated ||
		!r.RefreshAt.Equal(now.Add(10*time.Minute)) || r.IssuedBy != "old:1" {
		t.Errorf("Load() = the record %+v, %v", r, s.Err)
	}
	if f := s.Failure; f == nil || f.Code != "-1" || f.InARow != 2 || s.CallsToday != 41 || s.Conflicts != 3 || len(s.Open) != 1 {
		t.Errorf("Load() = %+v, failure %+v", s, f)
	}

	// This version counts on, settles what the other has announced, and is not counted
	// apart where days are counted.
	attempt, err := store.Begin(t.Context(), "a", coordinator.BeginRequest{
		Seen: coordinator.Fence(fence), Reason: coordinator.ReasonForced, TTL: time.Minute, Limits: coordinator.DefaultLimits(),
	})
	if err != nil || attempt.CallsToday != 42 || attempt.Failures != 2 {
		t.Fatalf("Begin() = %+v, %v", attempt, err)
	}
	if got := server.MustDo(t, "get", calls); got != "42" {
		t.Errorf("the key of the day's calls is %v, want 42", got)
	}
	if _, err := store.Commit(t.Context(), "a", of(attempt, "88_new")); err != nil {
		t.Fatal(err)
	}
	client := server.Client()
	defer client.Close()
	for name, want := range map[string][]string{
		"token": {"access_token", "expires_at", "generation", "issued_at", "issued_by"},
		"state": {"conflicts", "demanded_at", "failed_fence", "failures", "fence", "last_error", "last_error_at", "last_error_code", "last_error_kind", "paced_until"},
	} {
		got, err := client.HGetAll(t.Context(), key(name)).Result()
		if fields := slices.Sorted(maps.Keys(got)); err != nil || !slices.Equal(fields, want) {
			t.Errorf("the fields of %s are %v, %v, want those of the version before: %v", name, fields, err, want)
		}
	}
}

func TestTheVersionBeforeReadsWhatThisOneTells(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	message := heard(t, server, "zhongkong:{a}:refreshed")
	next := func(event string) olderMessage {
		t.Helper()
		payload := message().Payload
		var m olderMessage
		if err := json.Unmarshal([]byte(payload), &m); err != nil || m.Event != event {
			t.Errorf("the version before reads %q as %+v, %v, want an event %q", payload, m, err, event)
		}
		return m
	}
	c := of(begun(t, store, "a", 0), strings.Repeat("long", 4096))
	c.Attributes, c.Repeated, c.RefreshIn = map[string]string{"scope": "a"}, true, time.Hour
	r, err := store.Commit(t.Context(), "a", c)
	if err != nil {
		t.Fatal(err)
	}
	if m := next("refreshed"); m.AccessToken != r.Token.Reveal() || m.Generation != uint64(r.Generation) || !m.RefreshAt.Equal(r.RefreshAt) || m.TTL == 0 {
		t.Errorf("it reads %+v", m)
	}
	server.MustDo(t, "del", "zhongkong:{a}:token")
	if _, err := store.Restore(t.Context(), "a", r); err != nil {
		t.Fatal(err)
	}
	next("restored")
	failed := coordinator.FailRequest{
		Attempt: begun(t, store, "a", r.Generation), Failure: coordinator.Failure{Kind: coordinator.FailedBusy, Code: "-1"}, Calls: 1,
	}
	if err := store.Fail(t.Context(), "a", failed); err != nil {
		t.Fatal(err)
	}
	if m := next("failed"); m.Code != -1 || m.Failures != 1 {
		t.Errorf("it reads %+v", m)
	}
}

// A token is served also if its attributes cannot be read.
func TestAttributesThatCannotBeReadAreNamed(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	r := refreshed(t, store, "a", "token")
	for _, value := range []string{"SECRET", "[]", `{"scope":7}`, `{"a":"` + strings.Repeat("A", coordinator.MaxAttributes) + `"}`} {
		server.MustDo(t, "hset", "zhongkong:{a}:token", "attributes", value)
		s := loaded(t, store, "a")
		var data *redisstore.DataError
		if !errors.As(s.Err, &data) || data.Field != "attributes" || strings.Contains(s.Err.Error(), "SECRET") {
			t.Errorf("with the attributes %.20s the error is %v, want it to name the field", value, s.Err)
		}
		if s.Record.Token.Reveal() != "token" || s.Record.Generation != r.Generation || !s.Record.Usable() || s.Record.Attributes != nil {
			t.Errorf("with the attributes %.20s the record is %+v, want it without them", value, s.Record)
		}
		attempt, err := store.Begin(t.Context(), "a", coordinator.BeginRequest{Reason: coordinator.ReasonMissing, TTL: time.Second})
		if err != nil || attempt.Record.Generation != r.Generation {
			t.Errorf("Begin() = %+v, %v, want the record", attempt, err)
		}
	}
	refreshed(t, store, "a", "new")
	if s := loaded(t, store, "a"); s.Err != nil {
		t.Errorf("after a refresh the error is %v", s.Err)
	}
}
