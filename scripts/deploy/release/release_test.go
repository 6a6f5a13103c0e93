package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// checkout returns a copy of this repository's newest commit, in a directory of the name.
func checkout(t *testing.T, name string) string {
	t.Helper()
	here, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	there := filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("git", "clone", "--quiet", "--shared", here, there).CombinedOutput(); err != nil {
		t.Fatalf("git clone: %v\n%s", err, out)
	}
	return there
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

// The builds share the compiled packages, which Go names by all that went into them;
// directory, time zone and everything that is linked, packed and listed are apart.
func TestTwoBuildsOfAReleaseHaveTheSameBytes(t *testing.T) {
	host := runtime.GOOS + "/" + runtime.GOARCH
	one, two := filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "two")
	if err := run(t.Context(), []string{"--root", checkout(t, "here"), "--only", host, "--output", one}); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TZ", "Asia/Shanghai")
	if err := run(t.Context(), []string{"--root", checkout(t, "elsewhere"), "--only", host, "--output", two}); err != nil {
		t.Fatal(err)
	}
	first, second := sums(t, one), sums(t, two)
	if len(first) != 5 {
		t.Errorf("a release for one Linux has %d files, want archive, deb, rpm, SBOM and SHA256SUMS", len(first))
	}
	for name, sum := range first {
		if second[name] != sum {
			t.Errorf("%s differs", name)
		}
	}
	startsFromItsArchive(t, one)
}

func startsFromItsArchive(t *testing.T, dir string) {
	t.Helper()
	archives, err := filepath.Glob(filepath.Join(dir, "*.tar.gz"))
	if err != nil || len(archives) != 1 {
		t.Fatal(archives, err)
	}
	data, err := os.ReadFile(archives[0])
	if err != nil {
		t.Fatal(err)
	}
	plain, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "zhongkong")
	names := map[string]bool{}
	for archive := tar.NewReader(plain); ; {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(header.Name, "/")
		names[name] = true
		if name == "zhongkong" {
			program, err := io.ReadAll(archive)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(binary, program, os.FileMode(header.Mode)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range []string{"zhongkong", "README.md", "LICENSE", "zhongkong.1", "completion/zhongkong.bash"} {
		if !names[name] {
			t.Errorf("the archive has no %s", name)
		}
	}
	out, err := exec.Command(binary, "version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "zhongkong v") {
		t.Errorf("zhongkong version: %v\n%s", err, out)
	}
}

func TestAReleaseIsNotBuiltOfWhatIsNotCommitted(t *testing.T) {
	there := checkout(t, "changed")
	if err := os.WriteFile(filepath.Join(there, "README.md"), []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := run(t.Context(), []string{"--root", there, "--output", filepath.Join(t.TempDir(), "out")})
	if err == nil || !strings.Contains(err.Error(), "not committed") {
		t.Errorf("run() = %v, want an error that says what is not committed", err)
	}
}

func TestAnUnknownSystemIsNamed(t *testing.T) {
	if _, err := systems("linux/amd64,plan9/amd64"); err == nil || !strings.Contains(err.Error(), "plan9/amd64") {
		t.Errorf("systems() = %v", err)
	}
}
