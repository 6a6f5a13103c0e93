//go:build unix

package e2e_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logtest"
)

// recipe is what a section of docs/files.md has in blocks of code, with the directory of
// the test in place of that of the page.
type recipe struct {
	dir    string
	blocks []string
}

func newRecipe(t *testing.T, section string) recipe {
	t.Helper()
	page, err := os.ReadFile("../docs/files.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "\n## "+section+"\n")
	text, _, _ := strings.Cut(rest, "\n## ")
	if !found {
		t.Fatalf("docs/files.md has no section %s", section)
	}
	r := recipe{dir: t.TempDir()}
	for _, block := range regexp.MustCompile("(?s)```[a-z]+\n(.*?)```").FindAllStringSubmatch(text, -1) {
		r.blocks = append(r.blocks, strings.NewReplacer("/run/zhongkong", r.dir, "/etc/zhongkong", r.dir).Replace(block[1]))
	}
	return r
}

// replace replaces what the test must have otherwise than the page.
func (r recipe) replace(t *testing.T, block int, pairs ...string) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(r.blocks[block], pairs[i]) {
			t.Fatalf("the page lacks %q in\n%s", pairs[i], r.blocks[block])
		}
		r.blocks[block] = strings.ReplaceAll(r.blocks[block], pairs[i], pairs[i+1])
	}
}

func (r recipe) write(t *testing.T, name string, block int) string {
	t.Helper()
	path := filepath.Join(r.dir, name)
	writeFile(t, path, r.blocks[block])
	return path
}

// another replaces the token, as the issuer's schedule or a person does.
func (f *fleet) another() string {
	f.t.Helper()
	p := f.run("refresh")
	if p.code() != 0 {
		f.t.Fatalf("refresh: %s", p.stderr.String())
	}
	return p.token()
}

// TestPrometheusReadsTheTokenFromAFile runs Debian's Prometheus over changes of the token.
func TestPrometheusReadsTheTokenFromAFile(t *testing.T) {
	t.Parallel()
	r := newRecipe(t, "Prometheus")
	f := newFleet(t)
	target, url := f.protected()
	r.replace(t, 0, `":prometheus"`, fmt.Sprintf(`":%d"`, os.Getgid()))
	r.replace(t, 1, "127.0.0.1:9100", strings.TrimPrefix(url, "http://"))
	f.with("ZHONGKONG_CONFIG", r.write(t, "zk.yaml", 0)).serve(1)
	path := filepath.Join(r.dir, "prometheus.token")
	f.eventually(20*time.Second, "the file", func() bool { text, err := os.ReadFile(path); return err == nil && string(text) == f.lastIssued() })

	config := r.write(t, "prometheus.yml", 1)
	if out, err := exec.Command("promtool", "check", "config", config).CombinedOutput(); err != nil {
		t.Fatalf("promtool: %v: %s", err, out)
	}
	writeFile(t, config, "global: {scrape_interval: 1s}\n"+r.blocks[1])
	runPrometheus(t, config)
	for range 3 {
		before := target.served.Load()
		f.eventually(60*time.Second, "Prometheus to scrape the target", func() bool { return target.served.Load() > before })
		token := f.another()
		f.eventually(20*time.Second, "the new token to be in the file", func() bool { text, _ := os.ReadFile(path); return string(text) == token })
		after := target.served.Load()
		f.eventually(60*time.Second, "Prometheus to scrape with the new token", func() bool { return target.served.Load() > after })
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
		t.Errorf("the file is %v, %v", info, err)
	}
}

// TestNginxReloadsTheTokenFromAFile runs Debian's nginx, which is started after the
// first token was written: the command is repeated until there is one to be told.
func TestNginxReloadsTheTokenFromAFile(t *testing.T) {
	t.Parallel()
	nginx := "/usr/sbin/nginx"
	if path, err := exec.LookPath("nginx"); err == nil {
		nginx = path
	}
	r := newRecipe(t, "nginx")
	f := newFleet(t)
	_, url := f.protected()
	address := freeAddress(t)
	config := filepath.Join(r.dir, "nginx.conf")
	r.replace(t, 0, "[nginx, -s, reload]", fmt.Sprintf("[%s, -p, %s, -c, %s, -s, reload]", nginx, r.dir, config))
	r.replace(t, 1, "http://127.0.0.1:9100", url)
	writeFile(t, config, "daemon off; worker_processes 1; pid "+r.dir+"/pid; error_log stderr;\nevents {}\nhttp {\n  access_log off;\n"+
		strings.ReplaceAll("client_body_temp_path D/1; proxy_temp_path D/2; fastcgi_temp_path D/3; uwsgi_temp_path D/4; scgi_temp_path D/5;\n", "D", r.dir)+
		"  server {\n listen "+address+";\n"+r.blocks[1]+"}\n}\n")
	serve := f.with("ZHONGKONG_CONFIG", r.write(t, "zk.yaml", 0)).serve(1)[0]
	f.eventually(20*time.Second, "the command to fail, because no nginx runs", func() bool {
		return strings.Contains(serve.stderr.String(), "the command of a token file fails")
	})
	server := exec.Command(nginx, "-p", r.dir, "-c", config)
	var said logtest.Buffer
	server.Stdout, server.Stderr = &said, &said
	if err := server.Start(); err != nil {
		t.Fatalf("%v: scripts/install installs it", err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		_ = server.Wait()
		if t.Failed() {
			t.Logf("nginx: %s", said.String())
		}
	})
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	call := func() int {
		resp, err := client.Get("http://" + address)
		if err != nil {
			return 0
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	f.eventually(30*time.Second, "nginx to answer", func() bool { return call() == http.StatusOK })
	f.eventually(60*time.Second, "the command to succeed", func() bool {
		return strings.Contains(serve.stderr.String(), "the command of a token file succeeds again")
	})
	for range 3 {
		f.another()
		f.eventually(30*time.Second, "nginx to use the new token", func() bool { return call() == http.StatusOK })
	}
}

// freeAddress is an address at which no process listens now.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestCronAndShellsGetTheToken runs the lines for cron and for shells as they are, with
// the program under test as zhongkong.
func TestCronAndShellsGetTheToken(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	target, url := f.protected()
	f.serve(1)
	f.eventually(20*time.Second, "a token", func() bool { return f.stored() != "" })
	bin := filepath.Join(t.TempDir(), "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(f.binary, filepath.Join(bin, "zhongkong")); err != nil {
		t.Fatal(err)
	}
	reader := f.with("PATH", bin+":"+f.env["PATH"], "ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "ZHONGKONG_LOG_LEVEL", "")
	shell := func(script string) (string, error) {
		t.Helper()
		c := exec.Command("sh", "-c", script)
		for name, value := range reader.env {
			if value != "" {
				c.Env = append(c.Env, name+"="+value)
			}
		}
		out, err := c.CombinedOutput()
		return string(out), err
	}

	r := newRecipe(t, "cron")
	writeFile(t, filepath.Join(r.dir, "zk.yaml"), "files:\n  - {account: "+appID+", path: "+r.dir+"/token, notify: [sh, -c, 'echo >> "+r.dir+"/told']}\n")
	line := strings.Fields(r.blocks[0])
	if strings.Join(line[:5], " ") != "* * * * *" {
		t.Fatalf("it is no line of cron: %s", r.blocks[0])
	}
	for range 2 {
		if out, err := shell(strings.Join(line[6:], " ")); err != nil || out != "" { // the sixth is the user
			t.Fatalf("cron's line: %v: %s", err, out)
		}
	}
	token, _ := os.ReadFile(filepath.Join(r.dir, "token"))
	told, _ := os.ReadFile(filepath.Join(r.dir, "told"))
	if string(token) != f.lastIssued() || string(told) != "\n" {
		t.Errorf("the file has %d bytes, and the command ran %d times", len(token), len(told))
	}
	writeFile(t, filepath.Join(r.dir, "zk.yaml"), "files:\n  - {account: "+appID+", path: "+r.dir+"/none/token}\n")
	if out, err := shell(strings.Join(line[6:], " ")); err == nil || !strings.Contains(out, r.dir+"/none is missing") || strings.Contains(out, f.lastIssued()) {
		t.Errorf("a missing directory: %v: %s", err, out)
	}

	r = newRecipe(t, "show --format")
	r.replace(t, 0, "https://api.example.com/v1/things", url)
	if out, err := shell("set -e\n" + r.blocks[0] + `test "$ACCESS_TOKEN" = "$(zhongkong show)"`); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if n := target.served.Load(); n != 1 {
		t.Errorf("curl was served %d times, want once", n)
	}
}

// TestExecIsReplacedByItsCommand looks at a real process.
func TestExecIsReplacedByItsCommand(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	p := f.start("exec", "--", "sh", "-c", `trap 'echo got it; exit 42' TERM; echo "$$ $ACCESS_TOKEN $(env | grep -c ZHONGKONG_)"; while :; do sleep 0.05; done`, "name", "--json")
	f.eventually(20*time.Second, "the command to run", func() bool { return strings.HasSuffix(p.stdout.String(), "\n") })
	if got, want := p.stdout.String(), fmt.Sprintf("%d %s 0\n", p.cmd.Process.Pid, f.lastIssued()); got != want {
		t.Errorf("the command says %q, want %q", got, want)
	}
	if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.cmd.Process.Pid)); err == nil && (strings.Contains(string(line), f.lastIssued()) || !strings.HasSuffix(string(line), "name\x00--json\x00")) {
		t.Errorf("its arguments are %q", line)
	}
	p.signal(syscall.SIGTERM)
	<-p.done
	if p.code() != 42 || !strings.HasSuffix(p.stdout.String(), "got it\n") {
		t.Errorf("exit code %d: %s", p.code(), p.stdout.String())
	}
	if p := f.run("exec", "--", "sh", "-c", "kill -9 $$"); p.cmd.ProcessState.Exited() {
		t.Errorf("a command that was killed: %v", p.cmd.ProcessState)
	}
}
