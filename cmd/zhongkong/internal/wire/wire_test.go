package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
)

var at = time.Date(2026, 11, 22, 20, 36, 44, 677_999_999, time.FixedZone("CST", 8*3600))

func encode(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func snapshot() coordinator.Snapshot {
	return coordinator.Snapshot{Stale: true, Record: coordinator.Record{
		Token: coordinator.NewToken("sesame"), Generation: 7, IssuedAt: at, ExpiresAt: at.Add(2 * time.Hour), IssuedBy: "host:1",
		TTL: time.Hour,
	}}
}

func TestEveryFormIsEncodedAsDocumented(t *testing.T) {
	withAttributes := snapshot()
	withAttributes.Attributes = map[string]string{"scope": "a b"}
	event := coordinator.Event{Kind: coordinator.EventRefreshed, Account: "wx", Reason: coordinator.ReasonForced, Fence: 7, Record: snapshot().Record}
	failed := coordinator.Event{
		Kind: coordinator.EventFailed, Account: "wx", By: "host:2", RetryIn: 1500 * time.Millisecond,
		Failure: &coordinator.Failure{Kind: coordinator.FailedRefused, Code: "40125", Message: "invalid appsecret"},
	}
	entry := redisadmin.Entry{
		At: at, Event: "failed", By: "host:1", AskedBy: "ops (cli)", Reason: coordinator.ReasonForced, Fence: 7,
		Took: 1500 * time.Millisecond, Kind: coordinator.FailedRefused, Code: "40125", Error: "invalid appsecret", Retry: time.Minute,
	}
	state := coordinator.State{
		Account: "wx", Now: at.Add(time.Minute), Record: snapshot().Record, CallsToday: 3,
		Failure: &coordinator.Failure{Kind: coordinator.FailedBusy, Code: "-1", Message: "busy", At: at, InARow: 1, RetryAt: at.Add(time.Hour)},
	}
	for name, c := range map[string]struct{ got, want string }{
		"a token": {encode(t, NewToken("wx", snapshot(), time.Now().Add(-time.Second/2))), `{"name":"wx","access_token":"sesame","generation":7,` +
			`"issued_at":"2026-11-22T12:36:44.677Z","expires_at":"2026-11-22T14:36:44.677Z","expires_in":3599,"issued_by":"host:1","stale":true}`},
		"a token with attributes": {encode(t, NewToken("wx", withAttributes, time.Now().Add(-time.Second/2))), `{"name":"wx","access_token":"sesame","generation":7,` +
			`"issued_at":"2026-11-22T12:36:44.677Z","expires_at":"2026-11-22T14:36:44.677Z","expires_in":3599,"issued_by":"host:1","stale":true,` +
			`"attributes":{"scope":"a b"}}`},
		"an event with attributes": {encode(t, NewEvent(coordinator.Event{
			Kind: coordinator.EventRestored, Account: "wx", Fence: 7, Record: withAttributes.Record,
		}, at)), `{"time":"2026-11-22T12:36:44.677Z","event":"restored","account":"wx","by":"host:1","fence":7,"generation":7,"ttl_seconds":3600,` +
			`"attributes":{"scope":"a b"}}`},
		"an event": {encode(t, NewEvent(event, at)), `{"time":"2026-11-22T12:36:44.677Z","event":"refreshed","account":"wx","by":"host:1",` +
			`"reason":"forced","fence":7,"generation":7,"ttl_seconds":3600}`},
		"a failure": {encode(t, NewEvent(failed, at)), `{"time":"2026-11-22T12:36:44.677Z","event":"failed","account":"wx","by":"host:2",` +
			`"kind":"refused","code":40125,"error":"invalid appsecret","retry_in_seconds":1.5}`},
		"a reader's request": {encode(t, NewEvent(coordinator.Event{
			Kind: coordinator.EventWanted, Account: "wx", Want: coordinator.WantRequest{Reason: coordinator.ReasonMissing},
		}, at)), `{"time":"2026-11-22T12:36:44.677Z","event":"wanted","account":"wx","reason":"missing"}`},
		"a log entry": {encode(t, NewLogEntry(entry)), `{"time":"2026-11-22T12:36:44.677Z","event":"failed","by":"host:1","asked_by":"ops (cli)",` +
			`"reason":"forced","fence":7,"took_ms":1500,"kind":"refused","code":40125,"error":"invalid appsecret","retry_ms":60000}`},
		"an account": {encode(t, NewAccount(state, time.Hour, coordinator.Limits{PerDay: 2000})), `{"name":"wx","generation":7,"issued_at":"2026-11-22T12:36:44.677Z",` +
			`"issued_by":"host:1","age_seconds":60,"ttl_seconds":3600,"next_refresh":"2026-11-22T13:36:44.677Z","calls_today":3,` +
			`"calls_per_day":2000,"open_attempts":0,"overdue_attempts":0,"conflicts":0,"last_error":{"kind":"busy","code":-1,` +
			`"message":"busy","at":"2026-11-22T12:36:44.677Z","in_a_row":1,"retry_at":"2026-11-22T13:36:44.677Z"}}`},
		"a child": {encode(t, NewAccountFromMemory(coordinator.Status{
			Name: "wx.jsapi", LastRead: true, Limits: coordinator.Limits{PerDay: 5}, Parent: "wx", Record: withAttributes.Record, NextRefresh: at,
			Blocked: &coordinator.ParentError{Account: "wx.jsapi", Parent: "wx", Cause: coordinator.ErrNoToken},
		}, at)), `{"name":"wx.jsapi","generation":7,"issued_at":"2026-11-22T12:36:44.677Z","issued_by":"host:1","age_seconds":3570,` +
			`"ttl_seconds":3600,"attributes":{"scope":"a b"},"next_refresh":"2026-11-22T13:36:14.677Z","calls_today":0,"calls_per_day":5,"open_attempts":0,"conflicts":0,` +
			`"parent":"wx","parent_error":"coordinator: no token"}`},
		"an account without data": {encode(t, NewAccount(coordinator.State{Account: "wx", Now: at}, time.Hour, coordinator.Limits{PerDay: 2000})),
			`{"name":"wx","generation":0,"age_seconds":0,"ttl_seconds":0,"next_refresh":"2026-11-22T12:36:44.677Z","calls_today":0,` +
				`"calls_per_day":2000,"open_attempts":0,"overdue_attempts":0,"conflicts":0}`},
		"an error":    {encode(t, Error{Code: "no_token", Message: "none"}), `{"error":"no_token","message":"none"}`},
		"a zero time": {encode(t, Time{}), `""`},
	} {
		if c.got != c.want {
			t.Errorf("%s is\n%s, want\n%s", name, c.got, c.want)
		}
	}
}

func TestWhatAProcessKnowsHasTheFormOfAReading(t *testing.T) {
	failure := func(inARow int) *coordinator.Failure {
		return &coordinator.Failure{
			Kind: coordinator.FailedBusy, Code: "-1", Message: "busy", At: at, InARow: inARow, RetryAt: at.Add(3 * time.Hour / 2),
		}
	}
	const minute = time.Minute
	usable := snapshot().Record // of a life of 2 h, of which 30 s are withdrawn and 1 h is left
	read := coordinator.State{
		Account: "wx", Now: at.Add(time.Hour - minute/2), Record: usable, CallsToday: 3, Conflicts: 2, Holder: "host:2",
		Open: []time.Time{at.Add(time.Hour + minute/4)}, Failure: failure(0),
	}
	known := coordinator.Status{
		Name: "wx", Record: usable, CallsToday: 3, Conflicts: 2, Holder: "host:2", OpenAttempts: 1, Failure: failure(0),
		Limits: coordinator.Limits{PerDay: 2000}, LastRead: true,
	}
	wrong := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC) // this machine's clock
	for name, change := range map[string]func(*coordinator.State, *coordinator.Status){
		"a token": func(_ *coordinator.State, m *coordinator.Status) { m.NextRefresh = wrong.Add(minute / 2) },
		"a token, and a back-off": func(s *coordinator.State, m *coordinator.Status) {
			s.Failure, m.Failure = failure(2), failure(2)
			m.NextRefresh, m.RetryAt = wrong.Add(30*minute+minute/2), wrong.Add(30*minute+minute/2)
		},
		"no token, and a back-off": func(s *coordinator.State, m *coordinator.Status) {
			s.Failure, m.Failure = failure(1), failure(1)
			s.Record, m.Record = coordinator.Record{}, coordinator.Record{}
			m.RetryAt = wrong.Add(30 * minute)
		},
		"a record that cannot be used": func(s *coordinator.State, m *coordinator.Status) {
			s.Record, s.Err, m.Err = coordinator.Record{Generation: 7}, coordinator.ErrSealed, coordinator.ErrSealed
			m.Record.TTL = 0
			s.Failure, m.Failure = failure(1), failure(1)
			m.RetryAt = wrong.Add(30 * minute)
		},
	} {
		s, m := read, known
		change(&s, &m)
		want := NewAccount(s, time.Hour, coordinator.Limits{PerDay: 2000})
		want.Overdue = nil
		if got := NewAccountFromMemory(m, wrong); encode(t, got) != encode(t, want) {
			t.Errorf("%s from memory is\n%s, as read\n%s", name, encode(t, got), encode(t, want))
		}
	}
}

func TestWhatAProcessDoesNotKnowIsNotMadeUp(t *testing.T) {
	limits := coordinator.Limits{PerDay: 2000}
	for name, c := range map[string]struct {
		s    coordinator.Status
		want string
	}{
		"not read yet": {coordinator.Status{Name: "wx", Stale: true, Limits: limits}, `{"name":"wx","generation":0,"age_seconds":0,"ttl_seconds":0,` +
			`"stale":true,"calls_today":0,"calls_per_day":2000,"open_attempts":0,"conflicts":0,"error":"Redis has not been read yet"}`},
		"no token": {coordinator.Status{Name: "wx", LastRead: true, Limits: limits}, `{"name":"wx","generation":0,"age_seconds":0,"ttl_seconds":0,` +
			`"calls_today":0,"calls_per_day":2000,"open_attempts":0,"conflicts":0}`},
	} {
		if got := encode(t, NewAccountFromMemory(c.s, at)); got != c.want {
			t.Errorf("%s is\n%s, want\n%s", name, got, c.want)
		}
	}
}

func TestTheStateOfAnAccountCannotHoldAToken(t *testing.T) {
	for field := range fields(reflect.TypeFor[Account]()) {
		if field.Type == reflect.TypeFor[coordinator.Token]() || field.Type == reflect.TypeFor[coordinator.Record]() ||
			strings.Contains(strings.ToLower(field.Name), "token") || field.Type.Kind() == reflect.Interface {
			t.Errorf("%s %s can hold a token", field.Name, field.Type)
		}
	}
	status := coordinator.Status{Name: "wx", Record: snapshot().Record, LastRead: true}
	state := coordinator.State{Account: "wx", Now: at, Record: snapshot().Record}
	for _, a := range []Account{NewAccountFromMemory(status, at), NewAccount(state, time.Hour, coordinator.Limits{PerDay: 2000})} {
		if text := encode(t, a) + fmt.Sprintf("%+v", a); a.TTLSeconds == 0 || strings.Contains(text, "sesame") {
			t.Errorf("the state is %s", text)
		}
	}
}

// fields returns the exported fields of a struct and of the structs in it.
func fields(of reflect.Type) iter.Seq[reflect.StructField] {
	return func(yield func(reflect.StructField) bool) {
		for _, field := range reflect.VisibleFields(of) {
			in := field.Type
			if in.Kind() == reflect.Pointer {
				in = in.Elem()
			}
			if !yield(field) {
				return
			}
			if in.Kind() != reflect.Struct || in == reflect.TypeFor[Time]() {
				continue
			}
			for inner := range fields(in) {
				if !yield(inner) {
					return
				}
			}
		}
	}
}

func TestTimesAreDecodedFromAnyZone(t *testing.T) {
	for text, want := range map[string]time.Time{
		`"2026-11-22T12:36:44.677Z"`: at.Truncate(time.Millisecond), `"2026-11-22T20:36:44.677+08:00"`: at.Truncate(time.Millisecond), `""`: {},
	} {
		var got Time
		if err := json.Unmarshal([]byte(text), &got); err != nil || !got.Equal(want) {
			t.Errorf("%s = %v, %v, want %v", text, got, err, want)
		}
	}
	if err := json.Unmarshal([]byte(`"yesterday"`), new(Time)); err == nil {
		t.Error("yesterday is no error")
	}
}

func TestATokenRecordDoesNotPrintItsToken(t *testing.T) {
	record := NewToken("wx", snapshot(), time.Now())
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "record", record)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "record", record)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		fmt.Fprintf(&out, verb+verb, record, &record)
	}
	if strings.Contains(out.String(), "sesame") || strings.Contains(out.String(), "736573616d65") {
		t.Errorf("printed: %s", &out)
	}
}
