package grantfile_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/grantfile"
)

func openSpool(t *testing.T, dir string, s grantfile.Sealer) *grantfile.Spool {
	t.Helper()
	spool := must(grantfile.OpenSpool(dir, "test", s))(t)
	t.Cleanup(func() { _ = spool.Close() })
	return spool
}

func answer(account string, fence coordinator.Fence) coordinator.GrantAnswer {
	return coordinator.GrantAnswer{
		Account: account, Fence: fence, Parent: fence - 1, Consent: fence - 2, Token: coordinator.NewToken(fmt.Sprintf("refresh-%s-%d", account, fence)), Form: "sibling",
	}
}

// names returns ACCOUNT@FENCE of answers whose token is the one that answer made.
func names(t *testing.T, answers []coordinator.GrantAnswer) []string {
	t.Helper()
	var all []string
	for _, a := range answers {
		want := answer(a.Account, a.Fence)
		if !a.Token.Equal(want.Token) || a.Parent != want.Parent || a.Form != want.Form {
			t.Errorf("the answer of %s@%d is another one than was written", a.Account, a.Fence)
		}
		all = append(all, fmt.Sprintf("%s@%d", a.Account, a.Fence))
	}
	slices.Sort(all)
	return all
}

func wantAnswers(t *testing.T, spool *grantfile.Spool, want ...string) {
	t.Helper()
	got := names(t, must(spool.Answers())(t))
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("Answers() = %v, want %v", got, want)
	}
}

func TestSpoolKeepsAnswersUntilTheyAreRemoved(t *testing.T) {
	spool := openSpool(t, newDir(t), current)
	wantAnswers(t, spool)
	for _, a := range []coordinator.GrantAnswer{answer("wx1", 7), answer("wx1", 8), answer("CRM.prod", 9), answer("crm.prod", 9)} {
		if err := spool.Write(a); err != nil {
			t.Fatal(err)
		}
	}
	wantAnswers(t, spool, "wx1@7", "wx1@8", "CRM.prod@9", "crm.prod@9")
	for range 2 { // the second finds nothing
		if err := spool.Remove("wx1", 7); err != nil {
			t.Fatal(err)
		}
	}
	wantAnswers(t, spool, "wx1@8", "CRM.prod@9", "crm.prod@9")
}

func TestSpoolTellsHowMuchOfAGrantsLifeIsLeft(t *testing.T) {
	spool := openSpool(t, newDir(t), current)
	a := answer("crm", 3)
	a.Idle, a.Ends = time.Hour, time.Nanosecond
	if err := spool.Write(a); err != nil {
		t.Fatal(err)
	}
	got := must(spool.Answers())(t)[0]
	if got.Idle > time.Hour || got.Idle < 50*time.Minute || got.Ends != time.Second {
		t.Errorf("Idle = %v, Ends = %v, want almost 1h, and 1s for what is over", got.Idle, got.Ends)
	}
}

func TestOnlyTheAnswersOfEndedProcessesAreForOthers(t *testing.T) {
	dir := newDir(t)
	first, second := openSpool(t, dir, current), openSpool(t, dir, current)
	if err := first.Write(answer("wx1", 7)); err != nil {
		t.Fatal(err)
	}
	wantAnswers(t, second)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	wantAnswers(t, second, "wx1@7")
}

// Who reads an answer may not have its account.
func TestAnAnswerIsForEveryProcessUntilOneRemovesIt(t *testing.T) {
	dir := newDir(t)
	ended := openSpool(t, dir, current)
	if err := errors.Join(ended.Write(answer("wx1", 7)), ended.Write(answer("wx2", 8)), ended.Close()); err != nil {
		t.Fatal(err)
	}
	first, second := openSpool(t, dir, current), openSpool(t, dir, current)
	for range 2 {
		wantAnswers(t, first, "wx1@7", "wx2@8")
		wantAnswers(t, second, "wx1@7", "wx2@8")
	}
	for _, remover := range []*grantfile.Spool{first, second} { // the second finds nothing
		if err := remover.Remove("wx1", 7); err != nil {
			t.Fatal(err)
		}
	}
	wantAnswers(t, first, "wx2@8")
	if err := second.Remove("wx2", 8); err != nil {
		t.Fatal(err)
	}
	wantAnswers(t, first)
	if got := glob(t, dir, "*"); len(got) != 2 {
		t.Errorf("the directory has %v, want those of the two that live", got)
	}
}

func TestAnAnswerThatOneProcessCannotOpenIsForAnother(t *testing.T) {
	dir := newDir(t)
	other := sealer{key: "other"}
	ended := openSpool(t, dir, other)
	if err := errors.Join(ended.Write(answer("wx1", 7)), ended.Close()); err != nil {
		t.Fatal(err)
	}
	stranger, owner := openSpool(t, dir, current), openSpool(t, dir, other)
	for range 2 {
		answers, err := stranger.Answers()
		if len(answers) != 0 || !errors.Is(err, errKey) || !strings.Contains(err.Error(), glob(t, dir, "*/wx1@7.answer")[0]) {
			t.Errorf("Answers() without the key = %v, %v, want an error that names the file", names(t, answers), err)
		}
	}
	wantAnswers(t, owner, "wx1@7")
}

func TestSpoolNamesWhatItCannotOpenAndLeavesIt(t *testing.T) {
	dir := newDir(t)
	writer := openSpool(t, dir, sealer{key: "lost"})
	if err := writer.Write(answer("wx1", 7)); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	reader := openSpool(t, dir, current)
	if err := reader.Write(answer("wx2", 8)); err != nil {
		t.Fatal(err)
	}
	torn := filepath.Join(filepath.Dir(glob(t, dir, "*/wx2@8.answer")[0]), "wx3@9.answer")
	if err := os.WriteFile(torn, []byte("wx3\nk2.AA"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		answers, err := reader.Answers()
		if got := names(t, answers); !slices.Equal(got, []string{"wx2@8"}) {
			t.Errorf("Answers() = %v, want wx2@8", got)
		}
		if !errors.Is(err, errKey) || !strings.Contains(err.Error(), "wx1@7.answer") || !strings.Contains(err.Error(), torn) {
			t.Errorf("Answers() = %v, want the names of both files", err)
		}
	}
}

func TestWaitingAnswersAreListed(t *testing.T) {
	dir := newDir(t)
	lost, spool := openSpool(t, dir, sealer{key: "lost"}), openSpool(t, dir, current)
	if err := errors.Join(lost.Write(answer("wx1", 7)), spool.Write(answer("wx2", 8)), spool.Close()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		accounts, err := grantfile.Waiting(dir, current)
		if !slices.Equal(accounts, []string{"wx2"}) || !errors.Is(err, errKey) || !strings.Contains(err.Error(), "wx1@7.answer") {
			t.Errorf("Waiting() = %v, %v", accounts, err)
		}
	}
	wantAnswers(t, openSpool(t, dir, current), "wx2@8")
}

func TestSpoolOpensWhatAnEarlierKeySealed(t *testing.T) {
	dir := newDir(t)
	writer := openSpool(t, dir, old)
	if err := errors.Join(writer.Write(answer("wx1", 7)), writer.Close()); err != nil {
		t.Fatal(err)
	}
	wantAnswers(t, openSpool(t, dir, current), "wx1@7")
}

func TestDirectoriesThatOthersCanReadAreRefused(t *testing.T) {
	open := map[string]func(dir string) error{
		"spool": func(dir string) error { _, err := grantfile.OpenSpool(dir, "test", current); return err },
		"copy":  func(dir string) error { _, err := grantfile.OpenCopy(dir, current); return err },
	}
	for name, open := range open {
		dir := filepath.Join(newDir(t), "below")
		if err := open(dir); err != nil {
			t.Errorf("%s: a directory that has to be made: %v", name, err)
		}
		for mode, refused := range map[os.FileMode]bool{0o700: false, 0o770: false, 0o755: true, 0o701: true} {
			if err := os.Chmod(dir, mode); err != nil {
				t.Fatal(err)
			}
			if err := open(dir); (err != nil) != refused || refused && !strings.Contains(err.Error(), "chmod 700") {
				t.Errorf("%s: a directory of mode %v: %v, want an error: %v", name, mode, err, refused)
			}
		}
		if err := open(filepath.Join(dir, "\x00")); err == nil {
			t.Errorf("%s: opened a directory that cannot be made", name)
		}
	}
}

func TestFilesAreForTheirUserAloneAndShowNothing(t *testing.T) {
	dir := newDir(t)
	if err := openSpool(t, dir, current).Write(answer("wx1", 7)); err != nil {
		t.Fatal(err)
	}
	path := glob(t, dir, "*/wx1@7.answer")[0]
	info := must(os.Stat(path))(t)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v, want 0600", info.Mode())
	}
	if b := must(os.ReadFile(path))(t); strings.Contains(string(b), "refresh-wx1") {
		t.Error("the file shows the token")
	}
}

func TestKilledProcessesLoseNoAnswer(t *testing.T) {
	dir := newDir(t)
	confirmed := map[string]bool{}
	for range rounds {
		for _, line := range start(t, "spool", dir).killAfter(t, 5) {
			if verb, name, _ := strings.Cut(line, " "); verb == "+" {
				confirmed[name] = true
			} else {
				delete(confirmed, name)
			}
		}
	}
	spool := openSpool(t, dir, current)
	answers := must(spool.Answers())(t)
	got := names(t, answers)
	for name := range confirmed {
		if !slices.Contains(got, name) {
			t.Errorf("the answer %s, which was written, is not there", name)
		}
	}
	if over := len(got) - len(confirmed); over > 2*rounds { // one written and one removed, unsaid, for each
		t.Errorf("%d answers are there that were removed or never written", over)
	}
	for _, a := range answers {
		if err := spool.Remove(a.Account, a.Fence); err != nil {
			t.Fatal(err)
		}
	}
	wantAnswers(t, spool)
	if got := glob(t, dir, "*"); len(got) != 1 {
		t.Errorf("the directory has %v, want only that of the process that lives", got)
	}
}

// rounds is how many processes are killed.
const rounds = 12

func spoolForEver(dir string) {
	spool, err := grantfile.OpenSpool(dir, "child", current)
	if err != nil {
		panic(err)
	}
	for fence := coordinator.Fence(os.Getpid()) << 20; ; fence++ { //nolint:gosec // a process id is positive
		if err := spool.Write(answer("wx1", fence)); err != nil {
			panic(err)
		}
		fmt.Printf("+ wx1@%d\n", fence)
		if fence%2 == 0 {
			fmt.Printf("- wx1@%d\n", fence)
			if err := spool.Remove("wx1", fence); err != nil {
				panic(err)
			}
		}
	}
}

func glob(t *testing.T, dir, pattern string) []string {
	t.Helper()
	return must(filepath.Glob(filepath.Join(dir, pattern)))(t)
}

// Else the first answer would end the process, and be lost.
func TestNothingIsOpenedWithoutASealer(t *testing.T) {
	if _, err := grantfile.OpenSpool(t.TempDir(), "test", nil); err == nil {
		t.Error("a spool is")
	}
	if _, err := grantfile.OpenCopy(t.TempDir(), nil); err == nil {
		t.Error("a copy is")
	}
}
