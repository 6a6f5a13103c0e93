package grantfile_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/grantfile"
)

func openCopy(t *testing.T, dir string, s grantfile.Sealer) *grantfile.Copy {
	t.Helper()
	return must(grantfile.OpenCopy(dir, s))(t)
}

// grant is one with the given version, which its token tells as well.
func grant(consent coordinator.Fence, version uint64) coordinator.Grant {
	return coordinator.Grant{
		Version: version, SaveID: fmt.Sprintf("save-%d-%d", consent, version), Consent: consent,
		Tokens: []coordinator.GrantToken{{Token: coordinator.NewToken(fmt.Sprintf("refresh-%d", version)), Fence: consent + coordinator.Fence(version)}},
	}
}

func wantVersion(t *testing.T, c *grantfile.Copy, account string, want uint64) {
	t.Helper()
	g := must(c.Get(t.Context(), account))(t)
	if g.Version != want {
		t.Errorf("Get(%q) = version %d, want %d", account, g.Version, want)
	}
	if want > 0 && g.Tokens[0].Token.Reveal() != fmt.Sprintf("refresh-%d", want) {
		t.Errorf("Get(%q) has another token than was put", account)
	}
}

func TestCopyKeepsTheNewest(t *testing.T) {
	c := openCopy(t, newDir(t), current)
	wantVersion(t, c, "wx1", 0)
	for _, step := range []struct {
		put  coordinator.Grant
		want uint64
	}{
		{grant(100, 5), 5},
		{grant(100, 4), 5},
		{grant(100, 5), 5},
		{grant(100, 7), 7},
		{grant(99, 9), 7}, // of an earlier consent
		{grant(200, 1), 1},
	} {
		if err := c.Put(t.Context(), "wx1", step.put); err != nil {
			t.Fatal(err)
		}
		wantVersion(t, c, "wx1", step.want)
	}
}

func TestCopyHasOneFileForEachAccount(t *testing.T) {
	long := strings.Repeat("长", 42) // 126 bytes, the longest
	accounts := []string{"wx1", "WX1", "..", ".", "-", "corp@app", "a%2eb", "a.b", long, long + "x", "con", "长"}
	dir := newDir(t)
	c := openCopy(t, dir, current)
	for i, account := range accounts {
		if err := c.Put(t.Context(), account, grant(1, uint64(i+1))); err != nil {
			t.Fatal(err)
		}
	}
	for i, account := range accounts {
		wantVersion(t, c, account, uint64(i+1))
	}
	got := must(c.Accounts(t.Context()))(t)
	slices.Sort(got)
	if slices.Sort(accounts); !slices.Equal(got, accounts) {
		t.Errorf("Accounts() = %q, want %q", got, accounts)
	}
	files := map[string]bool{}
	for _, path := range glob(t, dir, "*.grant") {
		files[strings.ToLower(path)] = true
		if info := must(os.Stat(path))(t); info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, want 0600", path, info.Mode())
		}
	}
	if len(files) != len(accounts) {
		t.Errorf("%d files on a file system that ignores case, want %d", len(files), len(accounts))
	}
	if outside := glob(t, filepath.Dir(dir), "*.grant"); len(outside) > 0 {
		t.Errorf("files outside of the directory: %v", outside)
	}
}

func TestCopyNamesWhatItCannotOpenAndLeavesIt(t *testing.T) {
	dir := newDir(t)
	if err := openCopy(t, dir, sealer{key: "lost"}).Put(t.Context(), "wx1", grant(1, 9)); err != nil {
		t.Fatal(err)
	}
	c := openCopy(t, dir, current)
	if err := c.Put(t.Context(), "wx2", grant(1, 1)); err != nil {
		t.Fatal(err)
	}
	if err := c.Put(t.Context(), "wx1", grant(2, 1)); !errors.Is(err, errKey) || !strings.Contains(err.Error(), "wx1.grant") {
		t.Errorf("Put() over a file that cannot be opened = %v, want its name", err)
	}
	if _, err := c.Get(t.Context(), "wx1"); !errors.Is(err, errKey) {
		t.Errorf("Get() of a file that cannot be opened = %v", err)
	}
	accounts, err := c.Accounts(t.Context())
	if !slices.Equal(accounts, []string{"wx2"}) || !errors.Is(err, errKey) || !strings.Contains(err.Error(), "wx1.grant") {
		t.Errorf("Accounts() = %v, %v", accounts, err)
	}
	wantVersion(t, openCopy(t, dir, sealer{key: "lost"}), "wx1", 9)
}

func TestCopyIsSealedAgainBeforeAKeyIsRemoved(t *testing.T) {
	dir := newDir(t)
	if err := openCopy(t, dir, old).Put(t.Context(), "wx1", grant(1, 9)); err != nil {
		t.Fatal(err)
	}
	c := openCopy(t, dir, current)
	if err := c.Put(t.Context(), "wx2", grant(1, 5)); err != nil {
		t.Fatal(err)
	}
	if err := c.Reseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	later := openCopy(t, dir, sealer{key: "k2"})
	wantVersion(t, later, "wx1", 9)
	wantVersion(t, later, "wx2", 5)
	if err := openCopy(t, dir, sealer{key: "k9"}).Reseal(t.Context()); !errors.Is(err, errKey) || !strings.Contains(err.Error(), "wx1.grant") {
		t.Errorf("Reseal() without the keys = %v", err)
	}
	wantVersion(t, later, "wx1", 9)
}

func TestCopyTakesNoFileThatWasPutInAnothersPlace(t *testing.T) {
	dir := newDir(t)
	c := openCopy(t, dir, current)
	if err := c.Put(t.Context(), "wx1", grant(1, 1)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "wx1.grant")
	content := must(os.ReadFile(path))(t)
	other := filepath.Join(dir, "wx2.grant")
	for _, text := range []string{string(content), strings.Replace(string(content), "wx1\n", "wx2\n", 1)} {
		if err := os.WriteFile(other, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if g, err := c.Get(t.Context(), "wx2"); err == nil || !strings.Contains(err.Error(), other) {
			t.Errorf("Get() of another account's file = version %d, %v", g.Version, err)
		}
	}
}

func TestCopyIsSharedByProcesses(t *testing.T) {
	dir := newDir(t)
	var writers sync.WaitGroup
	for range 4 { // each opens the lock files itself, as a process of its own would
		c := openCopy(t, dir, current)
		writers.Go(func() {
			for v := uint64(1); v <= 25; v++ {
				if err := c.Put(t.Context(), "wx1", grant(1, v)); err != nil {
					t.Error(err)
				}
				g, err := c.Get(t.Context(), "wx1")
				if err != nil || g.Version < v {
					t.Errorf("after Put of version %d: %d, %v", v, g.Version, err)
				}
			}
		})
	}
	writers.Wait()
	wantVersion(t, openCopy(t, dir, current), "wx1", 25)
}

func TestCopyWaitsForALockNoLongerThanItsContext(t *testing.T) {
	dir := newDir(t)
	c := openCopy(t, dir, current)
	if err := c.Put(t.Context(), "wx1", grant(1, 1)); err != nil {
		t.Fatal(err)
	}
	unlock := grantfile.Lock(t, glob(t, dir, ".lock-*")[0])
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := c.Put(ctx, "wx1", grant(1, 2)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Put() while another process holds the lock = %v", err)
	}
	unlock()
	if err := c.Put(t.Context(), "wx1", grant(1, 2)); err != nil {
		t.Error(err)
	}
}

func TestKilledProcessesLeaveWholeCopies(t *testing.T) {
	dir := newDir(t)
	c := openCopy(t, dir, current)
	var confirmed uint64
	for range rounds {
		lines := start(t, "copy", dir).killAfter(t, 5)
		confirmed = must(strconv.ParseUint(lines[len(lines)-1], 10, 64))(t)
		g := must(c.Get(t.Context(), "wx1"))(t)
		if g.Version < confirmed || g.Version > confirmed+1 {
			t.Errorf("version %d is there, %d was confirmed", g.Version, confirmed)
		}
		wantVersion(t, c, "wx1", g.Version)
	}
}

func copyForEver(dir string) {
	c, err := grantfile.OpenCopy(dir, current)
	if err != nil {
		panic(err)
	}
	g, err := c.Get(context.Background(), "wx1")
	for ; err == nil; err = c.Put(context.Background(), "wx1", g) {
		if g.Version > 0 {
			fmt.Println(g.Version)
		}
		g = grant(1, g.Version+1)
	}
	panic(err)
}
