package metrics_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/metrics"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/proxy"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/tokenfile"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
	"github.com/zhongkong/zhongkong/redisstore"
)

const monitoring = "../../../../scripts/monitoring"

// everything returns a scrape in which every metric has a sample.
func everything(t *testing.T) string {
	t.Helper()
	m := metrics.New(metrics.Build{Version: "v1"})
	zk, err := coordinator.New(coordinator.Config{
		Store:    memstore.New().Instance("one"),
		Accounts: []coordinator.AccountConfig{{Name: "wx1", Source: new(coordinatortest.Source)}, {Name: "wx1.jsapi", Parent: "wx1"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	account, _ := zk.Account("wx1")
	if _, err := account.Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	addGrant(t, zk)
	run(t, zk)
	m.Follow(zk)
	m.FollowHTTP(served{}, served{})
	m.FollowStore(func() redisstore.Stats { return redisstore.Stats{Unconfirmed: 8} })
	m.FollowLog(func() uint64 { return 5 })
	m.FollowFiles(func() []tokenfile.Stats {
		return []tokenfile.Stats{{Account: "wx1", Path: "/run/a", Current: true, Written: 3}}
	})
	m.FollowRoutes(func() []proxy.Stats { return []proxy.Stats{{Route: "wx", Account: "wx1", Calls: 9, Cured: 2, Sent: 8}} })
	m.Observe(coordinator.Observation{Kind: coordinator.Fetched, Account: "wx1", Reason: coordinator.ReasonSchedule})
	m.Observe(coordinator.Observation{Kind: coordinator.Committed, Account: "wx1", Reason: coordinator.ReasonSchedule})
	m.Observe(coordinator.Observation{Kind: coordinator.Notified, Event: &coordinator.Event{Kind: coordinator.EventRefreshed}})
	m.Observe(coordinator.Observation{Kind: coordinator.Unreachable})
	m.Datagram("answered")
	return scrape(m)
}

// served is an HTTP interface that answered a few.
type served struct{}

func (served) Served(f func(string, int, uint64))       { f("/v1/tokens/{name}", 200, 7) }
func (served) StaleServed() uint64                      { return 3 }
func (served) Checks(f func(result string, n uint64))   { f("rejected", 1) }
func (served) WithoutCredentials() uint64               { return 4 }
func (served) ClosedConnections(f func(string, uint64)) { f("anonymous", 6) }
func (served) Reads(f func(string, string, uint64))     { f("app", "wx1", 5) }
func (served) Holding() int                             { return 2 }
func (served) Streams() int                             { return 1 }

func TestRoutesAreRead(t *testing.T) {
	wantLines(t, everything(t),
		`zhongkong_route_calls_total{account="wx1",result="answered",route="wx"} 9`,
		`zhongkong_route_rejected_tokens_total{account="wx1",route="wx",step="cured"} 2`,
		`zhongkong_route_bytes_total{account="wx1",direction="sent",route="wx"} 8`,
	)
}

func TestAChildSaysWhetherItsParentHasAToken(t *testing.T) {
	text := everything(t)
	wantLines(t, text, `zhongkong_parent_lacks_token{account="wx1.jsapi"} 0`)
	if strings.Contains(text, `zhongkong_parent_lacks_token{account="wx1"}`) {
		t.Error("an account without a parent has the metric")
	}
}

// A reader does not know what the source declares: the largest limit of a fleet would be its default.
func TestOnlyARefresherTellsTheLimitOfCalls(t *testing.T) {
	text := everything(t)
	wantLines(t, text, `zhongkong_calls_per_day{account="wx1"} 2000`)
	if strings.Contains(text, `zhongkong_calls_per_day{account="wx1.jsapi"}`) {
		t.Error("a reader tells a limit")
	}
}

func TestHTTPIsRead(t *testing.T) {
	wantLines(t, everything(t),
		`zhongkong_http_requests_total{code="200",endpoint="/v1/tokens/{name}"} 7`,
		`zhongkong_log_lines_dropped_total 5`, `zhongkong_stale_served_total 3`, `zhongkong_http_holding 2`,
		`zhongkong_token_reads_total{account="wx1",caller="app"} 5`,
		`zhongkong_http_without_credentials_total 4`, `zhongkong_http_connections_closed_total{kind="anonymous"} 6`, `zhongkong_http_streams 1`,
	)
}

func TestTheStoreIsRead(t *testing.T) {
	wantLines(t, everything(t),
		`zhongkong_store_problems_total{kind="unconfirmed"} 8`, `zhongkong_store_problems_total{kind="orphaned"} 0`)
}

// promtool runs Prometheus' own checker.
func promtool(t *testing.T, stdin string, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("there is no promtool, which checks what Prometheus is to read: apt-get install prometheus")
	}
	c := exec.Command(path, args...)
	c.Stdin = strings.NewReader(stdin)
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestPrometheusLikesTheMetrics(t *testing.T) {
	promtool(t, everything(t), "check", "metrics")
}

func TestPrometheusTakesTheAlerts(t *testing.T) {
	promtool(t, "", "check", "rules", filepath.Join(monitoring, "alerts.yml"))
	promtool(t, "", "test", "rules", filepath.Join(monitoring, "alerts_test.yml"))
}

// dashboard is what is looked at of a Grafana dashboard.
type dashboard struct {
	Panels []struct {
		ID      int
		Type    string
		Title   string
		GridPos struct{ H, W, X, Y int }
		Targets []struct{ RefID, Expr string }
	}
	Templating struct {
		List []struct{ Name string }
	}
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(monitoring, "grafana-dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTheDashboardHangsTogether(t *testing.T) {
	d := readDashboard(t)
	taken := make(map[[2]int]string)
	ids := make(map[int]bool)
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("%s: id %d is taken", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x > 23 {
					t.Fatalf("%s lies on %s or beside the grid", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("%s asks for nothing", p.Title)
		}
	}
}

// TestPrometheusTakesTheDashboardsQueries has them checked as rules.
func TestPrometheusTakesTheDashboardsQueries(t *testing.T) {
	d := readDashboard(t)
	variables := regexp.MustCompile(`\$(\w+)`)
	var rules strings.Builder
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	n := 0
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			expr := variables.ReplaceAllStringFunc(target.Expr, func(v string) string {
				known := slices.ContainsFunc(d.Templating.List, func(one struct{ Name string }) bool { return "$"+one.Name == v })
				if v == "$__rate_interval" {
					return "5m"
				}
				if !known {
					t.Errorf("%s: %s is no variable", p.Title, v)
				}
				return "x"
			})
			n++
			quoted, _ := json.Marshal(expr)
			fmt.Fprintf(&rules, "  - {record: \"dashboard:%d\", expr: %s}\n", n, quoted)
		}
	}
	path := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(path, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "", "check", "rules", path)
}

func TestWhatIsAskedForExists(t *testing.T) {
	text := everything(t)
	exists := make(map[string]bool)
	for _, found := range regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)`).FindAllStringSubmatch(text, -1) {
		exists[found[1]] = true
		if found[2] == "histogram" {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				exists[found[1]+suffix] = true
			}
		}
	}
	shown := make(map[string]bool)
	for _, file := range []string{"alerts.yml", "alerts_test.yml", "grafana-dashboard.json"} {
		content, err := os.ReadFile(filepath.Join(monitoring, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`\b(zhongkong|process|go)_[a-z_]+\b`).FindAllString(string(content), -1) {
			shown[name] = shown[name] || file == "grafana-dashboard.json"
			if !exists[name] {
				t.Errorf("%s asks for %s, which there is not", file, name)
			}
		}
	}
	for name := range exists {
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
		if strings.HasPrefix(name, "zhongkong_") && !shown[name] && !shown[base] && !shown[base+"_bucket"] {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
}

// What Redis keeps is a gauge, which goes back with Redis: a function of counters takes that for a
// restart, and the whole value for new.
func TestOnlyOfCountersIsAnIncreaseAskedFor(t *testing.T) {
	counts := make(map[string]bool)
	for _, found := range regexp.MustCompile(`(?m)^# TYPE (\S+) (counter|histogram)`).FindAllStringSubmatch(everything(t), -1) {
		counts[found[1]] = true
	}
	asked := regexp.MustCompile(`\b(?:rate|irate|increase|resets)\(([a-z_]+?)(?:_bucket|_sum|_count)?[{\[]`)
	for _, file := range []string{"alerts.yml", "grafana-dashboard.json"} {
		content, err := os.ReadFile(filepath.Join(monitoring, file))
		if err != nil {
			t.Fatal(err)
		}
		found := asked.FindAllStringSubmatch(string(content), -1)
		if len(found) == 0 {
			t.Errorf("%s asks for no increase", file)
		}
		for _, name := range found {
			if !counts[name[1]] {
				t.Errorf("%s: %s is no counter: %s", file, name[1], name[0])
			}
		}
	}
}

// TestEveryAlertHasAPage compares the alerts with the pages and the index of the runbook.
func TestEveryAlertHasAPage(t *testing.T) {
	const runbook = "../../docs/runbook"
	const address = "https://github.com/zhongkong/zhongkong/blob/main/cmd/zhongkong/docs/runbook/"
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	rules := regexp.MustCompile(`(?s)- alert: (\w+)\n.*?severity: (\w+).*?runbook_url: (\S+)`)
	alerts := rules.FindAllStringSubmatch(read(filepath.Join(monitoring, "alerts.yml")), -1)
	if n := strings.Count(read(filepath.Join(monitoring, "alerts.yml")), "- alert: "); n != len(alerts) {
		t.Errorf("of %d alerts, %d have a severity and a page", n, len(alerts))
	}
	for _, suffix := range []string{".md", ".zh-CN.md"} {
		index := read(filepath.Join(runbook, "README"+suffix))
		critical, warning, _ := strings.Cut(index, "`severity: warning`")
		for _, a := range alerts {
			name, severity := a[1], a[2]
			section := map[string]string{"critical": critical, "warning": warning}[severity]
			if !strings.Contains(section, "| ["+name+"]("+name+suffix+") | ") {
				t.Errorf("README%s does not list %s as %s", suffix, name, severity)
			}
			if a[3] != address+name+".md" {
				t.Errorf("%s: runbook_url is %s", name, a[3])
			}
			read(filepath.Join(runbook, name+suffix))
		}
		if pages, _ := filepath.Glob(filepath.Join(runbook, "Zhongkong*[a-z]"+suffix)); suffix == ".zh-CN.md" && len(pages) != len(alerts) {
			t.Errorf("%d pages for %d alerts", len(pages), len(alerts))
		}
	}
}
