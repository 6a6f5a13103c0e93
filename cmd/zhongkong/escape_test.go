package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

// nasty is text in Redis that attacks the terminal of
// an operator: a title, a bell, a cleared screen, a forged line, C1 controls
// as UTF-8 and as a byte, DEL, and text that runs backwards.
const nasty = "\x1b]0;OWNED\a\x1b[2J\r\nzhongkong: all is well\t\u009b1m\x9b31m\x7f\u202eevil\u2066\u2028"

func TestCleanShowsWhatIsNotPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                      "",
		"invalid ip 1.2.3.4, 请": "invalid ip 1.2.3.4, 请",
		"e\u0301\u3000\u00a0":   "e\u0301\u3000\u00a0",
		"\x1b[2J\a":             `\x1b[2J\x07`,
		"a\r\n\tb":              `a\r\n\tb`,
		"\x7f\u0085\u009b":      `\x7f\u0085\u009b`,
		"\x9b\xff":              `\x9b\xff`,
		"\u202e\u2069\u200b":    `\u202e\u2069\u200b`,
		"\ufffd\U000e0041":      "\ufffd" + `\U000e0041`,
	} {
		if got := escape(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
	err := &cleanError{errors.Join(errors.New("a\nb"), fmt.Errorf("c: %w", context.Canceled))}
	if got, want := err.Error(), `a\nb; c: context canceled`; got != want || !errors.Is(err, context.Canceled) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestJSONMeansTheSameWhateverIsEscaped(t *testing.T) {
	in := strings.ToValidUTF8(nasty, "?") + "\U000e0041 é 请"
	var out strings.Builder
	p := program{stdout: &out}
	if err := p.printJSON(map[string]string{"x": in}); err != nil {
		t.Fatal(err)
	}
	isHarmless(t, "printJSON", out.String())
	var back map[string]string
	if err := json.Unmarshal([]byte(out.String()), &back); err != nil || back["x"] != in {
		t.Errorf("%s means %q, want %q", out.String(), back["x"], in)
	}
}

// isHarmless fails the test if text would do more to a terminal than to be
// shown in the lines that it has.
func isHarmless(t *testing.T, what, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("%s is not UTF-8: %q", what, text)
	}
	for _, r := range text {
		if r != '\n' && !unicode.IsGraphic(r) {
			t.Errorf("%s holds %q:\n%q", what, r, text)
			return
		}
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "zhongkong: all is well") {
			t.Errorf("%s has a forged line:\n%s", what, text)
		}
	}
}

// looks runs every command that looks at the account.
func (b *bench) looks(poisoned string) {
	b.t.Helper()
	for _, args := range [][]string{
		{"status"}, {"status", appID}, {"history", appID}, {"doctor", appID}, {"doctor"}, {"show", "--wait", "50ms"}, {"show", appID, "--wait", "50ms"},
	} {
		for _, more := range [][]string{nil, {"--json"}} {
			args := append(args[:len(args):len(args)], more...)
			r := b.run(args...)
			what := fmt.Sprintf("%s: %s", poisoned, strings.Join(args, " "))
			isHarmless(b.t, what+", stdout", r.stdout)
			isHarmless(b.t, what+", stderr", r.stderr)
			if more != nil && r.stdout != "" && !json.Valid([]byte(r.stdout)) {
				b.t.Errorf("%s is no JSON: %q", what, r.stdout)
			}
		}
	}
}

func TestNothingInRedisCommandsTheTerminal(t *testing.T) {
	b := newBench(t)
	key := func(what string) string { return b.env["ZHONGKONG_PREFIX"] + ":{" + appID + "}:" + what }
	do := func(args ...any) { t.Helper(); sharedRedis.MustDo(t, args...) }
	reset := func() {
		do("DEL", key("token"), key("state"), key("lock"), key("attempts"), key("log"), key("calls:20261126"))
		do("HSET", key("token"), "access_token", "T", "generation", 5, "issued_at", "2026-11-26T05:00:00.000Z",
			"expires_at", "2036-11-26T05:00:00.000Z", "issued_by", "one")
		do("PEXPIRE", key("token"), 7200000)
		do("HSET", key("state"), "fence", 5, "failures", 1, "retry_at", 1, "last_error", "busy", "last_error_at", time.Now().UnixMilli(), "conflicts", 1)
	}
	// The name of an account that only SCAN finds.
	do("HSET", b.env["ZHONGKONG_PREFIX"]+":{wx"+nasty+"}:state", "fence", 1, "last_error", nasty, "last_error_at", 1)
	b = b.reader()

	for what, fields := range map[string][]string{
		"token": {"access_token", "generation", "issued_at", "expires_at", "issued_by", nasty},
		"state": {
			"fence", "failures", "retry_at", "last_error", "last_error_code", "last_error_at", "last_error_kind", "conflicts",
			"refresh_at", "demanded_at", "refused_credential", "failed_fence", nasty,
		},
	} {
		for _, field := range fields {
			reset()
			do("HSET", key(what), field, nasty)
			b.looks(what + "." + field)
		}
	}
	reset()
	do("SET", key("lock"), nasty+"/x", "PX", 60000)
	b.looks("lock")
	reset()
	do("ZADD", key("attempts"), 1, nasty)
	b.looks("attempts")
	reset()
	do("SET", key("calls:"+time.Now().UTC().Add(8*time.Hour).Format("20060102")), nasty)
	b.looks("calls")
	reset()
	for _, event := range []string{"failed", "refreshed", "conflict", nasty} {
		entry := []any{"XADD", key("log"), "*", "event", event}
		for _, field := range []string{"by", "asked_by", "reason", "error", "kind"} {
			entry = append(entry, field, nasty)
		}
		do(append(entry, "fence", 1, "code", 40125)...)
		for _, field := range []string{"fence", "took_ms", "life_ms", "ttl_ms", "code", "retry_ms", "newer", "generation", nasty} {
			entry = append(entry, field, nasty)
		}
		do(entry...)
	}
	b.looks("log")
	for _, what := range []string{"token", "state", "lock", "attempts", "log"} {
		reset()
		do("DEL", key(what))
		do("HSET", key(what), nasty, nasty)
		b.looks("a hash for " + what)
	}
}

func TestNoEventCommandsTheTerminal(t *testing.T) {
	b := newBench(t)
	b.must("show")
	channel := func(kind string) string { return b.env["ZHONGKONG_PREFIX"] + ":{" + appID + "}:" + kind }
	plain := b.reader().start(context.Background(), "", "watch", "--all")
	plain.says("watching") // the cli package has a global: not two starts at once
	asJSON := b.reader().start(context.Background(), "", "watch", "--all", "--json")
	asJSON.says("watching")
	publish := func(kind string, fields map[string]any) {
		for _, text := range []string{"by", "reason", "kind", "error", "limit", "issued_by", "credential"} {
			if fields[text] == nil {
				fields[text] = nasty
			}
		}
		message, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		sharedRedis.MustDo(t, "PUBLISH", channel(kind), message)
	}
	events := 0
	for _, one := range []struct {
		channel string
		fields  map[string]any
	}{
		{"refreshed", map[string]any{"event": "failed", "retry_ms": 1000}},
		{"refreshed", map[string]any{"event": "failed", "retry_ms": 1000, "code": 40125}},
		{"refreshed", map[string]any{"event": "throttled", "retry_ms": 1000}},
		{"refreshed", map[string]any{"event": "refreshed", "access_token": "T", "generation": 7, "ttl_ms": 7000000,
			"issued_at": "2026-11-26T05:00:00.000Z", "expires_at": "2026-11-26T07:00:00.000Z"}},
		{"wanted", map[string]any{"event": "wanted", "generation": 1}},
		{"begun", map[string]any{"event": "begun", "fence": 9, "deadline_ms": 10000}},
	} {
		publish(one.channel, one.fields)
		events++
	}
	publish("refreshed", map[string]any{"event": nasty}) // not one of ours: not shown
	publish("refreshed", map[string]any{"event": "failed", "error": "the last one"})
	b.eventually("the events", func() bool {
		return strings.Contains(plain.stdout.String(), "the last one") && strings.Contains(asJSON.stdout.String(), "the last one")
	})
	for what, r := range map[string]*running{"watch": plain, "watch --json": asJSON} {
		out := r.stop()
		isHarmless(t, what, out.stdout)
		isHarmless(t, what+", stderr", out.stderr)
		if n := strings.Count(out.stdout, "\n"); n != events+1 {
			t.Errorf("%s = %d lines, want %d:\n%s", what, n, events+1, out.stdout)
		}
	}

	// What a refresher has stored reaches the error of who waits.
	b = b.with("ZHONGKONG_SECRET", "")
	now := time.Now().UnixMilli()
	key := b.env["ZHONGKONG_PREFIX"] + ":{" + appID + "}:"
	sharedRedis.MustDo(t, "DEL", key+"token")
	sharedRedis.MustDo(t, "HSET", key+"state", "failures", 1, "retry_at", now+600000, "last_error", nasty, "last_error_code", 40125,
		"last_error_at", now, "last_error_kind", "refused")
	out := b.fails(exitRefused, "OWNED", "show")
	isHarmless(t, "show, stderr", out.stderr)
	if strings.Count(out.stderr, "\n") != 1 {
		t.Errorf("show says %q, want one line", out.stderr)
	}
}

func TestATokenWithControlCharactersIsNotPrinted(t *testing.T) {
	b := newBench(t)
	b.must("show")
	sharedRedis.MustDo(t, "HSET", b.env["ZHONGKONG_PREFIX"]+":{"+appID+"}:token", "access_token", "90_x\r\nX-Admin: yes\x1b[2J")
	if r := b.fails(exitOther, "the token in Redis has control characters", "show"); r.stdout != "" {
		t.Errorf("show = %q", r.stdout)
	}
}
