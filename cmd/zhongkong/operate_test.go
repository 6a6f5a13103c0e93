package main

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

func TestStatusIsATableWithoutTokens(t *testing.T) {
	b := newBench(t)
	before := b.must("status")
	if !strings.Contains(before, appID) || !strings.Contains(before, "none") || !strings.Contains(before, "start zhongkong serve") {
		t.Errorf("status without a token:\n%s", before)
	}
	b.must("show")
	b.must("refresh")
	out := b.must("status")
	if strings.Contains(out, "start zhongkong serve") {
		t.Errorf("status with a token:\n%s", out)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 2 {
		t.Fatalf("status = %d lines, want 2:\n%s", len(lines), out)
	}
	for _, column := range []string{"ACCOUNT", "GENERATION", "AGE", "TTL", "NEXT", "LOCK", "CALLS", "OPEN", "LAST ERROR"} {
		at := strings.Index(lines[0], column)
		if at < 0 || at > 0 && lines[1][at-1] != ' ' || lines[1][at] == ' ' {
			t.Errorf("the column %s is missing or not aligned:\n%s", column, out)
		}
	}
	for _, want := range []string{"1h59m", "in 1h00m", "2/2000"} {
		if !strings.Contains(lines[1], want) {
			t.Errorf("status lacks %q:\n%s", want, out)
		}
	}
	if reader := b.reader().must("status"); !strings.Contains(reader, appID) {
		t.Errorf("a reader's status:\n%s", reader)
	}
}

func TestAnAccountThatIsNamedTwiceIsShownOnce(t *testing.T) {
	b := newBench(t)
	b.must("show")
	other := b.with("ZHONGKONG_APPID", "wx-other")
	other.fails(exitRefused, "AppID", "show")
	for _, args := range [][]string{{"wx-other", appID, "wx-other"}, {appID, appID, "wx-other"}} {
		out := b.must(append([]string{"status"}, args...)...)
		if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) != 3 || !strings.HasPrefix(lines[1], args[0]) {
			t.Errorf("status %v:\n%s", args, out)
		}
	}
}

func TestStatusShowsWhatWentWrong(t *testing.T) {
	b := newBench(t)
	b.must("show")
	b.inject(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: 40164, Message: "invalid ip 1.2.3.4, not in whitelist"})
	b.fails(exitRefused, "1.2.3.4", "refresh")
	if out := b.must("status"); !strings.Contains(out, "40164: ") || !strings.Contains(out, "1.2.3.4") || !strings.Contains(out, "1h59m") {
		t.Errorf("status = %s, want the refusal beside the token that lives on", out)
	}
	var list []wire.Account
	if err := json.Unmarshal([]byte(b.must("status", "--json")), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].LastError == nil || list[0].LastError.Code != "40164" || list[0].LastError.InARow != 1 || list[0].Generation == 0 {
		t.Errorf("status --json = %+v", list)
	}
}

func TestHistoryIsNewestFirst(t *testing.T) {
	b := newBench(t)
	b.must("show")
	b.must("refresh")
	b.inject(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: 40125})
	b.fails(exitRefused, "40125", "refresh")
	lines := strings.Split(strings.TrimSpace(b.must("history")), "\n")
	if len(lines) != 4 || !strings.Contains(lines[1], "40125") || !strings.Contains(lines[2], "forced") || !strings.Contains(lines[3], "missing") {
		t.Errorf("history =\n%s", strings.Join(lines, "\n"))
	}
	if asked := whoRuns() + " (cli)"; !strings.Contains(lines[1], asked) || !strings.Contains(lines[2], asked) || strings.Contains(lines[3], asked) {
		t.Errorf("history does not say that %q asked:\n%s", asked, strings.Join(lines, "\n"))
	}
	var entries []wire.LogEntry
	if err := json.Unmarshal([]byte(b.must("history", "-n", "2", "--json")), &entries); err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 || entries[0].Event != "failed" || entries[0].Code != "40125" || entries[1].Event != "refreshed" || entries[1].Fence == 0 {
		t.Errorf("history --json = %+v", entries)
	}
}

func TestWatchPrintsALineForEachEvent(t *testing.T) {
	b := newBench(t)
	b.must("show")
	plain := b.start(context.Background(), "", "watch")
	plain.says("watching " + appID)
	asJSON := b.reader().start(context.Background(), "", "watch", appID, "--json", "--all")
	asJSON.says("watching " + appID)
	b.must("refresh")
	b.inject(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: 40125})
	b.fails(exitRefused, "40125", "refresh")
	b.eventually("the events", func() bool {
		return strings.Count(plain.stdout.String(), "\n") >= 2 && strings.Contains(asJSON.stdout.String(), "40125")
	})
	out := plain.stop()
	if out.code != exitDone || !strings.Contains(out.stdout, "refreshed  "+appID) || !strings.Contains(out.stdout, "40125: ") {
		t.Errorf("watch = %d\n%s", out.code, out.stdout)
	}
	events := map[string]wire.Event{}
	for line := range strings.Lines(asJSON.stop().stdout) {
		var e wire.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		events[e.Type] = e
	}
	if e := events["refreshed"]; e.Generation == 0 || e.Account != appID || e.Reason != "forced" || e.TTLSeconds < 7000 {
		t.Errorf("refreshed = %+v", e)
	}
	if e := events["failed"]; e.Code != "40125" || e.Kind != "refused" {
		t.Errorf("failed = %+v", e)
	}
	if e := events["begun"]; e.Fence == 0 {
		t.Errorf("begun = %+v, want it with --all", e)
	}
}

func TestWatchWithoutRedisEndsAtOnce(t *testing.T) {
	newBench(t).with("ZHONGKONG_REDIS", "redis://127.0.0.1:1").fails(exitUnreachable, "127.0.0.1:1", "watch")
}

func TestBriefSaysTheTwoLargestUnits(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0ms", 250 * time.Millisecond: "250ms", 1500 * time.Millisecond: "1.5s", 59 * time.Second: "59s",
		90 * time.Second: "1m30s", time.Hour + 59*time.Minute + 30*time.Second: "1h59m",
		49 * time.Hour: "2d1h", -90 * time.Second: "-1m30s", 59*time.Minute + 59*time.Second + 700*time.Millisecond: "1h00m",
	} {
		if got := brief(d); got != want {
			t.Errorf("brief(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestATableIsAlignedWhateverIsWide(t *testing.T) {
	var b strings.Builder
	if err := table(&b, [][]string{{"A", "B"}, {"商城（一）", "x"}, {"shop e\u0301", "y"}}); err != nil {
		t.Fatal(err)
	}
	if want := "A           B\n商城（一）  x\nshop e\u0301      y\n"; b.String() != want {
		t.Errorf("table =\n%s\nwant\n%s", b.String(), want)
	}
}

func TestTheDaemonTellsOfAnAccountWhatStatusPrints(t *testing.T) {
	b := newBench(t)
	path := b.file("zk.yaml", "accounts:\n- {name: shop, appid: "+appID+", secret_env: S, label: 商城 Shop, refresh_every: 40m}\n")
	b = b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "S", secret, "ZHONGKONG_CONFIG", path)
	d := b.serve()
	d.ready()
	states := func(text string) (list []wire.Account) {
		t.Helper()
		if err := json.Unmarshal([]byte(text), &list); err != nil || len(list) != 1 {
			t.Fatalf("%v: %s", err, text)
		}
		return list
	}
	var printed wire.Account // once the lock of the first refresh is released
	b.eventually("no process to hold the lock", func() bool {
		printed = states(b.must("status", "--json"))[0]
		return printed.LockHolder == ""
	})
	status, body := d.get("/v1/accounts")
	told := states(body)[0]
	if status != http.StatusOK || told.Label != "商城 Shop" || told.TTLSeconds == 0 {
		t.Errorf("GET /v1/accounts: %d %s", status, body)
	}
	if off := told.NextRefresh.Sub(printed.NextRefresh.Time).Abs(); off > time.Minute { // a fleet's refreshes are spread
		t.Errorf("the next refresh is %v, status prints %v", told.NextRefresh, printed.NextRefresh)
	}
	for _, a := range []*wire.Account{&told, &printed} {
		a.NextRefresh, a.AgeSeconds, a.TTLSeconds = wire.Time{}, 0, 0
	}
	if printed.Overdue == nil || *printed.Overdue != 0 {
		t.Errorf("status --json does not count overdue attempts: %+v", printed)
	}
	printed.Overdue = nil
	if !reflect.DeepEqual(told, printed) {
		t.Errorf("the daemon tells\n%+v, status prints\n%+v", told, printed)
	}
}

func TestStatusShowsLabelsWhereThereAreSome(t *testing.T) {
	b := newBench(t)
	b.must("show")
	if out := b.must("status"); strings.Contains(out, "LABEL") {
		t.Errorf("status has a column without content:\n%s", out)
	}
	path := b.file("zk.yaml", "accounts:\n- {appid: "+appID+", secret_env: S, label: 商城 Shop}\n- {appid: wxb}\n")
	b = b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "S", secret, "ZHONGKONG_CONFIG", path)
	lines := strings.Split(b.must("status"), "\n")
	if fields := strings.Fields(lines[0]); fields[1] != "LABEL" || !strings.HasPrefix(lines[1], appID+"  商城 Shop  ") || strings.Fields(lines[2])[1] != "-" {
		t.Errorf("status = %s", strings.Join(lines, "\n"))
	}
	var list []wire.Account
	if err := json.Unmarshal([]byte(b.must("status", "--json")), &list); err != nil {
		t.Fatal(err)
	}
	if list[0].Label != "商城 Shop" || list[1].Label != "" {
		t.Errorf("status --json = %+v", list)
	}
}
