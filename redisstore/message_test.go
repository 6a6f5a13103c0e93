package redisstore

import (
	"encoding/json"
	"strings"
	"testing"
)

const plainNotification = `{"event":"refreshed","access_token":"88_abc-DEF","generation":1790000000000000,` +
	`"issued_at":"2026-11-22T20:00:00.123Z","expires_at":"2026-11-22T22:00:00.123Z","issued_by":"host:4711-ABCD",` +
	`"ttl_ms":7170000,"reason":"forced","by":"host:4711-ABCD"}`

func TestOurNotificationsHaveThePlainForm(t *testing.T) {
	var m message
	if !m.scan(plainNotification) {
		t.Errorf("scan(%s) = false, want true", plainNotification)
	}
}

// FuzzMessage checks that the short cut understands nothing that encoding/json
// would understand otherwise.
func FuzzMessage(f *testing.F) {
	f.Add(plainNotification)
	f.Add(strings.Replace(plainNotification, `"forced"`, `"for\u0063ed"`, 1))
	f.Add(`{"event":"begun","fence":12,"by":"x","reason":"schedule","deadline_ms":3000}`)
	f.Add(`{"fence":012}`)
	f.Add(`{"fence":1,"fence":2}`)
	f.Add(`{"issued_at":"2026-11-22T24:00:00.123Z"}`)
	f.Add(`{"Event":"refreshed"}`)
	f.Add(`{}`)
	f.Fuzz(func(t *testing.T, text string) {
		var short, long message
		if !short.scan(text) {
			return
		}
		if err := json.Unmarshal([]byte(text), &long); err != nil {
			t.Fatalf("scan(%q) = true, json: %v", text, err)
		}
		if short != long {
			t.Errorf("scan(%q) = %+v, json has %+v", text, short, long)
		}
	})
}

func BenchmarkNotification(b *testing.B) {
	s, err := Open("redis://127.0.0.1:1", Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.event("wx8acdb7df5beb68fd", refreshedChannel, plainNotification); err != nil {
			b.Fatal(err)
		}
	}
}
