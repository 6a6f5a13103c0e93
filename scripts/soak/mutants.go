package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// mutant is a build with one rule of the protocol broken on purpose.
type mutant struct {
	name    string
	patches []patch
}

// patch replaces the first occurrence of a text in a file, which must have it.
type patch struct{ file, from, to string }

func mutants() []mutant {
	return []mutant{
		{"commit does not look at the fence", []patch{
			{"redisstore/lua/commit.lua", "last_fence > fence or generation > fence or credible(fence) == 0", "false"},
		}},
		{"attempts are not announced", []patch{
			{"redisstore/lua/begin.lua", "redis.call('ZADD', KEYS[3], digits(now + ARGV[7]), name)", ""},
		}},
		{"a reconnect is not followed by a reading", append(unread(),
			patch{"coordinator/watcher.go", "\tw.c.following(len(accounts))\n", "\tw.c.following(len(accounts))\n\tif w.c.Stats().Disconnects > 0 {\n\t\treturn\n\t}\n"},
		)},
		{"what the store lost is not restored", []patch{
			{"coordinator/view_bystore.go", "missing := e.refresher() &&", "missing := false && e.refresher() &&"},
		}},
		{"the source is called without the lock while Redis is away", []patch{
			{"coordinator/refresh.go", "\tx.lock, err = r.c.store.Lock(asking, r.a.name, r.c.cfg.LockTTL)\n",
				"\tx.lock, err = r.c.store.Lock(asking, r.a.name, r.c.cfg.LockTTL)\n\tif errors.Is(err, ErrUnreachable) {\n\t\tx.lock, err = freeLock{}, nil\n\t}\n"},
			{"coordinator/refresh.go", "// begin announces the attempt,",
				"type freeLock struct{}\n\nfunc (freeLock) Extend(context.Context, Fence) error { return nil }\nfunc (freeLock) Unlock(context.Context) error { return nil }\n\n// begin announces the attempt,"},
			{"coordinator/refresh.go", "\tvar throttled *ThrottledError\n\tswitch {\n",
				"\tif errors.Is(err, ErrUnreachable) {\n\t\tattempt, err = Attempt{Fence: r.seen + 1}, nil\n\t}\n\tvar throttled *ThrottledError\n\tswitch {\n"},
			{"coordinator/round.go", "if _, err := a.read(ctx); err != nil {", "if _, err := a.read(ctx); err != nil && !errors.Is(err, ErrUnreachable) {"},
			{"coordinator/scheduler.go", "case e.down.pauses(e.wall):", "case false && e.down.pauses(e.wall):"},
		}},
		{"commit settles every open attempt", []patch{
			{"redisstore/lua/commit.lua", "redis.pcall('ZREM', KEYS[3], ARGV[3])", "redis.pcall('DEL', KEYS[3])"},
		}},
		{"an unknown outcome counts as none", []patch{
			{"redisstore/lua/fail.lua", "if kind == 'unknown' then", "if false then"},
		}},
		{"a subscription that hangs is not noticed", append(unread(),
			patch{"redisstore/connection.go", "if missed >= maxMissedPings {", "if false {"},
			patch{"redisstore/connection.go", "c.end(c.pubsub.WatchMaster(ctx, c.sub.reported(c.pubsub.Addr())))", "_ = c.sub.reported"}, // its own connection hangs as well
		)},
		{"a number binds however far ahead it lies", []patch{
			{"redisstore/lua/prelude.lua", "return fence <= now_us + fence_ahead and fence or 0", "return fence"},
		}},
		{"a message is believed whatever it says", []patch{
			{"coordinator/view_bystore.go", "case !n.credible(e):", "case false:"},
			{"coordinator/view_early.go", "if !n.credible(e) {", "if false {"},
		}},
		{"an attempt that is only heard of is never settled", []patch{
			{"coordinator/attempts.go", "return o.fence == fence || o.settles == fence", "return o.fence == fence"},
		}},
		{"a lock lasts as long as its TTL says", []patch{
			{"redisstore/lock.go", "case ttl.Val() == -1, ttl.Val() > coordinator.MaxAhead:", "case false:"},
		}},
	}
}

// unread are patches after which nothing that is read for other reasons shows what a
// subscription has missed.
func unread() []patch {
	return []patch{
		{"coordinator/feed.go", "\tf.store, _ = c.store.(ChangeStore)\n", ""},
		{"coordinator/scheduler.go", ", n%readerProbes == 0)", ", false && n%readerProbes == 0)"},
	}
}

// caught is the result of a mutant.
type caught struct {
	Name   string    `json:"name"`
	Caught bool      `json:"caught"`
	By     string    `json:"by"`   // the first broken promise
	Runs   int       `json:"runs"` // until then
	Seed   uint64    `json:"seed"`
	At     time.Time `json:"at"`
	Build  string    `json:"build,omitempty"` // the commit that was broken
}

// mutantsAll builds each mutant in a copy of the module and expects its soak to fail. The
// results of those that are not tried this time are kept.
func (f flags) mutantsAll() error {
	missed := 0
	for _, m := range mutants() {
		if !strings.Contains(m.name, f.only) {
			continue
		}
		c, err := f.tryMutant(m)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		if !c.Caught {
			missed++
		}
		fmt.Printf("%s: caught %v after %d runs: %s\n", c.Name, c.Caught, c.Runs, c.By)
		others := slices.DeleteFunc(f.caughtBefore(), func(before caught) bool { return before.Name == c.Name })
		if err := f.save("mutants", append(others, c)); err != nil {
			return err
		}
	}
	if missed > 0 {
		return fmt.Errorf("%d mutants were not caught", missed)
	}
	return nil
}

// caughtBefore returns the results of the mutants that are in the results directory, if there
// are any.
func (f flags) caughtBefore() (all []caught) {
	text, err := os.ReadFile(filepath.Join(f.results, "mutants.json"))
	if f.results == "" || err != nil || json.Unmarshal(text, &all) != nil {
		return nil
	}
	return slices.DeleteFunc(all, func(c caught) bool {
		return !slices.ContainsFunc(mutants(), func(m mutant) bool { return m.name == c.Name })
	})
}

func (f flags) tryMutant(m mutant) (caught, error) {
	c := caught{Name: m.name, At: time.Now(), Build: commitOf(f.module)}
	dir, err := os.MkdirTemp("", "zkmutant")
	if err != nil {
		return c, err
	}
	defer os.RemoveAll(dir)
	if err := copyModule(f.module, dir); err != nil {
		return c, err
	}
	for _, p := range m.patches {
		if err := p.apply(dir); err != nil {
			return c, err
		}
	}
	worker := filepath.Join(dir, "soak")
	build := exec.Command("go", "build", "-o", worker, ".")
	build.Dir = filepath.Join(dir, "scripts", "soak")
	if said, err := build.CombinedOutput(); err != nil {
		return c, fmt.Errorf("go build: %w\n%s", err, said)
	}
	for c.Runs = 1; c.Runs <= f.runs && !c.Caught; c.Runs++ {
		c.Seed = f.seed + uint64(c.Runs)
		run := exec.Command(worker, "run", "-topology", single, "-module", dir,
			"-seed", fmt.Sprint(c.Seed), "-faults", fmt.Sprint(f.faults))
		run.Stderr = os.Stderr
		said, err := run.Output()
		_, broken, found := strings.Cut(string(said), "BROKEN: ")
		if found {
			c.Caught = true
			c.By, _, _ = strings.Cut(broken, "\n")
		} else if err != nil {
			// The fleet did not start, so nothing was checked.
			fmt.Fprintf(os.Stderr, "%s: %v\n", m.name, err)
		}
	}
	c.Runs--
	return c, nil
}

// copyModule copies the sources that a soak builds.
func copyModule(from, to string) error {
	for _, part := range []string{"go.mod", "go.sum", "cmd", "coordinator", "redisstore", filepath.Join("scripts", "soak")} {
		target := filepath.Join(to, part)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if said, err := exec.Command("cp", "-r", filepath.Join(from, part), target).CombinedOutput(); err != nil {
			return fmt.Errorf("copy %s: %w\n%s", part, err, said)
		}
	}
	return nil
}

func (p patch) apply(dir string) error {
	file := filepath.Join(dir, filepath.FromSlash(p.file))
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if !strings.Contains(string(text), p.from) {
		return fmt.Errorf("%s does not have the text %q", p.file, p.from)
	}
	return os.WriteFile(file, []byte(strings.Replace(string(text), p.from, p.to, 1)), 0o600)
}
