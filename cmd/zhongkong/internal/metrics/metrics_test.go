package metrics_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/metrics"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
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
	m.Observe(coordinator.Observation{Kind: coordinator.NotCalled, Account: "wx1", Reason: coordinator.ReasonMissing, Failure: &coordinator.Failure{Kind: coordinator.FailedBusy}})
	m.Observe(coordinator.Observation{Kind: coordinator.Committed, Account: "wx1", Reason: coordinator.ReasonSchedule})
	m.Observe(coordinator.Observation{Kind: coordinator.Throttled, Account: `a"\b`, Reason: coordinator.ReasonForced})
	m.Observe(coordinator.Observation{Kind: coordinator.Notified, Event: &coordinator.Event{Kind: coordinator.EventRestored}})
	m.Observe(coordinator.Observation{Kind: coordinator.Unreachable})
	m.Datagram("replayed")
	text := scrape(m)
	if strings.Contains(text, `duration_seconds_count{result="busy"}`) {
		t.Error("a call that was not made has a duration")
	}
	wantLines(t, text,
		`zhongkong_build_info{commit="c0ffee",date="2026-01-02T03:04:05Z",goversion="`+runtime.Version()+`",version="v1"} 1`,
		`zhongkong_refreshes_total{account="wx1",reason="schedule",result="stored"} 1`,
		`zhongkong_refreshes_total{account="wx1",reason="schedule",result="refused"} 1`,
		`zhongkong_refreshes_total{account="a\"\\b",reason="forced",result="throttled"} 1`,
		`zhongkong_source_duration_seconds_bucket{result="ok",le="0.05"} 0`,
		`zhongkong_source_duration_seconds_bucket{result="ok",le="0.1"} 2`,
		`zhongkong_source_duration_seconds_bucket{result="refused",le="10"} 0`,
		`zhongkong_source_duration_seconds_bucket{result="refused",le="+Inf"} 1`,
		`zhongkong_source_duration_seconds_count{result="ok"} 2`,
		`zhongkong_refreshes_total{account="wx1",reason="missing",result="busy"} 1`,
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
	)
	wantNone(t, text, "zhongkong_calls_per_day")
	if strings.Contains(text, `zhongkong_token_age_seconds{`) {
		t.Error("there is an age without a token")
	}
}

// run has zk follow its store until the test ends. It returns when the accounts were read.
func run(t *testing.T, zk *coordinator.Coordinator) {
	t.Helper()
	ended := make(chan error)
	go func() { ended <- zk.Run(t.Context()) }() // the cleanup waits for it
	t.Cleanup(func() {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the accounts to be read", func() bool {
		return zk.Connected() && !slices.ContainsFunc(zk.Accounts(), func(a *coordinator.Account) bool { return !a.Status().LastRead })
	})
}

func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !happened(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// storedMetrics are those that tell what the store holds.
var storedMetrics = []string{
	"zhongkong_next_refresh_seconds", "zhongkong_calls_today", "zhongkong_open_attempts", "zhongkong_failures_in_a_row", "zhongkong_conflicts",
	"zhongkong_grant_status", "zhongkong_grant_ends_seconds", "zhongkong_grant_life_seconds", "zhongkong_grant_age_seconds",
}

// wantNone wants a scrape without samples of metrics.
func wantNone(t *testing.T, text string, names ...string) {
	t.Helper()
	for _, name := range names {
		if strings.Contains(text, "\n"+name+"{") {
			t.Errorf("there is %s", name)
		}
	}
}

// TestAProcessThatHasNotReadTheStoreTellsNothingOfIt has it start while the store is away. Were
// it to say 0 before it reads 3, that would look like three conflicts.
func TestAProcessThatHasNotReadTheStoreTellsNothingOfIt(t *testing.T) {
	store := memstore.New()
	store.SetDown(true)
	m := metrics.New(metrics.Build{Version: "v1"})
	zk, err := coordinator.New(coordinator.Config{Store: store, Accounts: []coordinator.AccountConfig{
		{Name: "wx1", Source: new(coordinatortest.Source)},
		{Name: "crm", Source: granted{new(coordinatortest.Source)}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	m.Follow(zk)
	text := scrape(m)
	wantNone(t, text, storedMetrics...)
	wantLines(t, text, `zhongkong_token_ttl_seconds{account="wx1"} 0`)
	store.SetDown(false)
	run(t, zk)
	wantLines(t, scrape(m),
		`zhongkong_conflicts{account="wx1"} 0`,
		`zhongkong_grant_status{account="crm",by="consent",condition="none"} 1`,
	)
}

// TestAProcessThatIsCutOffFromTheStoreTellsNothingOfIt: what it knew may be outdated, while
// the others of the fleet refresh.
func TestAProcessThatIsCutOffFromTheStoreTellsNothingOfIt(t *testing.T) {
	instance := memstore.New().Instance("one")
	m := metrics.New(metrics.Build{Version: "v1"})
	zk, err := coordinator.New(coordinator.Config{
		Store:    instance,
		Accounts: []coordinator.AccountConfig{{Name: "wx1", Source: new(coordinatortest.Source)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	addGrant(t, zk)
	m.Follow(zk)
	run(t, zk)
	for _, a := range zk.Accounts() {
		if _, err := a.Token(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	text := scrape(m)
	for _, name := range storedMetrics {
		if !strings.Contains(text, "\n"+name+"{") {
			t.Errorf("a process that has read the store lacks %s", name)
		}
	}
	instance.SetDown(true)
	eventually(t, "the process to be cut off", func() bool { return !zk.Connected() })
	text = scrape(m)
	wantNone(t, text, storedMetrics...)
	wantLines(t, text, `zhongkong_store_connected 0`)
	for _, name := range []string{"zhongkong_token_ttl_seconds", "zhongkong_token_generation"} {
		if !strings.Contains(text, "\n"+name+`{account="wx1"}`) {
			t.Errorf("a process that is cut off does not tell the %s that it serves", name)
		}
	}
}

// TestTheNamesOfTheGoClientAreThere has those that dashboards for any Go program ask for.
func TestTheNamesOfTheGoClientAreThere(t *testing.T) {
	text := scrape(metrics.New(metrics.Build{}))
	names := []string{
		"go_gc_duration_seconds", "go_gc_gogc_percent", "go_gc_gomemlimit_bytes", "go_goroutines", "go_info", "go_memstats_alloc_bytes",
		"go_memstats_alloc_bytes_total", "go_memstats_buck_hash_sys_bytes", "go_memstats_frees_total", "go_memstats_gc_sys_bytes",
		"go_memstats_heap_alloc_bytes", "go_memstats_heap_idle_bytes", "go_memstats_heap_inuse_bytes", "go_memstats_heap_objects",
		"go_memstats_heap_released_bytes", "go_memstats_heap_sys_bytes", "go_memstats_last_gc_time_seconds", "go_memstats_mallocs_total",
		"go_memstats_mcache_inuse_bytes", "go_memstats_mcache_sys_bytes", "go_memstats_mspan_inuse_bytes", "go_memstats_mspan_sys_bytes",
		"go_memstats_next_gc_bytes", "go_memstats_other_sys_bytes", "go_memstats_stack_inuse_bytes", "go_memstats_stack_sys_bytes",
		"go_memstats_sys_bytes", "go_sched_gomaxprocs_threads", "go_threads", "process_cpu_seconds_total", "process_start_time_seconds",
	}
	if runtime.GOOS == "linux" {
		names = append(names, "process_max_fds", "process_network_receive_bytes_total", "process_network_transmit_bytes_total", "process_open_fds",
			"process_resident_memory_bytes", "process_virtual_memory_bytes", "process_virtual_memory_max_bytes")
	}
	for _, name := range names {
		if !strings.Contains(text, "# TYPE "+name+" ") || !strings.Contains(text, "\n"+name) {
			t.Errorf("there is no %s", name)
		}
	}
}

func TestALabelNeedNotBeUTF8(t *testing.T) {
	m := metrics.New(metrics.Build{})
	m.Datagram("a\xffb\nc")
	wantLines(t, scrape(m), `zhongkong_datagrams_total{outcome="a?b\nc"} 1`)
}

func TestAScrapeIsCompressedWhereThatIsAccepted(t *testing.T) {
	m := metrics.New(metrics.Build{Version: "v1"})
	for accept, want := range map[string]string{"": "", "gzip": "gzip", "deflate, gzip;q=0.5": "gzip", "gzip;q=0": "", "br": ""} {
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Header.Set("Accept-Encoding", accept)
		w := httptest.NewRecorder()
		m.ServeHTTP(w, r)
		if got := w.Header().Get("Content-Encoding"); got != want {
			t.Errorf("%q gets the encoding %q", accept, got)
		}
		body := io.Reader(w.Body)
		if want != "" {
			var err error
			if body, err = gzip.NewReader(body); err != nil {
				t.Fatal(err)
			}
		}
		text, err := io.ReadAll(body)
		if err != nil || !strings.Contains(string(text), "\nzhongkong_build_info{") {
			t.Errorf("%q: %v, %q", accept, err, text)
		}
	}
}
