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

// transcript is a command on a page with the output that it promises.
type transcript struct {
	command string
	output  []string
}

// transcripts returns what stands in ```console blocks.
func transcripts(text string) []transcript {
	var all []transcript
	for _, line := range pageLines(text) {
		command, isCommand := strings.CutPrefix(line.text, "$ ")
		switch {
		case !line.inside || line.block != "console":
		case isCommand:
			all = append(all, transcript{command: command})
		case len(all) > 0:
			last := &all[len(all)-1]
			last.output = append(last.output, line.text)
		}
	}
	return all
}

// pattern makes an expression of a line of a page: digits stand for any digits, … for
// anything, spaces for any number of them.
func pattern(line string) *regexp.Regexp {
	expr := regexp.MustCompile(`\d+`).ReplaceAllLiteralString(regexp.QuoteMeta(line), `\d+`)
	expr = regexp.MustCompile(` +`).ReplaceAllLiteralString(expr, ` +`)
	return regexp.MustCompile("^" + strings.ReplaceAll(expr, "…", ".+") + "$")
}

// TestTheTranscriptsAreTrue runs those of each page against a real Redis and the sandbox.
// The other language has the same.
func TestTheTranscriptsAreTrue(t *testing.T) {
	routes := writtenRoutes(t, readText(t, pagesDir+"/routes.md"))
	for _, page := range []string{"README.md", pagesDir + "/start.md", pagesDir + "/http.md", pagesDir + "/routes.md"} {
		t.Run(filepath.Base(page), func(t *testing.T) {
			all := transcripts(readText(t, page))
			if len(all) == 0 {
				t.Fatal("the page has no transcripts")
			}
			b := newBench(t).with("ZHONGKONG_SECRET", "", "ZHONGKONG_API_BASE", "")
			d := b.with("ZHONGKONG_CONFIG", routes, "ZHONGKONG_BUDGET_MIN_INTERVAL", "1ms",
				envUsers, "app:s3cret,"+opsName+":"+opsPassword).serve("--sandbox")
			d.ready()
			b.env["ZHONGKONG_PREFIX"] += "-sandbox" // which serve --sandbox adds
			for _, one := range all {
				one.command = strings.ReplaceAll(one.command, "http://127.0.0.1:8080", d.url)
				args, isOurs := strings.CutPrefix(one.command, "zhongkong ")
				switch {
				case isOurs:
					one.compare(t, b.must(strings.Fields(args)...))
				case strings.HasPrefix(one.command, "curl -sN"):
					one.runStream(t, d.url)
				default:
					one.run(t)
				}
			}
			d.stop()
		})
	}
}

// writtenRoutes is a configuration with the routes of a page.
func writtenRoutes(t *testing.T, text string) string {
	t.Helper()
	_, routes, found := strings.Cut(text, "```yaml\nroutes:\n")
	routes, _, closed := strings.Cut(routes, "```")
	if !found || !closed {
		t.Fatal("the page has no routes")
	}
	file := filepath.Join(t.TempDir(), "routes.yaml")
	if err := os.WriteFile(file, []byte("routes:\n"+strings.ReplaceAll(routes, "127.0.0.1:8090", "127.0.0.1:0")), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestTheRightsOnThePageAreThoseThatTheTestsRunWith(t *testing.T) {
	text := readText(t, pagesDir+"/redis.md")
	for _, c := range []struct {
		user  string
		rules []string
	}{
		{"zhongkong-refresher on >password", redisadmin.RequiredACL("", coordinator.Refresher)},
		{"zhongkong-reader on >password", redisadmin.RequiredACL("", coordinator.Reader)},
		{"zhongkong-reader", []string{redisadmin.DemandACL("")}},
		{"zhongkong-refresher", []string{"~zhongkong:{}:*"}}, // as the tests of MissingSharedACL
		{"zhongkong-reader", []string{"%R~zhongkong:{}:*"}},
	} {
		line := "\nACL SETUSER " + c.user + " " + strings.Join(c.rules, " ") + "\n"
		if !strings.Contains(text, line) {
			t.Errorf("the page lacks:%s", line)
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
	one.compare(t, string(out))
}

// compare compares an output with that of the page.
func (one transcript) compare(t *testing.T, out string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if len(lines) != len(one.output) {
		t.Errorf("$ %s\nprints %d lines, the page has %d:\n%s", one.command, len(lines), len(one.output), out)
		return
	}
	for i, want := range one.output {
		if !pattern(want).MatchString(lines[i]) {
			t.Errorf("$ %s\nprints\n%s\nthe page has\n%s", one.command, lines[i], want)
		}
	}
}

// runStream runs a command that does not end: it refreshes once the first
// lines have come, and reads as many as the page has.
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
			t.Errorf("$ %s\nprints\n%s\nthe page has\n%s", one.command, in.Text(), want)
			return
		}
		if strings.HasPrefix(want, ": connected") {
			transcript{"curl -s -o /dev/null -X POST -u app:s3cret " + url + "/v1/tokens/" + appID + "/refresh", []string{""}}.run(t)
		}
	}
}

// TestTheSnippetsOfTheREADMEAreThoseOfThePages compares them with the pages whose
// snippets are run.
func TestTheSnippetsOfTheREADMEAreThoseOfThePages(t *testing.T) {
	for language, page := range map[string]string{"js": pagesDir + "/sdks.md", "go": pagesDir + "/link.md"} {
		there := map[string]bool{}
		for _, line := range pageLines(readText(t, page)) {
			there[codeComment.ReplaceAllLiteralString(line.text, "")] = true
		}
		snippets := 0
		for _, line := range pageLines(readText(t, "README.md")) {
			if line.inside && line.block == language {
				snippets++
				if !there[codeComment.ReplaceAllLiteralString(line.text, "")] {
					t.Errorf("%s lacks %s", page, line.text)
				}
			}
		}
		if snippets == 0 {
			t.Errorf("the README has no snippet of %s", language)
		}
	}
}

// TestTheSnippetInGoCompiles compiles that of the page about linking.
func TestTheSnippetInGoCompiles(t *testing.T) {
	var snippet strings.Builder
	for _, line := range pageLines(readText(t, pagesDir+"/link.md")) {
		if line.inside && line.block == "go" {
			snippet.WriteString("\t" + line.text + "\n")
		}
	}
	program := `package main

import (
	"context"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
	"github.com/zhongkong/zhongkong/redisstore"
)

func token(ctx context.Context, appID, secret string) (coordinator.Token, error) {
` + snippet.String() + `	return token, err
}

func main() { _, _ = token(context.Background(), "", "") }
`
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "vet", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\n%s", err, out, program)
	}
}

// TestTheFirstConfigurationIsAccepted has check read that of the page for newcomers.
func TestTheFirstConfigurationIsAccepted(t *testing.T) {
	_, example, _ := strings.Cut(readText(t, pagesDir+"/start.md"), "```yaml\n")
	example, _, found := strings.Cut(example, "```")
	if !found {
		t.Fatal("the page has no configuration")
	}
	b := newBench(t).with("ZHONGKONG_REDIS", "", "ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "ZHONGKONG_API_BASE", "", envUsers, "")
	hash := strings.TrimSpace(b.feed("a-long-password-of-the-shop\n", "passwd").stdout)
	example = strings.ReplaceAll(b.withFiles(example), "$argon2id$v=19$…", hash)
	got := b.with("ZHONGKONG_CONFIG", b.file("zhongkong.yaml", example)).must("check")
	if !strings.Contains(got, "accounts 1, of which this process refreshes 1") {
		t.Errorf("check says %q", got)
	}
}
