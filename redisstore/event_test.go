package redisstore

import (
	"testing"

	"github.com/zhongkong/zhongkong/redisstore/internal/layout"
)

const refreshedMessage = `{"event":"refreshed","access_token":"88_abc-DEF","generation":1790000000000000,` +
	`"issued_at":"2026-11-22T20:00:00.123Z","expires_at":"2026-11-22T22:00:00.123Z","issued_by":"host:4711-ABCD",` +
	`"ttl_ms":7170000,"reason":"forced","by":"host:4711-ABCD"}`

func BenchmarkNotification(b *testing.B) {
	s, err := Open("redis://127.0.0.1:1", Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.event("wx8acdb7df5beb68fd", layout.Refreshed, refreshedMessage); err != nil {
			b.Fatal(err)
		}
	}
}
