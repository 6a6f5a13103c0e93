package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

const repository = "https://github.com/zhongkong/zhongkong"

// source is the checkout that is built.
type source struct {
	root    string
	version string // v1.2.3, or v0.0.0-DATE-COMMIT as Go's tools make it
	commit  string
	date    time.Time // of the commit: every file that is published has it
}

// readSource asks git. Only a commit can be built again.
func readSource(ctx context.Context, root string, snapshot bool) (source, error) {
	git := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", root}, args...)...).Output()
		return strings.TrimSpace(string(out)), err
	}
	changes, err := git("status", "--porcelain")
	switch {
	case err != nil:
		return source{}, fmt.Errorf("git status: %w: a release is built from a git checkout", err)
	case changes != "" && !snapshot:
		return source{}, fmt.Errorf("these changes are not committed, so the same build could not be made again: "+
			"commit them, or pass --snapshot for a trial:\n%s", changes)
	}
	s := source{root: root}
	if s.commit, err = git("rev-parse", "HEAD"); err != nil {
		return source{}, fmt.Errorf("git rev-parse: %w", err)
	}
	seconds, err := git("log", "-1", "--format=%ct")
	if err != nil {
		return source{}, fmt.Errorf("git log: %w", err)
	}
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return source{}, err
	}
	s.date = time.Unix(unix, 0).UTC()
	if s.version, err = git("describe", "--tags", "--exact-match", "--match", "v*"); err != nil {
		s.version = fmt.Sprintf("v0.0.0-%s-%s", s.date.Format("20060102150405"), s.commit[:12])
	}
	if changes != "" {
		s.version += "+changes"
	}
	return s, nil
}

// system is what a binary runs on.
type system struct{ os, arch string }

func (s system) String() string { return s.os + "/" + s.arch }

func (s system) binary() string {
	if s.os == "windows" {
		return "zhongkong.exe"
	}
	return "zhongkong"
}

var allSystems = []system{
	{"linux", "amd64"}, {"linux", "arm64"}, {"linux", "arm"}, {"linux", "386"},
	{"darwin", "amd64"}, {"darwin", "arm64"}, {"windows", "amd64"}, {"windows", "arm64"},
}

// systems returns those that are listed, all for "".
func systems(list string) ([]system, error) {
	if list == "" {
		return allSystems, nil
	}
	var wanted []system
	for _, name := range strings.Split(list, ",") {
		i := slices.IndexFunc(allSystems, func(s system) bool { return s.String() == name })
		if i < 0 {
			return nil, fmt.Errorf("--only %s: no such system; there are %v", name, allSystems)
		}
		wanted = append(wanted, allSystems[i])
	}
	return wanted, nil
}

// buildTags leave out of the command line's library what writes its documentation as
// Markdown: a renderer that each command would initialise, and none uses.
const buildTags = "urfave_cli_no_docs"

// build makes a static, stripped binary. Nothing of this machine gets into it: no
// path, no build ID, no C.
func (s source) build(ctx context.Context, sys system, binary string) error {
	stamp := fmt.Sprintf("-s -w -buildid= -X main.stamped=%s -X main.stampedCommit=%s -X main.stampedDate=%s",
		s.version, s.commit, s.date.Format(time.RFC3339))
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-tags", buildTags, "-ldflags", stamp, "-o", binary, "./cmd/zhongkong")
	cmd.Dir = s.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+sys.os, "GOARCH="+sys.arch,
		"GOFLAGS=", "GOWORK=off", "GOAMD64=v1", "GOARM=7", "GOARM64=v8.0", "GO386=sse2", "GOEXPERIMENT=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// file is one that is published: in the archive, and in the packages.
type file struct {
	name string // in the archive
	path string // in the packages; "": not there
	mode os.FileMode
	data []byte
}

// files returns what goes into the archives besides the program. The completion scripts
// and the manual are the program's own words, so host, a binary of this commit for this
// machine, prints them.
func (s source) files(ctx context.Context, host string) ([]file, error) {
	files, err := s.documents()
	if err != nil {
		return nil, err
	}
	for _, printed := range []struct {
		file
		args []string
	}{
		{file{name: "completion/zhongkong.bash", path: "/usr/share/bash-completion/completions/zhongkong"}, []string{"completion", "bash"}},
		{file{name: "completion/_zhongkong", path: "/usr/share/zsh/site-functions/_zhongkong"}, []string{"completion", "zsh"}},
		{file{name: "completion/zhongkong.fish", path: "/usr/share/fish/vendor_completions.d/zhongkong.fish"}, []string{"completion", "fish"}},
		{file{name: "zhongkong.1", path: "/usr/share/man/man1/zhongkong.1"}, []string{"man"}},
	} {
		cmd := exec.CommandContext(ctx, host, printed.args...)
		cmd.Env = []string{}
		var failed bytes.Buffer
		cmd.Stderr = &failed
		if printed.data, err = cmd.Output(); err != nil {
			return nil, fmt.Errorf("zhongkong %s: %w: %s", strings.Join(printed.args, " "), err, failed.Bytes())
		}
		printed.mode = 0o644
		files = append(files, printed.file)
	}
	return files, nil
}
