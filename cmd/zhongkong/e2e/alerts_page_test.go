//go:build unix

package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const runbook = "../docs/runbook"

// runbookPage is the page of an alert.
type runbookPage struct {
	look, do []pageCommand
}

// pageCommand is a command of a page, and what it prints: … is anything, a line … any
// number of lines, a number any number, spaces any number of spaces.
type pageCommand struct {
	command string
	code    int // it exits with, from the comment "# exit N"
	output  []string
}

var pageHeadings = []string{"## What it means", "## Look", "## Do", "## When it ends"}

// readRunbook reads the page of an alert, which has exactly these headings.
func readRunbook(t *testing.T, alert string) runbookPage {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(runbook, alert+".md"))
	if err != nil {
		t.Fatal(err)
	}
	if headings := regexp.MustCompile(`(?m)^##.*$`).FindAllString(string(text), -1); !slices.Equal(headings, pageHeadings) {
		t.Errorf("%s.md has the headings %q, want %q", alert, headings, pageHeadings)
	}
	if !strings.HasPrefix(string(text), "# "+alert+"\n") {
		t.Errorf("%s.md does not begin with its name", alert)
	}
	return runbookPage{look: pageCommands(string(text), pageHeadings[1]), do: pageCommands(string(text), pageHeadings[2])}
}

// pageCommands returns what stands in console blocks below a heading.
func pageCommands(text, heading string) []pageCommand {
	_, section, _ := strings.Cut(text, "\n"+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var all []pageCommand
	inside := false
	exits := regexp.MustCompile(`\s+# exit (\d+)$`)
	for line := range strings.SplitSeq(section, "\n") {
		command, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```console"
		case !inside:
		case isCommand:
			one := pageCommand{command: command}
			if found := exits.FindStringSubmatch(command); found != nil {
				one.code, _ = strconv.Atoi(found[1])
			}
			all = append(all, one)
		case len(all) > 0:
			last := &all[len(all)-1]
			last.output = append(last.output, line)
		}
	}
	return all
}

// difference runs the command in the situation of its page. It returns what is
// different from the page, "" if nothing is. replace puts the names of the situation in
// the place of those of the page.
func (c pageCommand) difference(ctx context.Context, f *fleet, replace *strings.Replacer) string {
	// doctor may have begun a refresh, whose outcome it stores for 55 s at most.
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	command := replace.Replace(c.command)
	cmd := exec.CommandContext(ctx, "bash", "-c", command)
	for name, value := range f.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	code, exit := 0, new(exec.ExitError)
	if err := cmd.Run(); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		return err.Error()
	}
	var want []string
	for _, line := range c.output {
		want = append(want, replace.Replace(line))
	}
	got := strings.Split(strings.TrimRight(strings.ReplaceAll(said.String(), "\r\n", "\n"), "\n"), "\n")
	if code == c.code && matches(want, got) {
		return ""
	}
	return fmt.Sprintf("$ %s\nexits with %d and prints\n%s\nthe page says %d and\n%s",
		command, code, said.String(), c.code, strings.Join(want, "\n"))
}

// matches reports whether the lines are those of a page.
func matches(page, lines []string) bool {
	switch {
	case len(page) == 0:
		return len(lines) == 0 || len(lines) == 1 && lines[0] == ""
	case page[0] == "…":
		for skip := range len(lines) + 1 {
			if matches(page[1:], lines[skip:]) || len(page) == 1 {
				return true
			}
		}
		return false
	}
	return len(lines) > 0 && linePattern(page[0]).MatchString(lines[0]) && matches(page[1:], lines[1:])
}

func linePattern(line string) *regexp.Regexp {
	expr := regexp.QuoteMeta(strings.TrimRight(line, " "))
	expr = regexp.MustCompile(`\d+`).ReplaceAllLiteralString(expr, `\d+`)
	expr = regexp.MustCompile(` +`).ReplaceAllLiteralString(expr, ` +`)
	return regexp.MustCompile("^" + strings.ReplaceAll(expr, "…", ".+") + " *$")
}
