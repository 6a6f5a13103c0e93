package redisadmin

import (
	"testing"

	"github.com/redis/go-redis/v9"
)

func FuzzEntry(f *testing.F) {
	f.Add("1767323045000-0", "event", "refreshed", "took_ms", "70")
	f.Add("x", "event", "failed", "code", "-1")
	f.Add("", "", "", "retry_ms", "9223372036854775807")
	f.Fuzz(func(t *testing.T, id, field1, value1, field2, value2 string) {
		e, ok := entry(redis.XMessage{ID: id, Values: map[string]any{field1: value1, field2: value2}})
		if ok && (e.Event == "" || e.Took < 0 || e.Retry < 0) {
			t.Errorf("entry = %+v", e)
		}
	})
}
