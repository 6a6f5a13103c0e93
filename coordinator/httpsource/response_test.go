package httpsource_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
)

func TestAStatusAloneTellsWhetherATokenMayHaveBeenIssued(t *testing.T) {
	for status, want := range map[int]coordinator.FailureKind{
		200: coordinator.FailedUnknown, 302: coordinator.FailedBusy, 401: coordinator.FailedBusy, 404: coordinator.FailedBusy,
		408: coordinator.FailedUnknown, 499: coordinator.FailedUnknown, 429: coordinator.FailedLater,
		500: coordinator.FailedUnknown, 502: coordinator.FailedUnknown,
	} {
		if got := (&httpsource.Response{Status: status}).Kind(); got != want {
			t.Errorf("%d: %s, want %s", status, got, want)
		}
	}
}

func TestA429NamesItsTime(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"": time.Minute, "120": 2 * time.Minute, "-5": time.Minute, "999999999": time.Hour, "9223372037": time.Hour,
		"18446744074": time.Hour, "99999999999999999999": time.Hour, "-99999999999999999999": time.Minute, "soon": time.Minute,
	} {
		r := httpsource.Response{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {value}}}
		if got := r.RetryAfter(); got != want {
			t.Errorf("Retry-After %q: %v, want %v", value, got, want)
		}
		if r.Status = http.StatusServiceUnavailable; r.RetryAfter() != 0 {
			t.Errorf("Retry-After %q of a 503: %v", value, r.RetryAfter())
		}
	}
}

func TestNowIsTheIssuersTime(t *testing.T) {
	r := httpsource.Response{Header: http.Header{"Date": {"Sun, 01 Mar 2026 15:00:00 GMT"}}}
	if got, want := r.Now(), time.Date(2026, 3, 1, 15, 0, 0, 0, time.UTC); !got.Equal(want) {
		t.Errorf("Now() = %v, want %v", got, want)
	}
	if now := (&httpsource.Response{}).Now(); time.Since(now) > time.Minute {
		t.Errorf("without a Date: %v", now)
	}
}
