package main

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
)

// transcript is a command of the README with the output that it promises.
type transcript struct {
	command string
	output  []string
}

// transcripts returns what stands in ```console blocks under a heading.
func transcripts(text, heading string) []transcript {
	_, section, _ := strings.Cut(text, "\n"+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var all []transcript
	inside := false
	for line := range strings.SplitSeq(section, "\n") {
		command, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```console"
		case !inside:
		case isCommand:
			all = append(all, transcript{command: command})
		case len(all) > 0:
			last := &all[len(all)-1]
			last.output = append(last.output, line)
		}
	}
	return all
}

// pattern makes an expression of a line of the README: digits stand for any
// digits, … for anything.
func pattern(line string) *regexp.Regexp {
	expr := regexp.MustCompile(`\d+`).ReplaceAllLiteralString(regexp.QuoteMeta(line), `\d+`)
	return regexp.MustCompile("^" + strings.ReplaceAll(expr, "…", ".+") + "$")
}

// TestTheREADMEsTranscriptsAreTrue runs them against a real Redis and the
// sandbox.
func TestTheREADMEsTranscriptsAreTrue(t *testing.T) {
	for file, heading := range map[string]string{"../../README.md": "## Call it", "../../README.zh-CN.md": "## 调用"} {
		text, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			continue
		}
		all := transcripts(string(text), heading)
		if len(all) == 0 {
			t.Errorf("%s has no transcripts under %q", file, heading)
			continue
		}
		b := newBench(t).with("ZHONGKONG_SECRET", "", "ZHONGKONG_API_BASE", "", "ZHONGKONG_CONFIG", writtenRoutes(t, string(text)),
			envUsers, "app:s3cret,"+opsName+":"+opsPassword)
		d := b.serve("--sandbox")
		d.ready()
		for _, one := range all {
			one.command = strings.ReplaceAll(one.command, "http://127.0.0.1:8080", d.url)
			if strings.HasPrefix(one.command, "curl -sN") {
				one.runStream(t, d.url)
			} else {
				one.run(t)
			}
		}
		d.stop()
	}
}

// writtenRoutes is a configuration with the routes of a README.
func writtenRoutes(t *testing.T, text string) string {
	t.Helper()
	_, routes, found := strings.Cut(text, "```yaml\nroutes:\n")
	routes, _, closed := strings.Cut(routes, "```")
	if !found || !closed {
		t.Fatal("the README has no routes")
	}
	file := filepath.Join(t.TempDir(), "routes.yaml")
	if err := os.WriteFile(file, []byte("routes:\n"+strings.ReplaceAll(routes, "127.0.0.1:8090", "127.0.0.1:0")), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestTheREADMEsRightsAreThoseThatTheTestsRunWith(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for user, rules := range map[string][]string{
		"zhongkong-refresher on >password": redisadmin.RequiredACL("", coordinator.Refresher),
		"zhongkong-reader on >password":    redisadmin.RequiredACL("", coordinator.Reader),
		"zhongkong-reader":                 {redisadmin.DemandACL("")},
	} {
		line := "\nACL SETUSER " + user + " " + strings.Join(rules, " ") + "\n"
		if !strings.Contains(string(text), line) {
			t.Errorf("the README lacks:%s", line)
		}
	}
}

func shell(ctx context.Context, command string) *exec.Cmd {
	c := exec.CommandContext(ctx, "bash", "-o", "pipefail", "-c", command)
	c.WaitDelay = time.Second
	return c
}

// run runs a command and compares all of its output.
func (one transcript) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var stderr bytes.Buffer
	c := shell(ctx, one.command)
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Errorf("$ %s\n%v\n%s", one.command, err, stderr.String())
		return
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(lines) != len(one.output) {
		t.Errorf("$ %s\nprints %d lines, the README has %d:\n%s", one.command, len(lines), len(one.output), out)
		return
	}
	for i, want := range one.output {
		if !pattern(want).MatchString(lines[i]) {
			t.Errorf("$ %s\nprints\n%s\nthe README has\n%s", one.command, lines[i], want)
		}
	}
}

// runStream runs a command that does not end: it refreshes once the first
// lines have come, and reads as many as the README has.
func (one transcript) runStream(t *testing.T, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c := shell(ctx, "exec "+one.command)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = c.Wait() // it was killed
	}()
	in := bufio.NewScanner(out)
	for _, want := range one.output {
		if !in.Scan() || !pattern(want).MatchString(in.Text()) {
			t.Errorf("$ %s\nprints\n%s\nthe README has\n%s", one.command, in.Text(), want)
			return
		}
		if strings.HasPrefix(want, ": connected") {
			transcript{"curl -s -o /dev/null -X POST -u app:s3cret " + url + "/v1/tokens/" + appID + "/refresh", []string{""}}.run(t)
		}
	}
}
