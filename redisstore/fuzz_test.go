package redisstore

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/internal/layout"
)

// secretInside is part of every value that must not be quoted.
const secretInside = "SECRET-INSIDE"

func newTestStore(t testing.TB) *Store {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"}) // never asked
	s, err := New(client, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return s
}

// answerOf makes of JSON what go-redis makes of an answer: lists, strings,
// whole numbers and nil.
func answerOf(text string) any {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var v any
	if decoder.Decode(&v) != nil {
		return text
	}
	return asAnswer(v)
}

func asAnswer(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = asAnswer(v[i])
		}
		return v
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		return v.String()
	case string, nil:
		return v
	}
	return "other"
}

func FuzzState(f *testing.F) {
	record := `["SECRET-INSIDE","7","2026-01-02T03:04:05.000Z","2026-01-02T05:04:05.000Z","me","{\"scope\":\"SECRET-INSIDE\"}",null,1000,null]`
	state := `["7","0",null,null,null,null,null,null,null,null,"1767323045000","5",null]`
	for _, answer := range []string{
		`["1767323045000",` + record + `,` + state + `,["7","1767323045000"],"3","me/x",2000]`,
		`["1767323045000",[null,null,null,null,null,null,null,-2,null],` + state + `,[],null,null,0]`,
		`["1767323045000",` + strings.Replace(record, `{\"scope\":\"SECRET-INSIDE\"}`, "SECRET-INSIDE", 1) + `,` + state + `,[],null,null,0]`,
		`["1767323045000",` + strings.Replace(record, "1000", "-1", 1) + `,` + state + `,[],null,null,0]`,
		`["1767323045000",` + strings.Replace(record, `"7"`, `"SECRET-INSIDE"`, 1) + `,` + state + `,[],null,null,0]`,
		`["1767323045000",` + record + `,` + strings.Replace(state, `"7"`, `"SECRET-INSIDE"`, 1) + `,[],null,null,0]`,
		`["x",[],[],[],[],[],[]]`, `[]`, `null`, `7`, `["1",["a"],["b"],["c"],"d","e","f"]`,
	} {
		f.Add(answer)
	}
	s := newTestStore(f)
	f.Fuzz(func(t *testing.T, text string) {
		state := s.stateOf("a", &decoder{keys: s.keys.Of("a")}, answerOf(text))
		if state.Err != nil {
			wantTold(t, state.Err)
		}
		if state.Account != "a" || state.Record.TTL < 0 || state.HolderTTL < 0 || state.CallsToday < 0 {
			t.Errorf("state = %+v", state)
		}
		if r := state.Record; !r.Token.IsZero() && r.Generation == 0 {
			t.Errorf("record = %+v with %v", r, state.Err)
		}
		if r := state.Record; r.Generation != 0 && state.Err == nil && (r.Token.IsZero() || !r.ExpiresAt.After(r.IssuedAt)) {
			t.Errorf("record = %+v", r)
		}
	})
}

func FuzzAnswers(f *testing.F) {
	record := `["SECRET-INSIDE","7","2026-01-02T03:04:05.000Z","2026-01-02T05:04:05.000Z","me","[]","1",1000,"1767323045000"]`
	for _, answer := range []string{
		`["current","1767323045000",` + record + `]`, `["stored","1767323045000",` + record + `]`,
		`["throttled","1767323045000","back-off","500"]`, `["superseded","1767323045000"]`, `["refused","1767323045000"]`,
		`["begun","1767323045000","8",1,0,1,["5","6"]]`, `["begun","1",2]`, `["what"]`, `[]`, `["stored","1",["a"]]`, `["stored","1767323045000",null,null]`,
	} {
		f.Add(answer)
	}
	s := newTestStore(f)
	f.Fuzz(func(t *testing.T, text string) {
		answer, _ := answerOf(text).([]any)
		k := s.keys.Of("a")
		var throttled *coordinator.ThrottledError
		if _, err := s.begun("a", k, answer); err != nil && !errors.As(err, &throttled) {
			wantTold(t, err)
		}
		if _, err := s.storedRecord("a", answer, nil); err != nil {
			wantTold(t, err)
		}
	})
}

// wantTold fails the test unless err says which key is bad, and not what it
// holds.
func wantTold(t *testing.T, err error) {
	t.Helper()
	var data *DataError
	if !errors.As(err, &data) && !errors.Is(err, coordinator.ErrSealed) {
		t.Errorf("error = %v, want a *DataError", err)
	}
	if strings.Contains(err.Error(), secretInside) {
		t.Errorf("error = %v, which quotes the contents", err)
	}
}

func FuzzEvent(f *testing.F) {
	for _, payload := range []string{
		`{"event":"refreshed","access_token":"SECRET-INSIDE","generation":7,"issued_at":"2026-01-02T03:04:05.000Z",` +
			`"expires_at":"2026-01-02T05:04:05.000Z","issued_by":"me","ttl_ms":1000,"attributes":{"scope":"a"},"repeated":1,"refresh_at":"2026-01-02T04:04:05Z"}`,
		`{"event":"failed","kind":"busy","code":-1,"error":"x","fence":7,"failures":2,"at":"2026-01-02T03:04:05Z","retry_ms":5}`,
		`{"event":"throttled","limit":"back-off","retry_ms":5}`, `{"event":"wanted","generation":5,"reason":"missing"}`,
		`{"event":"begun","fence":7,"deadline_ms":3000}`, `{"event":"refreshed","access_token":"eyJ.SECRET-INSIDE.b.c.d","generation":7}`,
		`{"event":"SECRET-INSIDE"}`, `{"event":7}`, `{"generation":"SECRET-INSIDE"}`, ``, `null`,
	} {
		f.Add(layout.Refreshed, payload)
		f.Add(layout.Wanted, payload)
		f.Add(layout.Begun, payload)
	}
	s := newTestStore(f)
	f.Fuzz(func(t *testing.T, channel, payload string) {
		e, err := s.event("a", channel, payload)
		if err != nil {
			if len(payload) > 60 && strings.Contains(err.Error(), payload) {
				t.Errorf("error = %v, which quotes the message", err)
			}
			return
		}
		if channelOf(e.Kind) != channel || e.RetryIn < 0 || e.Record.TTL < 0 {
			t.Errorf("event = %+v", e)
		}
		if e.Kind == coordinator.EventRefreshed && (e.Record.Token.IsZero() || e.Fence != e.Record.Generation) {
			t.Errorf("event = %+v", e)
		}
		if e.Kind == coordinator.EventFailed && e.Failure == nil {
			t.Errorf("event = %+v", e)
		}
	})
}

func FuzzRefreshedForm(f *testing.F) {
	f.Add(refreshedMessage)
	change := strings.NewReplacer(`,"reason"`, `,"refresh_at":"2026-11-22T21:00:00Z","repeated":1,"reason"`, `"}`, `","change":"1790000000000001"}`)
	f.Add(change.Replace(refreshedMessage))
	for _, pair := range [][2]string{
		{"88_abc", `88\/abc`}, {"88_abc", "88é"}, {"88_abc", "88\xff"}, {"88_abc", "88\n"}, {"88_abc", "88\x7f"}, {"88_abc-DEF", ""},
		{"1790000000000000", "0"}, {"1790000000000000", "01790000000000000"}, {"1790000000000000", "179e13"}, {"1790000000000000", "-1"},
		{"1790000000000000", "18446744073709551616"}, {"7170000", "7170000.0"}, {"7170000", `"7170000"`}, {"7170000", ""},
		{".123Z", ",123Z"}, {".123Z", "+08:00"}, {"T20", "T24"}, {"2026-11-22T22:00:00.123Z", "null"},
		{`"ttl_ms"`, `"TTL_MS"`}, {`,"reason"`, `,"attributes":{"scope":"a"},"reason"`}, {`,"reason"`, `,"repeated":10,"reason"`},
		{`"}`, `","change":"01"}`}, {`"}`, `","change":1}`}, {`"}`, `","event":"failed"}`}, {`"}`, `"} `}, {`"}`, `"}}`}, {`"}`, `"`}, {":", " : "},
	} {
		f.Add(strings.Replace(refreshedMessage, pair[0], pair[1], 1))
	}
	f.Fuzz(func(t *testing.T, payload string) {
		got, ok := decodeRefreshed(payload)
		if !ok {
			return
		}
		var want message
		if err := json.Unmarshal([]byte(payload), &want); err != nil {
			t.Fatalf("%q is decoded, but encoding/json says %v", payload, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q is decoded as\n%+v, by encoding/json as\n%+v", payload, got, want)
		}
	})
}

func FuzzKeys(f *testing.F) {
	f.Add("wx8acdb7df5beb68fd")
	f.Add("a b:c")
	f.Add("}:{")
	f.Fuzz(func(t *testing.T, account string) {
		if checkAccount(account) != nil {
			return
		}
		k := layout.Keyspace{Prefix: DefaultPrefix}
		got, what, ok := k.Split(k.Channel(account, layout.Refreshed))
		if !ok || got != account || what != layout.Refreshed {
			t.Errorf("split(channel(%q)) = %q, %q, %v", account, got, what, ok)
		}
	})
}

func FuzzDataError(f *testing.F) {
	f.Add("ZKDATA fence not-whole zhongkong:{a}:state")
	f.Add("ZKDATA - not-hash zhongkong:{a b}:token")
	f.Add("ZKDATA")
	f.Fuzz(func(_ *testing.T, text string) {
		_ = dataError(text).Error() // does not panic
	})
}
