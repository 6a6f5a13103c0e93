package main

import (
	"cmp"
	"fmt"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"
)

func (p program) versionCommand() *cli.Command {
	return &cli.Command{
		Name:   "version",
		Usage:  "print the version",
		Action: func(*cli.Context) error { return p.printVersion() },
	}
}

func (p program) printVersion() error {
	_, err := fmt.Fprintf(p.stdout, "zhongkong %s %s %s/%s\n", built(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// What a build outside of a repository is told by -ldflags "-X main.stamped=v1.2.3":
// the version, the commit, and its date (RFC 3339).
var stamped, stampedCommit, stampedDate string

// build says what this binary was built of.
type build struct {
	version string // v1.2.3, or devel-COMMIT
	commit  string // "": not known
	date    string // of the commit, RFC 3339; "": not known
}

// String is what `zhongkong version` prints: the commit is left out where the version
// names it.
func (b build) String() string {
	commit := b.commit[:min(12, len(b.commit))]
	switch {
	case b.date == "":
		return b.version
	case commit == "" || strings.Contains(b.version, commit):
		return b.version + " " + b.date
	}
	return fmt.Sprintf("%s %s %s", b.version, commit, b.date)
}

// built returns what the build was told, else what Go's tools wrote into the binary: of
// `go install …@v1.2.3` the module's version, of `go build` in a repository the commit.
var built = sync.OnceValue(func() build {
	b := build{version: stamped, commit: stampedCommit, date: stampedDate}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		b.version = cmp.Or(b.version, "unknown")
		return b
	}
	dirty := ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.commit = cmp.Or(b.commit, s.Value)
		case "vcs.time":
			b.date = cmp.Or(b.date, s.Value)
		case "vcs.modified":
			if s.Value == "true" {
				dirty = "+changes"
			}
		}
	}
	if v := info.Main.Version; v != "(devel)" {
		b.version = cmp.Or(b.version, v)
		b = b.withPseudoVersion()
	}
	if b.commit != "" {
		b.version = cmp.Or(b.version, "devel-"+b.commit[:min(12, len(b.commit))]+dirty)
	}
	b.version = cmp.Or(b.version, "devel")
	return b
})

// pseudoVersion matches what Go's tools call a commit without a tag: its date and the
// beginning of its hash.
var pseudoVersion = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[-.](\d{14})-([0-9a-f]{12})(?:\+|$)`) })

// withPseudoVersion adds the commit and its date where only the version names them, as in
// a binary of `go install …@main`.
func (b build) withPseudoVersion() build {
	parts := pseudoVersion().FindStringSubmatch(b.version)
	if parts == nil {
		return b
	}
	b.commit = cmp.Or(b.commit, parts[2])
	if date, err := time.Parse("20060102150405", parts[1]); err == nil {
		b.date = cmp.Or(b.date, date.Format(time.RFC3339))
	}
	return b
}

// version returns the version alone, for places that have no room for more.
func version() string { return built().version }
