package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logtest"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// has waits until a file has this content.
func (b *bench) has(path, content string) {
	b.t.Helper()
	b.eventually(path+" to be written", func() bool {
		text, err := os.ReadFile(path)
		return err == nil && string(text) == content
	})
}

func TestShowPrintsATokenInEachForm(t *testing.T) {
	b := newBench(t)
	token := strings.TrimSpace(b.must("show"))
	for format, want := range map[string]string{"raw": token, "env": "ACCESS_TOKEN=" + token, "header": "Authorization: Bearer " + token} {
		if got := b.must("show", "--format", format); got != want+"\n" {
			t.Errorf("--format %s prints %q, want %q", format, got, want)
		}
	}
	for _, args := range [][]string{{"show", "--json"}, {"show", "--format", "json"}, {"show", "--format", "json", "--json"}} {
		var r wire.Token
		if err := json.Unmarshal([]byte(b.must(args...)), &r); err != nil || r.AccessToken != token || r.IssuedBy == "" {
			t.Errorf("%v: %v", args, err)
		}
	}
	if fresh := b.must("refresh", "--format", "header"); !strings.HasPrefix(fresh, "Authorization: Bearer ") || strings.Contains(fresh, token) {
		t.Errorf("refresh --format header prints %q", fresh)
	}
	for _, command := range []string{"show", "refresh", "ask"} {
		b.fails(exitUsage, `"yaml" is none of raw, json, env, header`, command, "--format", "yaml")
		b.fails(exitUsage, "--json and --format env: give one of them", command, "--format", "env", "--json")
	}
}

func TestATokenThatAShellCouldMisreadIsQuoted(t *testing.T) {
	for _, f := range tokenFormats() {
		var out logtest.Buffer
		p := program{stdout: &out}
		err := f.print(p, wire.Token{AccessToken: `a'b $(reboot)`})
		if want := `ACCESS_TOKEN='a'\''b $(reboot)'` + "\n"; f.name == "env" && (err != nil || out.String() != want) {
			t.Errorf("%v, %q, want %q", err, out.String(), want)
		}
		if err := f.print(p, wire.Token{AccessToken: "a\nX-Injected: 1"}); err == nil && f.name != "json" {
			t.Errorf("%s prints a token with a line's end in it", f.name)
		}
	}
}

func TestExecRunsACommandWithTheToken(t *testing.T) {
	b := newBench(t).with("ZHONGKONG_LOG_LEVEL", "")
	r := b.run("exec", "--", "sh", "-c", `echo "$ACCESS_TOKEN"; env | grep -c ^ZHONGKONG_; exit 9`, "--json")
	if token := b.wechat.Issued()[0].Token; r.code != 9 || r.stdout != token+"\n0\n" || r.stderr != "" {
		t.Errorf("exec = %d, %q, %q", r.code, r.stdout, r.stderr)
	}
	if out := b.must("exec", appID, "--env", "T", "--", "sh", "-c", `cat; echo "$T"`); out != b.must("show") {
		t.Errorf("exec --env prints %q", out)
	}
	if out := b.must("exec", "--", "echo", "--", "--env", "x"); out != "-- --env x\n" {
		t.Errorf("the command's arguments are %q", out)
	}
	calls := b.calls()
	for want, args := range map[string][]string{
		"no command: write it after --":                     {"exec", "echo"},
		"no command: ":                                      {"exec", "--"},
		`"1X" is not the name of a variable`:                {"exec", "--env", "1X", "--", "true"},
		`the command "no-such-command-of-this-test" cannot`: {"exec", "--", "no-such-command-of-this-test"},
		"one NAME: a, b":                                    {"exec", "a", "b", "--", "true"},
		"unknown option --colour":                           {"exec", "--colour", "--", "true"},
	} {
		b.fails(exitUsage, want, args...)
	}
	b.with("ZHONGKONG_SECRET", "", "ZHONGKONG_PREFIX", "t-none").fails(exitNoToken, "in time", "exec", "--wait", "200ms", "--", "true")
	if n := b.calls(); n != calls {
		t.Errorf("mistakes made %d calls", n-calls)
	}
}

func TestServeKeepsFilesAndAReloadChangesThem(t *testing.T) {
	b := newBench(t)
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	config := func(path, more string) string {
		return "files:\n  - {account: " + appID + ", path: " + path + more + "}\n"
	}
	path := b.file("zk.yaml", config(first, ""))
	b = b.with("ZHONGKONG_CONFIG", path)
	d := b.serve()
	d.ready()
	b.has(first, b.wechat.Issued()[0].Token)
	fresh := strings.TrimSpace(b.reader().must("refresh"))
	b.has(first, fresh)

	b.rewrite(path, config(second, `, template: "{{.token}}"`))
	d.says(`files[0].template: there is no field`)
	d.says("the new configuration is refused, the old one stays")
	b.rewrite(path, config(second, `, template: "Bearer {{.access_token}}"`))
	b.has(second, "Bearer "+fresh)
	if text, _ := os.ReadFile(first); string(text) != fresh {
		t.Error("a file that is not in the list any more has changed")
	}
	b.rewrite(path, config(filepath.Join(dir, "none/token"), ""))
	b.hup()
	d.says("is missing: make it")
	b.eventually("the metric of a file that cannot be written", func() bool {
		_, metrics := d.get("/metrics")
		return strings.Contains(metrics, `zhongkong_file_current{account="`+appID+`",path="`+dir+`/none/token"} 0`) &&
			!regexp.MustCompile(`zhongkong_file_writes_total\{.*"failed"\} 0\n`).MatchString(metrics)
	})
	d.stop()
}

func TestSyncKeepsFilesWithoutASecret(t *testing.T) {
	b := newBench(t)
	b.must("show")
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	path := b.file("zk.yaml", "files:\n  - {account: "+appID+", path: "+one+"}\n")
	sync := b.reader().with("ZHONGKONG_CONFIG", path).start(t.Context(), "", "sync")
	b.has(one, b.wechat.Issued()[0].Token)
	b.has(one, strings.TrimSpace(b.must("refresh")))
	b.rewrite(path, "files:\n  - {account: "+appID+", path: "+two+", format: json}\n  - {account: wxother, path: "+one+"}\n")
	b.eventually("the other file", func() bool { _, err := os.Stat(two); return err == nil })
	sync.says("configuration read again")
	b.rewrite(path, "files: []\n")
	sync.says("the new configuration is refused, the old one stays")
	if r := sync.stop(); r.code != exitDone || r.stdout != "" {
		t.Errorf("sync = %d: %s", r.code, r.stderr)
	}
	if n := b.calls(); n != 2 {
		t.Errorf("%d calls to the issuer, want those of show and refresh", n)
	}
}

// Without a NAME it is the account of the new configuration, at once.
func TestAReloadOfSyncFollowsTheOnlyAccount(t *testing.T) {
	const other = "wx-other"
	b := newBench(t)
	if err := b.wechat.AddAccount(wechattest.Account{AppID: other, Secret: secret}); err != nil {
		t.Fatal(err)
	}
	first, second := strings.TrimSpace(b.must("show")), strings.TrimSpace(b.with("ZHONGKONG_APPID", other).must("show"))
	path, token := b.file("zk.yaml", "accounts:\n- {appid: "+appID+"}\n"), filepath.Join(t.TempDir(), "token")
	sync := b.reader().with("ZHONGKONG_CONFIG", path).start(t.Context(), "", "sync", "--path", token)
	b.has(token, first)
	b.rewrite(path, "accounts:\n- {appid: "+other+"}\n")
	sync.says("configuration read again")
	b.has(token, second)
	b.rewrite(path, "accounts:\n- {appid: "+other+"}\n- {appid: "+appID+"}\n")
	sync.says("several accounts are configured: give the NAME of one")
	sync.stop()
}

func TestSyncOnceWritesAndEnds(t *testing.T) {
	b := newBench(t).with("ZHONGKONG_LOG_LEVEL", "")
	token := strings.TrimSpace(b.must("show"))
	reader, path := b.reader(), filepath.Join(t.TempDir(), "token")
	for _, args := range [][]string{{}, {appID}, {"--format", "raw", "--mode", "0644"}} {
		r := reader.run(append([]string{"sync", "--once", "--path", path}, args...)...)
		if text, err := os.ReadFile(path); err != nil || string(text) != token || r.code != exitDone || r.stdout+r.stderr != "" {
			t.Errorf("%v: %d, %s%s", args, r.code, r.stdout, r.stderr)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o644 {
		t.Errorf("%v, %v", info, err)
	}
	for want, args := range map[string][]string{
		"no file: give --path F, or files:":               {},
		"a NAME is the account of the file of --path":     {appID},
		"--format and --mode belong":                      {"--mode", "0600"},
		"--mode: it must let the owner read":              {"--path", path, "--mode", "0777"},
		"--format: it must be raw or json":                {"--path", path, "--format", "env"},
		"--path: it must be the path of a file":           {"--path", "/"},
		`no account "wxnone" is configured, and Redis at`: {"--path", path, "--wait", "200ms", "wxnone"},
	} {
		reader.fails(exitUsage, want, append([]string{"sync", "--once"}, args...)...)
	}
	reader.fails(exitOther, "/none is missing: make it", "sync", "--once", "--path", filepath.Join(filepath.Dir(path), "none/token"))
	reader.with("ZHONGKONG_REDIS", "redis://127.0.0.1:1").fails(exitUnreachable, "Check that Redis", "sync", "--once", "--path", path, appID)
	// One file that fails does not keep it from the others.
	other := filepath.Join(filepath.Dir(path), "other")
	files := b.file("zk.yaml", fmt.Sprintf("files:\n  - {account: %s, path: %s/none/token}\n  - {account: %s, path: %s}\n", appID, filepath.Dir(path), appID, other))
	reader.with("ZHONGKONG_CONFIG", files).fails(exitOther, "is missing", "sync", "--once")
	b.has(other, token)
}

func TestCheckSaysWhatIsWrongWithFiles(t *testing.T) {
	b := newBench(t)
	path := b.file("zk.yaml", "")
	b = b.with("ZHONGKONG_CONFIG", path)
	for yaml, want := range map[string]string{
		"[{path: /a}]":                                            "zk.yaml:1: files[0].account is missing",
		"[{account: wx1}]":                                        "files[0].path is missing",
		"[{account: N, path: a}]":                                 "files[0].path: it must be an absolute path",
		"[{account: N, path: /a, format: yaml}]":                  "files[0].format: it must be raw or json",
		"[{account: N, path: /a, format: raw, template: x}]":      "format and template both give",
		"[{account: N, path: /a, template: '{{.x}}'}]":            `there is no field "x"`,
		"[{account: N, path: /a, template: 7}]":                   "files[0].template is a number: it must be text",
		"[{account: N, path: /a, mode: 0640}]":                    "files[0].mode is a number: it must be text; put it in quotes",
		`[{account: N, path: /a, mode: "0666"}]`:                  "must not let others write",
		"[{account: N, path: /a, owner: 'a:'}]":                   "files[0].owner: it must be USER",
		"[{account: N, path: /a, notify: systemctl}]":             "files[0].notify is text: it must be a list",
		"[{account: wxother, path: /a}]":                          `files[0].account: "wxother" is not among the accounts: they are ` + appID,
		"[{account: N, path: /a}, {account: N, path: /a}]":        "files[1].path: /a is written for " + path + ":1: files[0]",
		"[{account: N, path: /a}, {account: N, path: /a.expiry}]": "files[1].path: /a.expiry is written for",
		"[{account: N, path: " + path + "}]":                      "is the configuration itself",
		"[{account: N, path: /a, colour: red}]":                   "files[0].colour: unknown field",
	} {
		b.rewrite(path, "files: "+strings.ReplaceAll(yaml, "N", appID)+"\n")
		b.fails(exitUsage, want, "check")
	}
	b.rewrite(path, "files:\n  - {account: "+appID+", path: /a, mode: '0640', owner: 'root:no-such-group', notify: [true-is-no-word, x]}\n")
	b.must("check")
}

// TestTheExamplesOfFilesAreTrue reads each as check does.
func TestTheExamplesOfFilesAreTrue(t *testing.T) {
	b := newBench(t)
	page, err := os.ReadFile("docs/files.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(page), "```yaml\nfiles:\n")[1:]
	for _, block := range blocks {
		example, _, _ := strings.Cut(block, "```")
		b.with("ZHONGKONG_CONFIG", b.file("zk.yaml", "files:\n"+example)).must("check")
	}
	if len(blocks) < 5 {
		t.Errorf("%d examples", len(blocks))
	}
}
