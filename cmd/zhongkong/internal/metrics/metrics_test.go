package metrics_test

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/metrics"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

func scrape(m *metrics.Metrics) string {
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

func wantLines(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains("\n"+text, "\n"+line+"\n") {
			t.Errorf("the answer lacks the line %q\n%s", line, text)
		}
	}
}

func TestObservationsAreCounted(t *testing.T) {
	m := metrics.New(metrics.Build{Version: "v1", Commit: "c0ffee", Date: "2026-01-02T03:04:05Z"})
	fetched := coordinator.Observation{Kind: coordinator.Fetched, Account: "wx1", Reason: coordinator.ReasonSchedule, Took: 60 * time.Millisecond}
	m.Observe(fetched)
	m.Observe(fetched)
	fetched.Failure = &coordinator.Failure{Kind: coordinator.FailedRefused}
	fetched.Took = time.Minute
	m.Observe(fetched)
	m.Observe(coordinator.Observation{Kind: coordinator.Committed, Account: "wx1", Reason: coordinator.ReasonSchedule})
	m.Observe(coordinator.Observation{Kind: coordinator.Throttled, Account: `a"\b`, Reason: coordinator.ReasonForced})
	m.Observe(coordinator.Observation{Kind: coordinator.Notified, Event: &coordinator.Event{Kind: coordinator.EventRestored}})
	m.Observe(coordinator.Observation{Kind: coordinator.Unreachable})
	m.Datagram("replayed")
	wantLines(t, scrape(m),
		`zhongkong_build_info{commit="c0ffee",date="2026-01-02T03:04:05Z",goversion="`+runtime.Version()+`",version="v1"} 1`,
		`zhongkong_refreshes_total{account="wx1",reason="schedule",result="stored"} 1`,
		`zhongkong_refreshes_total{account="wx1",reason="schedule",result="refused"} 1`,
		`zhongkong_refreshes_total{account="a\"\\b",reason="forced",result="throttled"} 1`,
		`zhongkong_source_duration_seconds_bucket{result="ok",le="0.05"} 0`,
		`zhongkong_source_duration_seconds_bucket{result="ok",le="0.1"} 2`,
		`zhongkong_source_duration_seconds_bucket{result="refused",le="10"} 0`,
		`zhongkong_source_duration_seconds_bucket{result="refused",le="+Inf"} 1`,
		`zhongkong_source_duration_seconds_count{result="ok"} 2`,
		`zhongkong_notifications_total{event="restored"} 1`,
		`zhongkong_store_errors_total 1`,
		`zhongkong_datagrams_total{outcome="replayed"} 1`,
		`# TYPE zhongkong_source_duration_seconds histogram`,
		`# TYPE process_cpu_seconds_total counter`,
	)
}

func TestAccountsAreReadAtEachScrape(t *testing.T) {
	m := metrics.New(metrics.Build{Version: "v1"})
	zk, err := coordinator.New(coordinator.Config{
		Store:    memstore.New().Instance("one"),
		Accounts: []coordinator.AccountConfig{{Name: "wx1"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	m.Follow(zk)
	text := scrape(m)
	wantLines(t, text,
		`zhongkong_store_connected 0`,
		`zhongkong_token_ttl_seconds{account="wx1"} 0`,
		`zhongkong_calls_per_day{account="wx1"} 2000`,
	)
	if strings.Contains(text, `zhongkong_token_age_seconds{`) {
		t.Error("there is an age without a token")
	}
}
