//go:build unix

package tokenfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logtest"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stage is an account whose tokens are written.
type stage struct {
	t    *testing.T
	zk   *coordinator.Coordinator
	set  *Set
	log  *logtest.Buffer
	dir  string
	stop func()
}

func newStage(t *testing.T) *stage {
	t.Helper()
	zk, err := coordinator.New(coordinator.Config{
		Store:    memstore.New().Instance("one"),
		Accounts: []coordinator.AccountConfig{{Name: "wx1", Source: new(coordinatortest.Source)}},
		Limits:   coordinator.Limits{PerDay: 100000, Reserve: 1, MinInterval: time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, zk: zk, log: &logtest.Buffer{}, dir: t.TempDir()}
	s.set = NewSet(zk, slog.New(slog.NewTextHandler(s.log, nil)))
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = zk.Run(ctx) }) // ends with ctx
	wg.Go(func() { s.set.Run(ctx) })  // likewise
	s.stop = func() { cancel(); wg.Wait() }
	t.Cleanup(s.stop)
	return s
}

func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

// refresh replaces the token and returns the new one.
func (s *stage) refresh() string {
	s.t.Helper()
	a, _ := s.zk.Account("wx1")
	snapshot, err := a.Refresh(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return snapshot.Token.Reveal()
}

func (s *stage) eventually(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("waited in vain for %s\n%s", what, s.log)
		}
	}
}

// has waits until a file has a content.
func (s *stage) has(path, content string) {
	s.t.Helper()
	s.eventually(path+" to be written", func() bool {
		text, err := os.ReadFile(path)
		return err == nil && string(text) == content
	})
}

func (s *stage) says(words string) {
	s.t.Helper()
	s.eventually("the log to say "+words, func() bool { return strings.Contains(s.log.String(), words) })
}

// lines is how many lines a file has.
func lines(path string) int {
	text, _ := os.ReadFile(path)
	return bytes.Count(text, []byte("\n"))
}

func TestEachTokenIsWrittenAndTheCommandIsRun(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	told := s.path("told")
	f := File{Account: "wx1", Path: s.path("token"), Notify: []string{"sh", "-c", "cat " + s.path("token") + " >> " + told + "; echo >> " + told}}
	s.set.Configure([]File{f})
	for range 3 {
		token := s.refresh()
		s.has(f.Path, token)
		s.eventually("the command to have the token", func() bool { text, _ := os.ReadFile(told); return strings.Contains(string(text), token) })
	}
	s.eventually("nothing to be left to do", func() bool { return !f.isMarked() })
	got := s.set.Stats()[0]
	if !got.Current || got.Written < 3 || got.Failed != 0 || got.Notified < 3 || got.NotifyFailed != 0 {
		t.Errorf("stats %+v", got)
	}
	if log := s.log.String(); strings.Contains(log, s.refresh()) || strings.Contains(log, read(t, f.Path)) {
		t.Errorf("the log holds a token:\n%s", log)
	}
}

func TestAReloadChangesTheList(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	kept, gone, fresh := File{Account: "wx1", Path: s.path("kept")}, File{Account: "wx1", Path: s.path("gone")}, File{Account: "wx1", Path: s.path("new")}
	s.set.Configure([]File{kept, gone})
	first := s.refresh()
	s.has(kept.Path, first)
	s.has(gone.Path, first)
	s.eventually("the change to be counted", func() bool { return s.set.Stats()[0].Written > 0 })
	before := s.set.Stats()[0].Written
	s.set.Configure([]File{fresh, kept})
	s.has(fresh.Path, first)
	second := s.refresh()
	s.has(kept.Path, second)
	s.has(fresh.Path, second)
	if read(t, gone.Path) != first {
		t.Error("a file that is not in the list any more is written")
	}
	if stats := s.set.Stats(); len(stats) != 2 || stats[1].Path != kept.Path {
		t.Fatalf("stats %+v", stats)
	}
	s.eventually("the file that stays to go on counting", func() bool { return s.set.Stats()[1].Written > before })
	changed := kept
	changed.Template = "Bearer {{.access_token}}"
	s.set.Configure([]File{changed})
	s.has(kept.Path, "Bearer "+second)
}

func TestADiskThatStallsHoldsUpNoCount(t *testing.T) {
	release := make(chan struct{})
	begun := make(chan struct{}, 1)
	t.Cleanup(func() { syncDir = syncDirectory }) // after the end of the stage
	syncDir = func(string) error {
		select {
		case begun <- struct{}{}:
		default:
		}
		<-release
		return nil
	}
	s := newStage(t)
	configured := make(chan struct{})
	t.Cleanup(func() { close(release); <-configured })
	s.set.Configure([]File{{Path: s.path("token"), Account: "wx1", Notify: []string{"true"}}})
	<-begun
	s.eventually("the file to be in the list", func() bool { return s.set.changing.TryLock() })
	s.set.changing.Unlock() // Run has started the writer
	counted := func(when string) {
		t.Helper()
		stats := make(chan []Stats, 1)
		go func() { stats <- s.set.Stats() }() // ends with Stats
		select {
		case got := <-stats:
			if len(got) != 1 || got[0].Path != s.path("token") {
				t.Errorf("%s: Stats() = %+v, want that of the file", when, got)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: Stats() waits for the disk", when)
		}
	}
	counted("while the mark is made")
	go func() { s.set.Configure(nil); close(configured) }() // ends after release
	s.eventually("Configure to wait for the writer", func() bool {
		if s.set.changing.TryLock() {
			s.set.changing.Unlock()
			return false
		}
		return true
	})
	counted("while a file is taken out of the list")
}

func TestAnAccountMayComeLaterAndComeAgain(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	f := File{Account: "wx2", Path: s.path("token")}
	s.set.Configure([]File{f})
	for range 2 {
		account, err := s.zk.Add(coordinator.AccountConfig{Name: "wx2", Source: new(coordinatortest.Source)})
		if err != nil {
			t.Fatal(err)
		}
		snapshot, err := account.Refresh(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.has(f.Path, snapshot.Token.Reveal())
		if err := s.zk.Remove("wx2"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatFailsIsSaidOnceCountedAndTriedAgain(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	f := File{Account: "wx1", Path: s.path("none/token")}
	s.set.Configure([]File{f})
	token := s.refresh()
	s.says("the token file cannot be written, and is tried again")
	s.eventually("a second attempt", func() bool { return s.set.Stats()[0].Failed > 1 })
	if got := s.set.Stats()[0]; got.Current {
		t.Errorf("stats %+v", got)
	}
	if err := os.Mkdir(s.path("none"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.has(f.Path, token)
	s.says("the token file is written again")
	if n := strings.Count(s.log.String(), "cannot be written"); n != 1 {
		t.Errorf("the problem is said %d times:\n%s", n, s.log)
	}
	if err := os.Remove(f.Path); err != nil {
		t.Fatal(err)
	}
	s.has(f.Path, token) // without a new one
}

func TestACommandThatFailsIsRunAgain(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	ok := s.path("ok")
	f := File{Account: "wx1", Path: s.path("token"), Notify: []string{"sh", "-c", "echo 'no such\nserver' >&2; echo >> " + s.path("runs") + "; test -e " + ok}}
	s.set.Configure([]File{f})
	s.refresh()
	s.says(`exit status 1: no such server`)
	s.eventually("a second run", func() bool { return lines(s.path("runs")) > 1 })
	if !f.isMarked() {
		t.Error("the change is not marked")
	}
	if err := os.WriteFile(ok, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.says("the command of a token file succeeds again")
	s.eventually("the mark to go", func() bool { return !f.isMarked() })
	if n := strings.Count(s.log.String(), "no such server"); n != 1 {
		t.Errorf("the problem is said %d times:\n%s", n, s.log)
	}
	if got := s.set.Stats()[0]; got.NotifyFailed == 0 || got.Notified == 0 {
		t.Errorf("stats %+v", got)
	}
}

func TestACommandRunsOneAtATimeAndAfterTheLastChange(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	lock, told := s.path("lock"), s.path("told")
	script := fmt.Sprintf("mkdir %s || { echo twice >> %s; exit; }; sleep 0.1; cat %s > %s; rmdir %s", lock, s.path("twice"), s.path("token"), told, lock)
	f := File{Account: "wx1", Path: s.path("token"), Notify: []string{"sh", "-c", script}}
	s.set.Configure([]File{f})
	var last string
	for range 20 {
		last = s.refresh()
		s.has(f.Path, last)
	}
	s.has(told, last)
	if lines(s.path("twice")) > 0 {
		t.Error("the command ran twice at once")
	}
	if n := s.set.Stats()[0].Notified; n >= 20 {
		t.Errorf("%d runs for 20 changes in a time for fewer", n)
	}
}

func TestAStopKillsTheCommandAndTheNextStartRunsIt(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	began, ended := s.path("began"), s.path("ended")
	f := File{Account: "wx1", Path: s.path("token"), Notify: []string{"sh", "-c", "echo >> " + began + "; sleep 300; true"}}
	s.set.Configure([]File{f})
	s.refresh()
	s.eventually("the command", func() bool { return lines(began) > 0 })
	stopped := time.Now()
	s.set.Configure(nil)
	if took := time.Since(stopped); took > 10*time.Second {
		t.Errorf("the stop took %v", took)
	}
	if !f.isMarked() {
		t.Fatal("the change is not marked")
	}
	f.Notify = []string{"sh", "-c", "echo >> " + ended}
	s.set.Configure([]File{f})
	s.eventually("the command after the next start", func() bool { return lines(ended) == 1 })
	s.eventually("the mark to go", func() bool { return !f.isMarked() })
	s.set.Configure(nil)
	s.set.Configure([]File{f})
	s.eventually("the file to be looked at", func() bool { return s.set.Stats()[0].Current })
	if n := lines(ended); n != 1 {
		t.Errorf("a start without a change has run the command: %d runs", n)
	}
}

// A command that is tried again may begin when a change is marked and not made yet: it has
// not been told of that change, whenever it ends.
func TestACommandThatBeginsBeforeAMarkedChangeLeavesTheMark(t *testing.T) {
	t.Parallel()
	for _, endsFirst := range []bool{true, false} {
		dir := t.TempDir()
		begun, end := filepath.Join(dir, "begun"), filepath.Join(dir, "end")
		f := File{Account: "wx1", Path: filepath.Join(dir, "token"), Notify: []string{"sh", "-c", "echo > " + begun + "; cat " + end}}
		for _, path := range []string{begun, end, ExpiryPath(f.Path)} { // the expiry is read between the mark and the change
			if err := syscall.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		w := newWriter(f, nil, slog.New(slog.DiscardHandler))
		written, commanded := make(chan error, 1), make(chan error, 1)
		go func() { written <- w.write(recordOf("one", 0)) }() // ends when the expiry is there
		expiry, err := os.OpenFile(ExpiryPath(f.Path), os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		go func() { commanded <- w.command(t.Context()) }() // ends when the command has read end
		_ = read(t, begun)
		change := func() error { return errors.Join(expiry.Close(), <-written) }
		finish := func() error { return errors.Join(os.WriteFile(end, nil, 0), <-commanded) }
		steps := []func() error{change, finish}
		if endsFirst {
			slices.Reverse(steps)
		}
		if err := errors.Join(steps[0](), steps[1]()); err != nil {
			t.Fatal(err)
		}
		if !f.isMarked() {
			t.Errorf("the command ends before the change: %v: the mark is gone, and the command has not been told", endsFirst)
		}
		go func() { commanded <- w.command(t.Context()) }() // likewise
		_ = read(t, begun)
		if err := finish(); err != nil || f.isMarked() {
			t.Errorf("the next command, which is told: %v, marked: %v", err, f.isMarked())
		}
	}
}

func TestTheCommandSeesNoSecretAndItsOutputIsLoggedWithoutATokenOnly(t *testing.T) {
	t.Setenv("ZHONGKONG_SECRET", "the-app-secret")
	s := newStage(t)
	f := File{Account: "wx1", Path: s.path("token"), Notify: []string{"sh", "-c", "env > " + s.path("env") + "; cat " + s.path("token") + "; exit 1"}}
	s.set.Configure([]File{f})
	token := s.refresh()
	s.says("left out, because the token is in it")
	if strings.Contains(s.log.String(), token) {
		t.Errorf("the log holds the token:\n%s", s.log)
	}
	if env := read(t, s.path("env")); strings.Contains(env, "ZHONGKONG") || !strings.Contains(env, "PATH=") {
		t.Errorf("the command's variables are\n%s", env)
	}
}

// A command may print the token that the file has without a change of this process: it
// failed in a process before.
func TestTheOutputOfACommandThatIsRunAgainIsSaidWithoutATokenOnly(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	token := s.refresh()
	f := File{Account: "wx1", Path: s.path("token"), Template: "Bearer {{.access_token}}", Notify: []string{"sh", "-c", "cat " + s.path("token") + " >&2; exit 1"}}
	account, _ := s.zk.Account("wx1")
	snapshot, _ := account.Peek()
	for n := range 2 {
		err := f.WriteOnce(t.Context(), snapshot.Record, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), "left out, because the token is in it") || strings.Contains(err.Error(), token) {
			t.Errorf("run %d: %v", n, err)
		}
	}
	s.set.Configure([]File{f})
	s.says("left out, because the token is in it")
	if strings.Contains(s.log.String(), token) {
		t.Errorf("the log holds the token:\n%s", s.log)
	}
}

// At a start the file may have the token of a former process, which this one does not know.
func TestACommandOfBeforeIsRunAgainWhenTheFileHasAKnownToken(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	const former = "former-token-0123456789"
	began := s.path("began")
	f := File{Account: "wx2", Path: s.path("token"), Notify: []string{"sh", "-c", "echo >> " + began + "; cat " + s.path("token") + " >&2; exit 1"}}
	if err := f.WriteOnce(t.Context(), recordOf(former, 0), slog.New(slog.DiscardHandler)); err == nil {
		t.Fatal("the command has not failed")
	}
	s.set.Configure([]File{f, {Account: "wx1", Path: s.path("other")}})
	s.has(s.path("other"), s.refresh())
	if lines(began) > 1 {
		t.Error("the command is run before the file has a token of this process")
	}
	if _, err := s.zk.Add(coordinator.AccountConfig{Name: "wx2", Source: new(coordinatortest.Source)}); err != nil {
		t.Fatal(err)
	}
	s.eventually("the command to be run again", func() bool { return lines(began) > 1 })
	s.says("the command of a token file fails")
	if strings.Contains(s.log.String(), former) {
		t.Errorf("the log holds the former token:\n%s", s.log)
	}
}

func TestTheOutputOfACommandIsSaidWithoutTheTokenOfBefore(t *testing.T) {
	t.Parallel()
	const first = "first-token-0123456789"
	dir := t.TempDir()
	f := File{Account: "wx1", Path: filepath.Join(dir, "token"), Notify: []string{"sh", "-c", "cat " + filepath.Join(dir, "copy") + " >&2; exit 1"}}
	if err := os.WriteFile(filepath.Join(dir, "copy"), []byte(first), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWriter(f, nil, slog.New(slog.DiscardHandler))
	for i, token := range []string{first, "second-token-0123456789"} {
		if err := w.write(recordOf(token, time.Duration(i)*time.Hour)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := w.command(t.Context()); err == nil || strings.Contains(err.Error(), first) {
				t.Errorf("with token %d: %v", i, err)
			}
		}
	}
}

func TestWriteOnceRunsTheCommandUntilItSucceeded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	runs := filepath.Join(dir, "runs")
	f := File{Account: "wx1", Path: filepath.Join(dir, "token"), Notify: []string{"sh", "-c", "echo >> " + runs + "; exit 3"}}
	log := slog.New(slog.DiscardHandler)
	for n := range 2 {
		if err := f.WriteOnce(t.Context(), recordOf("one", 0), log); err == nil || !strings.Contains(err.Error(), "exit status 3") || lines(runs) != n+1 {
			t.Errorf("run %d: %v", n, err)
		}
	}
	f.Notify[2] = "echo >> " + runs
	for range 3 {
		if err := f.WriteOnce(t.Context(), recordOf("one", 0), log); err != nil {
			t.Error(err)
		}
	}
	if n := lines(runs); n != 3 {
		t.Errorf("%d runs, want 3: two that failed and one", n)
	}
	f.Path = filepath.Join(dir, "none", "token")
	if err := f.WriteOnce(t.Context(), recordOf("one", 0), log); err == nil {
		t.Error("a missing directory is no error")
	}
}

func TestTheFirstTryAfterAFailureIsSoonAlsoAfterManyFailures(t *testing.T) {
	t.Parallel()
	failed := errors.New("no space")
	retry := time.Duration(0)
	for range 20 {
		retry = nextRetry(retry, failed)
	}
	if retry != lastRetry {
		t.Errorf("the pauses widen to %v, want %v", retry, lastRetry)
	}
	if retry = nextRetry(nextRetry(retry, nil), failed); retry != firstRetry {
		t.Errorf("after a success the first is %v, want %v", retry, firstRetry)
	}
}
