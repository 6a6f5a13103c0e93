//go:build linux

package e2e_test

import (
	"bytes"
	"context"
	native "encoding/binary" // "binary" is the program under test
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
)

// TestAKilledWriterNeverLeavesATornFile changes a token thousands of times in Redis,
// kills the process that writes it to files again and again at any moment, and reads the
// files all the while.
func TestAKilledWriterNeverLeavesATornFile(t *testing.T) {
	t.Parallel()
	const (
		changes = 10000 // of the files, each by a rename that the kernel has reported
		kills   = 40
		within  = 4 * time.Minute // of a machine that is busy with other tests
	)
	f := newFleet(t).with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "ZHONGKONG_LOG_LEVEL", "error")
	dir := memoryDir(t)
	files := []*watchedFile{
		{path: filepath.Join(dir, "token"), mode: 0o640, token: func(text string) string { return text }},
		{path: filepath.Join(dir, "token.json"), mode: 0o600, token: tokenOfJSON},
		{path: filepath.Join(dir, "auth.conf"), mode: 0o644, token: tokenOfTemplate},
	}
	config := filepath.Join(t.TempDir(), "zk.yaml")
	writeFile(t, config, fmt.Sprintf("files:\n"+
		"  - {account: %[1]s, path: %[2]s/token, mode: \"0640\"}\n"+
		"  - {account: %[1]s, path: %[2]s/token.json, format: json}\n"+
		"  - {account: %[1]s, path: %[2]s/auth.conf, mode: \"0644\", template: \"header \\\"Bearer {{.access_token}}\\\";\\n\"}\n", appID, dir))

	var stop atomic.Bool
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop.Store(true)
	renames := countRenames(t, dir)
	tokens := &tokenStream{f: f}
	wg.Go(func() { tokens.issue(t, &stop) }) // ends with stop
	for _, file := range files {
		wg.Go(func() { file.watch(t, &stop) }) // likewise
	}

	began, killed := time.Now(), 0
	for renames.Load() < changes || killed < kills {
		if t.Failed() || time.Since(began) > within {
			t.Fatalf("%d changes and %d kills in %v", renames.Load(), killed, time.Since(began))
		}
		p := f.start("sync", "--config", config)
		until := renames.Load() + rand.Int64N(2*changes/kills)
		for killed%5 > 0 && renames.Load() < until && !p.ended() && !t.Failed() { // one in five dies when it starts
			time.Sleep(time.Millisecond)
		}
		time.Sleep(rand.N(3 * time.Millisecond))
		p.signal(syscall.SIGKILL)
		<-p.done
		if p.cmd.ProcessState.Exited() {
			t.Fatalf("sync ended by itself: %s", p.stderr.String())
		}
		killed++
	}
	took := time.Since(began)
	stop.Store(true)
	wg.Wait()

	f.start("sync", "--config", config)
	f.eventually(30*time.Second, "the last token to be in every file, and nothing else beside them", func() bool {
		for _, file := range files {
			if text, _ := os.ReadFile(file.path); file.token(string(text)) != tokens.last {
				return false
			}
		}
		entries, _ := os.ReadDir(dir)
		return len(entries) == 2*len(files)
	})
	for _, file := range files {
		if file.reads < 100 {
			t.Errorf("%s was read %d times", file.path, file.reads)
		}
		t.Logf("%s: %d readings, of which %d saw another token", filepath.Base(file.path), file.reads, file.seen)
	}
	t.Logf("%d changes of the files by %d tokens and %d kills in %v", renames.Load(), tokens.n, killed, took.Round(time.Millisecond))
}

// countRenames counts how often a file of the directory is replaced, except for those
// that say when a token ends.
func countRenames(t *testing.T, dir string) *atomic.Int64 {
	t.Helper()
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	in := os.NewFile(uintptr(fd), "inotify")
	if _, err := syscall.InotifyAddWatch(fd, dir, syscall.IN_MOVED_TO); err != nil {
		t.Fatal(err)
	}
	var n atomic.Int64
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = in.Close(); wg.Wait() })
	wg.Go(func() { // ends when in is closed
		buf := make([]byte, 64<<10)
		for {
			size, err := in.Read(buf)
			if err != nil {
				return
			}
			for b := buf[:size]; len(b) >= syscall.SizeofInotifyEvent; {
				end := syscall.SizeofInotifyEvent + int(native.NativeEndian.Uint32(b[12:])) // of the name
				if !bytes.Contains(b[syscall.SizeofInotifyEvent:end], []byte(".expiry")) {
					n.Add(1)
				}
				b = b[end:]
			}
		}
	})
	return &n
}

// memoryDir is a directory in memory, if there is one: a disk that is slow to sync
// bounds how many changes there are.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "zhongkong-files")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// tokenStream stores one token after another in Redis, as a fleet that refreshes without
// end.
type tokenStream struct {
	f    *fleet
	n    int
	last string // that is stored
}

// issue stores tokens until stop. Every other one ends before the one that it replaces.
func (s *tokenStream) issue(t *testing.T, stop *atomic.Bool) {
	store, err := redisstore.Open(s.f.redis.URL(), redisstore.Options{Prefix: s.f.env["ZHONGKONG_PREFIX"]})
	if err != nil {
		t.Error(err)
		return
	}
	defer store.Close()
	for seen, known := coordinator.Fence(0), true; !stop.Load() || !known && !t.Failed(); s.n++ {
		record, err := s.store(t.Context(), store, seen)
		if known = err == nil; known {
			seen, s.last = record.Generation, record.Token.Reveal()
		} else if states, err := store.Load(t.Context(), appID); err == nil { // Redis was slow, and may have stored it
			seen = states[0].Record.Generation
		}
	}
}

func (s *tokenStream) store(ctx context.Context, store *redisstore.Store, seen coordinator.Fence) (coordinator.Record, error) {
	attempt, err := store.Begin(ctx, appID, coordinator.BeginRequest{
		Seen: seen, Reason: coordinator.ReasonForced, TTL: time.Minute, Limits: coordinator.Limits{PerDay: 1 << 30, Reserve: 1, MinInterval: time.Nanosecond},
	})
	if err != nil {
		return coordinator.Record{}, err
	}
	end := time.Now().Add(time.Hour * time.Duration(1+s.n%2)).UTC()
	token := fmt.Sprintf("%d|%s|%s|%d", s.n, end.Format(time.RFC3339), strings.Repeat("x", 600), s.n)
	return store.Commit(ctx, appID, coordinator.CommitRequest{
		Attempt: attempt, Reason: coordinator.ReasonForced, Token: coordinator.NewToken(token), Lifetime: time.Until(end),
	})
}

// watchedFile is a file that a test reads while it is written.
type watchedFile struct {
	path  string
	mode  fs.FileMode
	token func(text string) string

	reads int
	seen  int // of them that had another token than the one before
}

// readEvery leaves the processors to what is tested.
const readEvery = 300 * time.Microsecond

var wholeToken = regexp.MustCompile(`^(\d+)\|(\S+)\|x{600}\|(\d+)$`)

// watch reads the file until stop, and fails the test if it is ever not whole.
func (w *watchedFile) watch(t *testing.T, stop *atomic.Bool) {
	last := ""
	for ; !stop.Load(); time.Sleep(readEvery) {
		before, noExpiry := os.ReadFile(w.path + ".expiry")
		text, mode, err := readWithMode(w.path)
		after, _ := os.ReadFile(w.path + ".expiry")
		if errors.Is(err, fs.ErrNotExist) && last == "" {
			continue // it was never written
		}
		w.reads++
		whole := wholeToken.FindStringSubmatch(w.token(text))
		if err != nil || whole == nil || whole[1] != whole[3] || mode != w.mode {
			t.Errorf("%s after %s: %v, mode %v: %.1000q", w.path, last, err, mode, text)
			return
		}
		if noExpiry == nil && string(before) == string(after) {
			said, err := time.Parse(time.RFC3339, strings.TrimSuffix(string(before), "\n"))
			end, wrong := time.Parse(time.RFC3339, whole[2])
			if err != nil || wrong != nil || said.Sub(end) > 30*time.Minute { // they differ by an hour, or by what the clocks do
				t.Errorf("%s.expiry says %q of a token that ends at %s", w.path, before, whole[2])
				return
			}
		}
		if whole[1] != last {
			if number(whole[1]) < number(last) {
				t.Errorf("%s: the token %s came after %s", w.path, whole[1], last)
			}
			last = whole[1]
			w.seen++
		}
	}
}

func number(text string) int {
	n, _ := strconv.Atoi(text) // "": 0
	return n
}

// readWithMode reads a file and the mode of what it has read.
func readWithMode(path string) (string, fs.FileMode, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", 0, err
	}
	text, err := io.ReadAll(f)
	return string(text), info.Mode(), err
}

func tokenOfJSON(text string) string {
	var r struct {
		AccessToken string `json:"access_token"`
	}
	if json.Unmarshal([]byte(text), &r) != nil {
		return ""
	}
	return r.AccessToken
}

func tokenOfTemplate(text string) string {
	text, ok := strings.CutPrefix(text, `header "Bearer `)
	text, ended := strings.CutSuffix(text, "\";\n")
	if !ok || !ended {
		return ""
	}
	return text
}
