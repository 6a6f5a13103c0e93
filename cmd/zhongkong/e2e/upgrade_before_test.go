//go:build unix

package e2e_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// versionBefore is the commit of the version before this one. Raise it with each release.
// versionOfWeChat is of a version that knows WeChat's access_token only.
const (
	versionBefore   = "ab28645d5c65c7028f4c960df916c8119c5b6143"
	versionOfWeChat = "84c39c6bd5ebdbf40da00b88d3547e192a98c7de"
)

// programBefore is the program of that version.
type programBefore struct {
	binary string
	readme string // the text of its README
}

// theVersionOf returns the program of a commit, built once.
func theVersionOf(t *testing.T, commit string) programBefore {
	t.Helper()
	build, _ := builds.LoadOrStore(commit, sync.OnceValues(func() (programBefore, error) { return buildOf(commit) }))
	program, err := build.(func() (programBefore, error))()
	switch {
	case errors.Is(err, errNoHistory):
		t.Skip(err) // an archive of the sources, or a shallow clone, does not have it
	case err != nil:
		t.Fatal(err)
	}
	return program
}

var builds sync.Map // of commit

var errNoHistory = errors.New("a rolling upgrade is tested with a program that is built from an older commit" +
	": that needs git and a clone with the whole history; in a shallow clone run git fetch --unshallow")

// buildOf builds a commit of the history of this repository.
func buildOf(commit string) (p programBefore, err error) {
	archive := exec.Command("git", "archive", commit, "go.mod", "go.sum", "README.md", "cmd", "coordinator", "redisstore")
	archive.Dir = "../../.." // the paths are relative to it
	var said bytes.Buffer
	archive.Stderr = &said
	files, err := archive.Output()
	if err != nil {
		return p, fmt.Errorf("%w: git archive: %w\n%s", errNoHistory, err, said.Bytes())
	}
	dir := filepath.Join(filepath.Dir(binary), commit)
	if err := extract(files, dir); err != nil {
		return p, err
	}
	text, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		return p, err
	}
	p = programBefore{filepath.Join(dir, "zhongkong"), string(text)}
	// With -trimpath what was compiled is found again in Go's cache, though dir is
	// another one each time.
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", p.binary, "./cmd/zhongkong")
	build.Dir, build.Env = dir, append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		return p, fmt.Errorf("go build of the version before: %w\n%s", err, out)
	}
	return p, nil
}

// extract writes the files of a tar archive below dir.
func extract(archive []byte, dir string) error {
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if header.Typeflag != tar.TypeReg || !filepath.IsLocal(header.Name) {
			continue
		}
		content, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		path := filepath.Join(dir, header.Name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, content, 0o600)); err != nil {
			return err
		}
	}
}

// exampleOf returns the configuration file in a README's section on configuration.
func exampleOf(t *testing.T, readme string) string {
	t.Helper()
	_, text, found := strings.Cut(readme, "```yaml\nredis: ")
	text, _, ends := strings.Cut(text, "```\n")
	if !found || !ends {
		t.Fatal("the README of the version before has no configuration file")
	}
	return "redis: " + text
}
