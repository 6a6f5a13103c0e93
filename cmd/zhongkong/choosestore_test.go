package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// nowhere is the bench with a secret, and without a Redis.
func (b *bench) nowhere() *bench { return b.with("ZHONGKONG_REDIS", "", "ZHONGKONG_PREFIX", "") }

func TestServeWithASecretAndNoRedisRefuses(t *testing.T) {
	b := newBench(t).nowhere()
	r := b.fails(exitUsage, "no Redis was given", "serve", "--listen", "127.0.0.1:0")
	for _, way := range []string{"--redis URL", "ZHONGKONG_REDIS", "--embedded-redis", "--sandbox"} {
		if !strings.Contains(r.stderr, way) {
			t.Errorf("it does not name %s:\n%s", way, r.stderr)
		}
	}
	if n := b.calls(); n != 0 {
		t.Errorf("%d calls, want none", n)
	}
}

func TestServeRunsAnEmbeddedRedisForARealSecretOnlyWhenToldTo(t *testing.T) {
	for name, d := range map[string]*daemonRun{
		"a flag":     newBench(t).nowhere().serve("--embedded-redis"),
		"a variable": newBench(t).nowhere().with("ZHONGKONG_EMBEDDED_REDIS", "true").serve(),
		"the file":   newBench(t).nowhere().with("ZHONGKONG_CONFIG", newBench(t).file("zk.yaml", "embedded_redis: true\n")).serve(),
	} {
		d.ready()
		d.says("for the programs of this one machine")
		if got, want := d.b.reader().with("ZHONGKONG_REDIS", d.redis).must("show"), d.b.wechat.Issued()[0].Token+"\n"; got != want {
			t.Errorf("%s: show = %q, want %q", name, got, want)
		}
	}
	newBench(t).with("ZHONGKONG_EMBEDDED_REDIS", "true").must("show") // others use the one that is given
	newBench(t).with("ZHONGKONG_EMBEDDED_REDIS", "true").serve("--redis", "")
	newBench(t).fails(exitUsage, "--embedded-redis and ZHONGKONG_REDIS: serve can use only one Redis",
		"serve", "--embedded-redis", "--listen", "127.0.0.1:0")
}

func TestAReaderWithoutARedisLooksWhereTheOtherCommandsDo(t *testing.T) {
	d := newBench(t).nowhere().with("ZHONGKONG_SECRET", "").serve()
	first, _, _ := strings.Cut(d.stderr.String(), "\n")
	if !strings.Contains(first, "Redis at 127.0.0.1:6379, accounts: "+appID+" (reader)") {
		t.Errorf("it says %q", first)
	}
}

// tried is the command that a serve --sandbox prints, run in a terminal with
// the given variables.
func (d *daemonRun) tried(b *bench) ran {
	d.b.t.Helper()
	d.says("Try in another terminal")
	found := regexp.MustCompile(`Try in another terminal: zhongkong (.*)\n`).FindStringSubmatch(d.stderr.String())
	if found == nil {
		d.b.t.Fatalf("there is no command to try:\n%s", d.stderr.String())
	}
	return b.run(strings.Fields(found[1])...)
}

// TestTheSandboxKeepsToItselfInAShellOfProduction: the variables of production
// are exported when `serve --sandbox` is tried.
func TestTheSandboxKeepsToItselfInAShellOfProduction(t *testing.T) {
	production := newBench(t)
	daemon := production.serve()
	daemon.ready()
	real := production.must("show")

	trial := production.serve("--sandbox")
	trial.ready()
	trial.says("under the prefix " + production.env["ZHONGKONG_PREFIX"] + "-sandbox")
	if status, _ := trial.send(ops, "POST", "/v1/tokens/"+appID+"/refresh", ""); status != 200 {
		t.Errorf("refresh in the sandbox = %d", status)
	}
	if got := production.must("show"); got != real {
		t.Error("production has a token of the simulator")
	}
	_, record := trial.send(ops, "GET", "/v1/tokens/"+appID, "")
	simulated, _ := record["access_token"].(string)
	for name, terminal := range map[string]*bench{
		"the same variables": production, "no variables": production.with("ZHONGKONG_REDIS", "", "ZHONGKONG_PREFIX", "").reader(),
	} {
		if r := trial.tried(terminal); r.code != exitDone || r.stdout != simulated+"\n" {
			t.Errorf("with %s the printed command = %d, %q, %q", name, r.code, r.stdout, r.stderr)
		}
	}
	if n := production.calls(); n != 1 {
		t.Errorf("the real WeChat was called %d times, want once", n)
	}
}

func TestARealSecretIsNotUsedWithASandboxsKeys(t *testing.T) {
	b := newBench(t)
	b = b.with("ZHONGKONG_PREFIX", b.env["ZHONGKONG_PREFIX"]+"-sandbox")
	b.fails(exitUsage, "belongs to `serve --sandbox`", "serve", "--listen", "127.0.0.1:0")
	r := b.fails(exitNoToken, "the AppSecret is not used", "show", "--wait", "300ms")
	if n := b.calls(); n != 0 || r.stdout != "" {
		t.Errorf("%d calls with the real secret, want none", n)
	}
}

func TestTheSandboxUsesNoConfiguredSecret(t *testing.T) {
	b := newBench(t).nowhere()
	d := b.serve("--sandbox")
	d.ready()
	if r := d.tried(b.reader()); r.code != exitDone || len(r.stdout) < 100 {
		t.Errorf("the printed command = %d, %q, %q", r.code, r.stdout, r.stderr)
	}
	base := strings.TrimSuffix(regexp.MustCompile(`http://127\.0\.0\.1:\d+ issues`).FindString(d.stderr.String()), " issues")
	direct := b.with("ZHONGKONG_REDIS", sharedRedis.URL(), "ZHONGKONG_PREFIX", newBench(t).env["ZHONGKONG_PREFIX"], "ZHONGKONG_API_BASE", base)
	direct.with("ZHONGKONG_SECRET", wechattest.DefaultSecret).must("show")
	direct.with("ZHONGKONG_SECRET", "0badc0de0badc0de0badc0de0badc0de").fails(exitRefused, "40125", "refresh")
}

func TestThePrintedCommandHidesAPassword(t *testing.T) {
	b := newBench(t)
	sharedRedis.MustDo(t, "ACL", "SETUSER", "hunter", "on", ">hunter2", "allkeys", "allchannels", "+@all")
	t.Cleanup(func() { sharedRedis.MustDo(t, "ACL", "DELUSER", "hunter") })
	d := b.with("ZHONGKONG_REDIS", "redis://hunter:hunter2@"+sharedRedis.Addr()).serve("--sandbox")
	d.says("Try in another terminal, with the same URL as here: zhongkong --redis URL --prefix ")
	if strings.Contains(d.stderr.String(), "hunter2") {
		t.Error("the password is shown")
	}
}

func TestCalledAsIsACommandThatWorks(t *testing.T) {
	for name, want := range map[string]string{
		"zhongkong": "zhongkong", "./zhongkong": "./zhongkong", "/opt/zhong kong/zk": "'/opt/zhong kong/zk'",
		"/tmp/go-build123/b001/exe/zhongkong": "go run ./cmd/zhongkong", "/root/.cache/go-build/ab/abc-d/zhongkong": "go run ./cmd/zhongkong",
	} {
		if got := calledAs(name); got != want {
			t.Errorf("calledAs(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestVariablesThatNothingReadsStopEveryCommand(t *testing.T) {
	b := newBench(t).with("ZHONGKONG_REDSI", "redis://:hunter2@10.0.0.5:6379")
	for _, c := range (program{}).app().Commands {
		r := b.run(c.Name)
		if r.code != exitUsage || !strings.Contains(r.stderr, "ZHONGKONG_REDSI: unknown variable: did you mean ZHONGKONG_REDIS?") || r.stdout != "" {
			t.Errorf("%s = %d, %q, %q", c.Name, r.code, r.stdout, r.stderr)
		}
		if strings.Contains(r.stderr, "hunter2") {
			t.Errorf("%s shows the variable's value", c.Name)
		}
		b.must(c.Name, "--help")
	}
	links := newBench(t).with("ZHONGKONG_SERVICE_HOST", "10.96.0.7", "ZHONGKONG_PORT", "tcp://10.96.0.7:8080", "ZHONGKONG_BIN", "/usr/bin/zhongkong")
	links.must("show")
}
