//go:build unix

package tokenfile

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator"
)

var start = time.Date(2026, time.March, 4, 5, 6, 7, 8e6, time.UTC)

// recordOf is a record of a token that lives for two hours from start + after.
func recordOf(token string, after time.Duration) coordinator.Record {
	return coordinator.Record{
		Token: coordinator.NewToken(token), Generation: 7, IssuedAt: start.Add(after), ExpiresAt: start.Add(after + 2*time.Hour),
		IssuedBy: "host:1", Attributes: map[string]string{"corp": "ww1"},
	}
}

func fileIn(t *testing.T) File {
	return File{Account: "wx1", Path: filepath.Join(t.TempDir(), "token")}
}

func (f File) mustUpdate(t *testing.T, r coordinator.Record) (changed bool) {
	t.Helper()
	changed, err := f.update(r, func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// names are the names in the file's directory.
func (f File) names(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(f.Path))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestEachFormHasItsContent(t *testing.T) {
	f := fileIn(t)
	r := recordOf(`to"ken<&>`, 0)
	f.mustUpdate(t, r)
	if got := read(t, f.Path); got != `to"ken<&>` {
		t.Errorf("raw is %q, want the token alone", got)
	}
	if got := read(t, ExpiryPath(f.Path)); got != "2026-03-04T07:06:07.008Z\n" {
		t.Errorf("the expiry is %q", got)
	}

	f.Format = JSON
	f.mustUpdate(t, r)
	var record wire.Token
	if err := json.Unmarshal([]byte(read(t, f.Path)), &record); err != nil {
		t.Fatal(err)
	}
	if record.Name != "wx1" || record.AccessToken != `to"ken<&>` || record.ExpiresIn != 7200 || record.Generation != 7 || record.IssuedBy != "" ||
		!record.ExpiresAt.Equal(r.ExpiresAt) || !record.IssuedAt.Equal(r.IssuedAt) || record.Attributes["corp"] != "ww1" {
		t.Errorf("json is %s", read(t, f.Path))
	}
	var members map[string]any
	if err := json.Unmarshal([]byte(read(t, f.Path)), &members); err != nil {
		t.Fatal(err)
	}
	fields := fields(f.record(r))
	for name := range members {
		if fields[name] == nil {
			t.Errorf("a template lacks %s, which JSON has", name)
		}
	}
	if len(members) != len(fields) {
		t.Errorf("JSON has %d members, a template %d", len(members), len(fields))
	}

	f.Template = "{{.name}} {{.access_token}} {{.generation}} {{.issued_at}} {{.expires_at}} {{.expires_in}} {{.stale}} {{.attributes.corp}}\n"
	f.mustUpdate(t, r)
	if got, want := read(t, f.Path), "wx1 to\"ken<&> 7 2026-03-04T05:06:07.008Z 2026-03-04T07:06:07.008Z 7200 false ww1\n"; got != want {
		t.Errorf("the template gives %q, want %q", got, want)
	}
}

func TestATokenThatNoIssuerSendsIsNotWritten(t *testing.T) {
	f := fileIn(t)
	_, err := f.update(recordOf("a\nX-Injected: 1", 0), func() error { return nil })
	if err == nil || strings.Contains(err.Error(), "Injected") || len(f.names(t)) != 0 {
		t.Errorf("%v; %v", err, f.names(t))
	}
}

func TestAnErrorOfATemplateDoesNotHoldTheToken(t *testing.T) {
	f := fileIn(t)
	f.Template = `{{slice .access_token 100}}`
	if err := CheckTemplate(f.Template); err != nil {
		t.Fatal(err)
	}
	_, err := f.update(recordOf("short-token", 0), func() error { return nil })
	if err == nil || strings.Contains(err.Error(), "short-token") {
		t.Errorf("%v", err)
	}
}

func TestOnlyAChangeIsWritten(t *testing.T) {
	f := fileIn(t)
	for _, form := range []File{{}, {Format: JSON}, {Template: "{{.access_token}} {{.expires_in}}"}, {Mode: 0o640}} {
		f.Format, f.Template, f.Mode = form.Format, form.Template, form.Mode
		r := recordOf("one", 0)
		f.mustUpdate(t, r)
		before, _ := os.Stat(f.Path)
		r.TTL = time.Minute // time has passed
		if f.mustUpdate(t, r) {
			t.Errorf("%+v: the same token is a change", form)
		}
		if after, _ := os.Stat(f.Path); !os.SameFile(before, after) {
			t.Errorf("%+v: the same token is written again", form)
		}
		if !f.mustUpdate(t, recordOf("two", time.Hour)) {
			t.Errorf("%+v: another token is no change", form)
		}
	}
	// What another program has done is undone.
	for name, damage := range map[string]func() error{
		"removed": func() error { return os.Remove(f.Path) }, "changed": func() error { return os.WriteFile(f.Path, []byte("x"), 0o600) },
		"opened": func() error { return os.Chmod(f.Path, 0o666) }, "a link": func() error {
			return errors.Join(os.Remove(f.Path), os.Symlink("/dev/null", f.Path))
		},
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if !f.mustUpdate(t, recordOf("two", time.Hour)) || read(t, f.Path) != "two" {
			t.Errorf("a file that was %s stays so", name)
		}
		if info, _ := os.Lstat(f.Path); info.Mode() != 0o640 {
			t.Errorf("%s: mode %v", name, info.Mode())
		}
	}
	if err := os.Remove(ExpiryPath(f.Path)); err != nil {
		t.Fatal(err)
	}
	if f.mustUpdate(t, recordOf("two", time.Hour)) {
		t.Error("a new expiry alone counts as a change of the file")
	}
	read(t, ExpiryPath(f.Path))
}

// TestTheExpiryNeverSaysMoreThanIsTrue reads as the package says that a reader may,
// while tokens are written that end later and earlier than the one before.
func TestTheExpiryNeverSaysMoreThanIsTrue(t *testing.T) {
	f := fileIn(t)
	token := func(i int) coordinator.Record {
		after := time.Duration(i%7-i%3) * time.Hour
		return recordOf(strconv.Itoa(i)+" "+wire.Time{Time: start.Add(after + 2*time.Hour)}.String(), after)
	}
	f.mustUpdate(t, token(0))
	done := make(chan struct{})
	go func() { // ends with the loop
		defer close(done)
		for i := range 100 {
			if _, err := f.update(token(i), func() error { return nil }); err != nil {
				t.Error(err)
			}
		}
	}()
	pairs := map[string]bool{}
	for reading := true; reading; {
		select {
		case <-done:
			reading = false // after one more look
		default:
		}
		before, err := os.ReadFile(ExpiryPath(f.Path))
		if err != nil {
			continue // it is about to be replaced
		}
		content := read(t, f.Path)
		if after, err := os.ReadFile(ExpiryPath(f.Path)); err != nil || string(after) != string(before) {
			continue
		}
		said := strings.TrimSpace(string(before))
		if _, end, _ := strings.Cut(content, " "); said > end { // both are of one form
			t.Fatalf("the file has %q, and its expiry says %s", content, said)
		}
		pairs[content] = true
	}
	if len(pairs) < 2 {
		t.Errorf("%d tokens were seen", len(pairs))
	}
}

func TestWhatAKilledProcessHasLeftIsRemovedAndNothingElse(t *testing.T) {
	f := fileIn(t)
	dir := filepath.Dir(f.Path)
	part := strings.Repeat("A", partLength)
	gone := []string{".token.zhongkong-" + part, ".token.expiry.zhongkong-" + part}
	kept := []string{".token.zhongkong-notify", ".token.zhongkong-" + part + "A", ".token2.zhongkong-" + part, "token.zhongkong-" + part, ".token.expiry"}
	for _, name := range append(gone, kept...) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.removeParts(); err != nil {
		t.Fatal(err)
	}
	left := strings.Join(f.names(t), " ")
	for _, name := range kept {
		if !strings.Contains(left, name) {
			t.Errorf("%s is removed", name)
		}
	}
	if n := len(f.names(t)); n != len(kept) {
		t.Errorf("%d files are left, want %d: %s", n, len(kept), left)
	}
	f.Path = filepath.Join(dir, "none", "token")
	if err := f.removeParts(); err != nil {
		t.Errorf("a missing directory: %v", err)
	}
}

func TestWhatPreventsAFileIsSaid(t *testing.T) {
	t.Run("a missing directory", func(t *testing.T) {
		f := fileIn(t)
		f.Path = filepath.Join(filepath.Dir(f.Path), "none", "token")
		if _, err := f.update(recordOf("one", 0), f.mark); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "is missing: make it") {
			t.Errorf("%v", err)
		}
	})
	t.Run("an unknown owner", func(t *testing.T) {
		f := fileIn(t)
		for owner, want := range map[string]string{"no-such-user": `no user "no-such-user"`, ":no-such-group": `no group "no-such-group"`} {
			f.Owner = owner
			if _, err := f.update(recordOf("one", 0), f.mark); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %s", err, want)
			}
		}
	})
	t.Run("an owner that cannot be given the file", func(t *testing.T) {
		for err, want := range map[syscall.Errno]string{syscall.EPERM: "a group of their own", syscall.EINVAL: "PrivateUsers=no"} {
			if got := refusedOwner(err); !errors.Is(got, err) || !strings.Contains(got.Error(), want) {
				t.Errorf("%v, want %s", got, want)
			}
		}
	})
	t.Run("a directory in its place", func(t *testing.T) {
		f := fileIn(t)
		if err := os.MkdirAll(filepath.Join(f.Path, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := f.update(recordOf("one", 0), func() error { return nil }); err == nil {
			t.Error("it is written")
		}
		if names := f.names(t); len(names) != 1 {
			t.Errorf("parts are left: %v", names)
		}
	})
}

// A limit on the size of files makes writes fail as a full disk does: with an error of the
// write, after the file was made. It holds for the process, whose test log may have that size
// already, so it is set in one of its own.
func TestAFullDiskLeavesTheFileAsItIs(t *testing.T) {
	const limited = "ZHONGKONG_TEST_FILE_SIZE_LIMITED"
	if os.Getenv(limited) == "" {
		// #nosec G204 -- this test itself
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run=^"+t.Name()+"$")
		child.Env = append(os.Environ(), limited+"=1")
		if said, err := child.CombinedOutput(); err != nil || !strings.Contains(string(said), "--- PASS: "+t.Name()) {
			t.Errorf("%v\n%s", err, said)
		}
		return
	}
	f := fileIn(t)
	f.mustUpdate(t, recordOf("one", 0))
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1 << 10, Max: 1 << 10}); err != nil {
		t.Fatal(err)
	}
	_, err := f.update(recordOf(strings.Repeat("x", 1<<20), time.Hour), func() error { return nil })
	if err == nil || strings.Contains(err.Error(), "xxx") {
		t.Errorf("%.200v", err)
	}
	if got := read(t, f.Path); got != "one" || len(f.names(t)) != 2 {
		t.Errorf("the file has %d bytes, and there are %v", len(got), f.names(t))
	}
}

// The directory cannot be synced, for example because it may be written and not be read.
func TestAChangeThatMayNotBeOnDiskIsAChange(t *testing.T) {
	sync := syncDir
	defer func() { syncDir = sync }()
	failed := errors.New("no sync")
	syncDir = func(string) error { return failed }
	f := fileIn(t)
	if changed, err := f.update(recordOf("one", 0), f.mark); !changed || !errors.Is(err, failed) {
		t.Errorf("changed = %v, %v; want true and the failure", changed, err)
	}
	if got := read(t, f.Path); got != "one" || len(f.names(t)) != 3 {
		t.Errorf("the file has %q, and there are %v", got, f.names(t))
	}
	if changed, err := f.update(recordOf("two", time.Hour), f.mark); !changed || !errors.Is(err, failed) {
		t.Errorf("the next: changed = %v, %v; want true and the failure", changed, err)
	}
}

func TestAFileIsGivenAway(t *testing.T) {
	f := fileIn(t)
	f.Mode, f.Owner = 0o640, strconv.Itoa(os.Getuid())+":"+strconv.Itoa(os.Getgid())
	want := owned{0o640, os.Getuid(), os.Getgid()}
	if os.Getuid() == 0 {
		f.Owner = "nobody:daemon"
		uid, gid, err := lookUpOwner(f.Owner)
		if err != nil || uid <= 0 || gid <= 0 {
			t.Fatalf("%d, %d, %v", uid, gid, err)
		}
		want.uid, want.gid = uid, gid
	}
	f.mustUpdate(t, recordOf("one", 0))
	for _, path := range []string{f.Path, ExpiryPath(f.Path)} {
		if info, err := os.Stat(path); err != nil || !hasOwned(info, want) {
			t.Errorf("%s is %v, %v", path, info, err)
		}
	}
	if os.Getuid() == 0 && hasOwned(must(os.Stat(f.Path)), owned{0o640, 0, 0}) {
		t.Error("it is still root's")
	}
	if f.mustUpdate(t, recordOf("one", 0)) {
		t.Error("it is written again")
	}
}

func must[T any](v T, _ error) T { return v }
