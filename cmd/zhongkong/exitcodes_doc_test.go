package main

import (
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
