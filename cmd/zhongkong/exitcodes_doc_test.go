package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestThePageOfExitCodesIsTrue runs its examples, each in a situation that makes it so.
func TestThePageOfExitCodesIsTrue(t *testing.T) {
	b := newBench(t)
	rows := regexp.MustCompile("(?m)^\\| (\\d) \\| .* \\| `zhongkong ([^`]*)`").FindAllStringSubmatch(readText(t, "cmd/zhongkong/docs/reference/exit-codes.md"), -1)
	if len(rows) != exitThrottled+1 {
		t.Fatalf("the page has %d codes, want %d", len(rows), exitThrottled+1)
	}
	for i, row := range rows {
		code, _ := strconv.Atoi(row[1])
		if code != i {
			t.Errorf("code %d is in row %d", code, i)
		}
		in := b
		switch code {
		case exitNoToken:
			in = newBench(t).with("ZHONGKONG_SECRET", "")
		case exitRefused:
			in = newBench(t).with("ZHONGKONG_SECRET", wrongSecret)
		case exitThrottled:
			in = b.with("ZHONGKONG_BUDGET_PER_DAY", "30", "ZHONGKONG_BUDGET_RESERVE", "29")
		}
		if r := in.run(strings.Fields(row[2])...); r.code != code {
			t.Errorf("zhongkong %s: exit code %d, the page has %d\n%s", row[2], r.code, code, r.stderr)
		}
	}
}

// TestThePageOfExitCodesHasThoseOfTheChecks runs each check in a situation for each of its codes.
func TestThePageOfExitCodesHasThoseOfTheChecks(t *testing.T) {
	b := newBench(t)
	d := b.serve()
	d.ready()
	broken := b.with("ZHONGKONG_CONFIG", b.file("zk.yaml", "accounts: ["), "ZHONGKONG_LISTEN", "")
	unusable := newBench(t).with("ZHONGKONG_SECRET", wrongSecret)
	for _, c := range []struct {
		in   *bench
		code int
		args []string
	}{
		{b, exitDone, []string{"check"}},
		{broken, exitUsage, []string{"check"}},
		{b, exitDone, []string{"doctor"}},
		{unusable, exitOther, []string{"doctor"}},
		{broken, exitUsage, []string{"doctor"}},
		{b, exitDone, []string{"health", d.url}},
		{b, exitOther, []string{"health", "http://" + freeAddress(t)}},
		{broken, exitUsage, []string{"health"}},
		{b, exitUsage, []string{"health", "nowhere"}},
	} {
		if r := c.in.run(c.args...); r.code != c.code {
			t.Errorf("zhongkong %s: exit code %d, want %d\n%s", strings.Join(c.args, " "), r.code, c.code, r.stderr)
		}
	}
	for file, form := range map[string]string{
		"exit-codes.md":       "`check` ends with %d or %d, `doctor` and `health` with %d, %d or %d",
		"exit-codes.zh-CN.md": "`check` 以 %d 或 %d 退出，`doctor` 和 `health` 以 %d、%d 或 %d 退出",
	} {
		words := fmt.Sprintf(form, exitDone, exitUsage, exitDone, exitOther, exitUsage)
		if !strings.Contains(readText(t, "cmd/zhongkong/docs/reference/"+file), words) {
			t.Errorf("%s does not say: %s", file, words)
		}
	}
}
