//go:build unix

package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The systems whose binaries this machine can run, and one whose archive is a zip.
var tested = map[string][]string{
	"linux/amd64": {"linux/amd64", "linux/386"},
	"linux/arm64": {"linux/arm64", "linux/arm"},
}

func testedSystems() []string {
	host := runtime.GOOS + "/" + runtime.GOARCH
	if all := tested[host]; all != nil {
		return all
	}
	return []string{host}
}

// checkout returns a copy of this repository's newest commit, with a tag, in a directory
// of the name.
func checkout(t *testing.T, name, tag string) string {
	t.Helper()
	here, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	there := filepath.Join(t.TempDir(), name)
	git(t, here, "clone", "--quiet", "--shared", here, there)
	git(t, there, "tag", tag)
	return there
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=A", "-c", "user.email=a@example.com"}, args...)...)
	cmd.Env = append(os.Environ(), "TZ=UTC")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// release is one that the tests share: v1.2.3 of the newest commit.
type release struct {
	dir     string
	began   time.Time
	version string // what `zhongkong version` says of it
}

var shared struct {
	once sync.Once
	release
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.dir != "" {
		_ = os.RemoveAll(filepath.Dir(shared.dir))
	}
	os.Exit(code)
}

func built(t *testing.T) release {
	t.Helper()
	shared.once.Do(func() {
		top, err := os.MkdirTemp("", "zhongkong-released-")
		if err != nil {
			t.Fatal(err)
		}
		there, began := checkout(t, "here", "v1.2.3"), time.Now()
		shared.dir = filepath.Join(top, "dist")
		if err := run(t.Context(), []string{"--root", there, "--only", strings.Join(testedSystems(), ","), "--output", shared.dir}); err != nil {
			t.Fatal(err)
		}
		shared.began = began
		date := git(t, there, "log", "-1", "--format=%cd", "--date=format-local:%Y-%m-%dT%H:%M:%SZ")
		shared.version = fmt.Sprintf("v1.2.3 %.12s %s", git(t, there, "rev-parse", "HEAD"), date)
	})
	if shared.version == "" {
		t.Fatal("the release of another test was not built")
	}
	return shared.release
}

func sums(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = fmt.Sprintf("%x", sha256.Sum256(data))
	}
	return all
}

// The builds share the compiled packages, which Go names by all that went into them.
// What is apart: the directory, the times of the files and of the build, the time zone,
// the umask, and everything that is linked, packed and listed.
func TestTwoBuildsOfAReleaseHaveTheSameBytes(t *testing.T) {
	one := built(t)
	there, again := checkout(t, "elsewhere/and/deeper", "v1.2.3"), filepath.Join(t.TempDir(), "again")
	old := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	err := filepath.WalkDir(there, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.Name() == ".git":
			return fs.SkipDir
		}
		return os.Chtimes(path, old, old)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TZ", "Asia/Shanghai")
	t.Setenv("LC_ALL", "C.UTF-8")
	defer syscall.Umask(syscall.Umask(0o077))
	if apart := time.Since(one.began); apart < 3*time.Second {
		t.Fatalf("the builds began %v apart, and a zip counts in steps of 2s", apart)
	}
	if err := run(t.Context(), []string{"--root", there, "--only", strings.Join(testedSystems(), ","), "--output", again}); err != nil {
		t.Fatal(err)
	}
	first, second := sums(t, one.dir), sums(t, again)
	if want := 1 + 4*len(testedSystems()); runtime.GOOS == "linux" && len(first) != want {
		t.Errorf("the release has %d files, want %d: archive, deb, rpm and SBOM for each system, and SHA256SUMS", len(first), want)
	}
	for name, sum := range first {
		if second[name] != sum {
			t.Errorf("%s differs", name)
		}
	}
	check := exec.Command("sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS")
	check.Dir = again
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("sha256sum --check: %v\n%s", err, out)
	}
}

func TestTheBinaryStartsFromItsArchive(t *testing.T) {
	r := built(t)
	for _, name := range testedSystems() {
		os, arch, _ := strings.Cut(name, "/")
		binary := unpack(t, filepath.Join(r.dir, "zhongkong_1.2.3_"+os+"_"+arch+".tar.gz"))
		out, err := exec.Command(binary, "version").CombinedOutput()
		if errors.Is(err, syscall.ENOEXEC) && arch != runtime.GOARCH {
			t.Logf("this machine's kernel runs no programs of %s", name)
			continue
		}
		if want := "zhongkong " + r.version + " " + runtime.Version() + " " + name + "\n"; err != nil || string(out) != want {
			t.Errorf("zhongkong version: %v\n%swant\n%s", err, out, want)
		}
		for _, command := range newcomer(t, "binary") {
			cmd := exec.Command("bash", "-euo", "pipefail", "-c", command)
			cmd.Dir, cmd.Env = filepath.Dir(binary), []string{"PATH=/usr/bin:/bin"}
			if out, err := cmd.Output(); err != nil || !token.Match(out) {
				t.Errorf("%s: %s prints %q, want a token: %v", name, command, out, err)
			}
		}
	}
}

// unpack unpacks a .tar.gz and returns the path of the program in it.
func unpack(t *testing.T, archive string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("tar", "-C", dir, "-xzf", archive).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	top := filepath.Join(dir, strings.TrimSuffix(filepath.Base(archive), ".tar.gz"))
	for _, name := range []string{
		"README.md", "README.zh-CN.md", "LICENSE", "CHANGELOG.md", "cmd/zhongkong/docs/configuration.md", "zhongkong.1",
		"completion/zhongkong.bash", "completion/_zhongkong", "completion/zhongkong.fish",
	} {
		if info, err := os.Stat(filepath.Join(top, name)); err != nil || info.Size() == 0 {
			t.Errorf("the archive has no %s: %v", name, err)
		}
	}
	linksLead(t, top)
	return filepath.Join(top, "zhongkong")
}

// linksLead looks for what the links of the documents in an archive lead to.
func linksLead(t *testing.T, top string) {
	t.Helper()
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".md" {
			return err
		}
		text, err := os.ReadFile(path)
		for _, found := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), found[1])); err != nil {
				t.Errorf("%s: a link leads nowhere: %v", path, err)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A tar and a zip of the same files hold the same.
func TestAnArchiveForWindowsIsAZip(t *testing.T) {
	name := filepath.Join(t.TempDir(), "zhongkong_1.2.3")
	files := []file{{name: "zhongkong.exe", mode: 0o755, data: []byte("program")}, {name: "cmd/a.md", mode: 0o644, data: []byte("text")}}
	date := time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC)
	for _, sys := range []system{{"windows", "amd64"}, {"darwin", "arm64"}} {
		if err := writeArchive(name, sys, files, date); err != nil {
			t.Fatal(err)
		}
	}
	zipped, err := zip.OpenReader(name + ".zip")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = zipped.Close() }()
	data, err := os.ReadFile(name + ".tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	tarred := tar.NewReader(plain)
	for i, f := range files {
		header, err := tarred.Next()
		if err != nil {
			t.Fatal(err)
		}
		inTar, err := io.ReadAll(tarred)
		inZip, err2 := fs.ReadFile(zipped, "zhongkong_1.2.3/"+f.name)
		if err != nil || err2 != nil || !bytes.Equal(inTar, f.data) || !bytes.Equal(inZip, f.data) {
			t.Errorf("%s: %q, %v in the tar, %q, %v in the zip", f.name, inTar, err, inZip, err2)
		}
		entry := zipped.File[i]
		if header.Name != entry.Name || header.Mode != int64(f.mode) || entry.Mode() != f.mode || !entry.Modified.Equal(date) || !header.ModTime.Equal(date) {
			t.Errorf("%s: %+v in the tar, %+v in the zip", f.name, header, entry)
		}
	}
}

func TestAReleaseIsNotBuiltOfWhatIsNotCommitted(t *testing.T) {
	there := checkout(t, "changed", "v1.2.3")
	for _, changed := range []string{"README.md", "a-new-file"} {
		before, _ := os.ReadFile(filepath.Join(there, changed))
		if err := os.WriteFile(filepath.Join(there, changed), []byte("changed"), 0o600); err != nil {
			t.Fatal(err)
		}
		err := run(t.Context(), []string{"--root", there, "--output", filepath.Join(t.TempDir(), "out")})
		if err == nil || !strings.Contains(err.Error(), "not committed") || !strings.Contains(err.Error(), changed) {
			t.Errorf("run() = %v, want an error that says what is not committed", err)
		}
		if before == nil {
			err = os.Remove(filepath.Join(there, changed))
		} else {
			err = os.WriteFile(filepath.Join(there, changed), before, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if s, err := readSource(t.Context(), there, false); err != nil || s.version != "v1.2.3" {
		t.Errorf("readSource() = %+v, %v of the clean checkout", s, err)
	}
}

func TestAnUnknownSystemIsNamed(t *testing.T) {
	if _, err := systems("linux/amd64,plan9/amd64"); err == nil || !strings.Contains(err.Error(), "plan9/amd64") {
		t.Errorf("systems() = %v", err)
	}
}
