package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logging"
)

// TestTheTranscriptsOfObservabilityAreTrue runs them, one after the other, against one
// serve that is started as the page says. The other language has the same.
func TestTheTranscriptsOfObservabilityAreTrue(t *testing.T) {
	text := readText(t, "cmd/zhongkong/docs/observability.md")
	if !strings.Contains(text, "zhongkong serve --sandbox --user app:s3cret --access-log --pprof 127.0.0.1:6060 2> serve.log") {
		t.Fatal("the page starts another serve than this test")
	}
	buildPprof(t)
	b := newBench(t).with("ZHONGKONG_SECRET", "", "ZHONGKONG_API_BASE", "", "ZHONGKONG_LOG_LEVEL", "",
		envUsers, "app:s3cret,"+ops, "ZHONGKONG_BUDGET_MIN_INTERVAL", "1ms", "ZHONGKONG_PPROF", "127.0.0.1:0", "ZHONGKONG_ACCESS_LOG", "true")
	d := b.serve("--sandbox")
	d.ready()
	dir := t.TempDir()
	there := strings.NewReplacer("http://127.0.0.1:8080", d.url, "http://127.0.0.1:6060/debug/pprof/", d.profilesAt(),
		"seconds=10", "seconds=1", "serve.log", filepath.Join(dir, "serve.log"),
		"heap.pprof", filepath.Join(dir, "heap.pprof"), "cpu.pprof", filepath.Join(dir, "cpu.pprof"))
	ran := 0
	for _, one := range transcripts(text) {
		if strings.Contains(one.command, "serve.log") {
			d.b.eventually("all lines of the request, which may come after its answer", func() bool {
				return strings.Count(d.stderr.String(), "request_id=by-hand-1\n") == 3
			})
			if err := os.WriteFile(filepath.Join(dir, "serve.log"), []byte(d.stderr.String()), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		one.command = there.Replace(one.command)
		one.run(t)
		ran++
	}
	if ran != 8 {
		t.Errorf("%d commands were run, want 8", ran)
	}
}

// buildPprof has the go command build its tool, which may take longer than a transcript.
func buildPprof(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if out, err := shell(ctx, "go tool pprof -h 2>&1 || true").CombinedOutput(); !strings.Contains(string(out), "pprof") {
		t.Fatalf("go tool pprof: %v\n%s", err, out)
	}
}

func TestThePageOfObservabilityHasAllAttributes(t *testing.T) {
	var want, names []string
	for _, a := range logging.Attributes() {
		want = append(want, fmt.Sprintf("| `%s` | %s | %s |", a.Name, a.Kind, a.Meaning))
		names = append(names, a.Name)
	}
	_, table, _ := strings.Cut(readText(t, "cmd/zhongkong/docs/observability.md"), "\n| attribute | kind | meaning |\n| --- | --- | --- |\n")
	if got := strings.TrimSpace(table); got != strings.Join(want, "\n") {
		t.Errorf("the table of attributes must end the page, and be\n%s", strings.Join(want, "\n"))
	}
	_, table, _ = strings.Cut(readText(t, "cmd/zhongkong/docs/observability.zh-CN.md"), "\n| 属性 | 类型 | 含义 |\n| --- | --- | --- |\n")
	var got []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| [^|]+ \\| [^|]+ \\|$").FindAllStringSubmatch(table, -1) {
		got = append(got, row[1])
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("the Chinese table has the names\n%s\nwant\n%s", got, names)
	}
}
