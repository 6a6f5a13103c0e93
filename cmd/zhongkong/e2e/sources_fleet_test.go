//go:build unix

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// sourceFleet is five members and the issuers that they ask.
type sourceFleet struct {
	t       *testing.T
	redis   *redistest.Server
	gates   []*gate
	members []*memberProcess

	reporting chan struct{} // holds one for each row whose callers report: some at a time
}

// shared is the prefix of a fleet.
const shared = "every-source"

// newSourceFleet starts a process for each prefix, all of which ask the same issuers. They
// do not run yet.
func newSourceFleet(t *testing.T, prefixes ...string) *sourceFleet {
	t.Helper()
	f := &sourceFleet{t: t, redis: redistest.Start(t), reporting: make(chan struct{}, 3)}
	gates, dir := startGates(t)
	f.gates = gates
	with := membership{Redis: f.redis.URL(), Dir: dir, Issuers: make(map[string]string)}
	for _, g := range gates {
		with.Issuers[g.name] = g.url
	}
	for _, with.Prefix = range prefixes {
		text, err := json.Marshal(with)
		if err != nil {
			t.Fatal(err)
		}
		f.members = append(f.members, startMember(t, string(text)))
	}
	return f
}

// run has the members begin at the same time.
func (f *sourceFleet) run(members ...*memberProcess) {
	f.t.Helper()
	var starting sync.WaitGroup
	for _, m := range members {
		starting.Go(func() {
			if err := m.do("POST", "/run", nil, "", nil); err != nil {
				f.t.Error(err)
			}
		})
	}
	starting.Wait()
}

// each does something for all rows at the same time.
func (f *sourceFleet) each(what string, do func(g *gate) error) {
	f.t.Helper()
	var all sync.WaitGroup
	for _, g := range f.gates {
		all.Go(func() {
			if err := do(g); err != nil {
				f.t.Errorf("%s: %s: %v", g.name, what, err)
			}
		})
	}
	all.Wait()
}

// token returns what all members hold in the end: one token, which lives.
func (f *sourceFleet) token(g *gate, members []*memberProcess) (string, error) {
	account := url.Values{"account": {accountOf(g.sourceRow)}}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		tokens := make(map[string]bool)
		var last string
		for _, m := range members {
			if err := m.do("GET", "/token", account, "", &last); err != nil {
				return "", err
			}
			tokens[last] = true
		}
		switch {
		case len(tokens) == 1 && g.lives(last):
			return last, nil
		case time.Now().After(end):
			return "", fmt.Errorf("the processes hold %d tokens; the last one is alive: %t", len(tokens), g.lives(last))
		}
	}
}

// callers is how many report a token, in all processes together.
const callers = 400

// reported has all callers report a token and returns the outcomes.
func (f *sourceFleet) reported(g *gate, token string) (map[string]int, error) {
	f.reporting <- struct{}{}
	defer func() { <-f.reporting }()
	query := url.Values{"account": {accountOf(g.sourceRow)}, "n": {fmt.Sprint(callers / len(f.members))}}
	outcomes, errs := make(chan map[string]int, len(f.members)), make(chan error, len(f.members))
	for _, m := range f.members {
		go func() { // ends with the request; its outcome is awaited below
			var counts map[string]int
			err := m.do("POST", "/report", query, token, &counts)
			outcomes <- counts
			errs <- err
		}()
	}
	sum := make(map[string]int)
	var failed error
	for range f.members {
		for outcome, n := range <-outcomes {
			sum[outcome] += n
		}
		if err := <-errs; err != nil {
			failed = err
		}
	}
	return sum, failed
}

// told says how the reports of a token ended, without the tokens.
func told(outcomes map[string]int, reported, next string) string {
	var parts []string
	for outcome, n := range outcomes {
		switch {
		case outcome == reported:
			outcome = "got the reported token"
		case outcome == next:
			outcome = "got the new token"
		case outcome != held && !strings.HasPrefix(outcome, "error: "):
			outcome = "got another token"
		}
		parts = append(parts, fmt.Sprintf("%d %s", n, outcome))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// quiet waits until no call is under way or unsettled.
func (f *sourceFleet) quiet(g *gate) error {
	key := func(what string) string { return shared + ":{" + accountOf(g.sourceRow) + "}:" + what }
	ctx := context.Background()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		open, err := f.redis.Do(ctx, "ZCARD", key("attempts"))
		if err != nil {
			return err
		}
		locked, err := f.redis.Do(ctx, "EXISTS", key("lock"))
		if err != nil {
			return err
		}
		if open == int64(0) && locked == int64(0) {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%v open attempts, %v locks", open, locked)
		}
	}
}

// complaints has the issuers say how the calls differed from what is documented.
func (f *sourceFleet) complaints() {
	f.t.Helper()
	f.each("complaints", func(g *gate) error {
		if g.wrong == nil || len(g.wrong()) == 0 {
			return nil
		}
		return fmt.Errorf("%q", g.wrong())
	})
}

// Five processes that start at once ask each issuer once. Then 400 callers report the
// token: if it was dead they all get the next one, for one call. If it lives, and the
// issuer repeats it, they get it again for one call, and no loop begins.
func TestFiveProcessesAskEverySourceOnce(t *testing.T) {
	t.Parallel()
	f := newSourceFleet(t, shared, shared, shared, shared, shared)
	f.run(f.members...)

	var mu sync.Mutex
	first := make(map[*gate]string)
	f.each("a cold start", func(g *gate) error {
		token, err := f.token(g, f.members)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		first[g] = token
		return g.wasAsked(1)
	})
	if t.Failed() {
		return
	}

	repeats := func(g *gate) bool { return g.repeat == coordinator.RepeatSame && !g.forces }
	time.Sleep(holding) // the first answers are held for so long
	f.each("400 reports of a living token", func(g *gate) error {
		if !repeats(g) {
			return nil
		}
		outcomes, err := f.reported(g, first[g])
		if err != nil {
			return err
		}
		if n := outcomes[first[g]]; n == 0 || n+outcomes[held] != callers {
			return fmt.Errorf("%s; want all %d to get the reported token, or to be held back", told(outcomes, first[g], ""), callers)
		}
		return g.wasAsked(2)
	})

	time.Sleep(holding)
	f.each("400 reports of a dead token", func(g *gate) error {
		if err := g.end(); err != nil {
			return err
		}
		before, _, _ := g.asked()
		if repeats(g) != (before > 1) {
			return fmt.Errorf("%d calls before", before)
		}
		outcomes, err := f.reported(g, first[g])
		if err != nil {
			return err
		}
		token, err := f.token(g, f.members)
		if err != nil {
			return err
		}
		if token == first[g] || outcomes[token] != callers {
			return fmt.Errorf("%s; want all %d to get the new token", told(outcomes, first[g], token), callers)
		}
		if err := f.quiet(g); err != nil {
			return err
		}
		return g.wasAsked(before + 1)
	})
	f.complaints()
}

// The process that asks is killed while its calls are under way, when the tokens have
// been issued. The others ask each issuer once more.
func TestEverySourceIsAskedAgainWhenTheHolderIsKilled(t *testing.T) {
	t.Parallel()
	f := newSourceFleet(t, shared, shared, shared, shared, shared)
	holder, others := f.members[0], f.members[1:]
	for _, g := range f.gates {
		g.hold(true)
	}
	f.run(holder)
	f.each("the holder's call", func(g *gate) error {
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if _, _, held := g.asked(); len(held) == 1 {
				return nil
			}
		}
		return fmt.Errorf("it did not come")
	})
	f.run(others...)
	known := f.contend(others)
	if t.Failed() {
		return
	}
	if err := holder.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	for _, g := range f.gates {
		g.hold(false)
	}
	f.each("another takes over", func(g *gate) error {
		token, err := f.token(g, others)
		if err != nil {
			return err
		}
		if err := f.quiet(g); err != nil {
			return err
		}
		if _, _, held := g.asked(); strings.Contains(held[0], token) != (g.repeat == coordinator.RepeatSame) {
			return fmt.Errorf("the token is the one that was lost: %t, and a repeated call answers the same: %q",
				strings.Contains(held[0], token), g.repeat)
		}
		return g.wasAsked(2)
	})
	t.Logf("%d calls, of which each of the others knew %d; all tokens were there %v after the kill", len(f.gates), known, time.Since(killed))
	f.complaints()
}

// contend waits until the members know of the holder's calls, but not so long that the
// holder gives them up. It returns how many of the calls the one knows that knows least.
func (f *sourceFleet) contend(members []*memberProcess) int {
	f.t.Helper()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		least := len(f.gates)
		for _, m := range members {
			var busy int
			if err := m.do("GET", "/busy", nil, "", &busy); err != nil {
				f.t.Fatal(err)
			}
			least = min(least, busy)
		}
		if least == len(f.gates) || time.Now().After(end) {
			return least
		}
	}
}

// The same five processes, each for itself: that is what a fleet saves.
func TestProcessesWithoutAFleetAskEverySourceFiveTimes(t *testing.T) {
	t.Parallel()
	f := newSourceFleet(t, "a", "b", "c", "d", "e")
	f.run(f.members...)
	f.each("a cold start", func(g *gate) error {
		tokens := make(map[string]bool)
		for _, m := range f.members {
			var token string
			if err := m.do("GET", "/token", url.Values{"account": {accountOf(g.sourceRow)}}, "", &token); err != nil {
				return err
			}
			tokens[token] = true
		}
		want := 5
		if g.repeat == coordinator.RepeatSame {
			want = 1
		}
		// A ticket is asked for more often: the processes end each other's access_token.
		if calls, _, _ := g.asked(); calls < 5 || len(tokens) != want {
			return fmt.Errorf("%d calls brought %d tokens, want at least 5 calls and %d tokens", calls, len(tokens), want)
		}
		return nil
	})
}
