package main

import (
	"net"
	"os"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
)

func TestCheckWarnsOfASealKeyFileThatEverybodyMayRead(t *testing.T) {
	b := newBench(t).with("ZHONGKONG_LOG_LEVEL", "")
	keys := b.file("seal.keys", b.must("keygen"))
	b = b.with("ZHONGKONG_SEAL_KEY_FILE", keys)
	for mode, want := range map[os.FileMode]bool{0o600: false, 0o644: true} {
		chmod(t, keys, mode)
		if r := b.run("check"); r.code != exitDone || strings.Contains(r.stderr, "every user of this machine may read the seal key file") != want || !want && r.stderr != "" {
			t.Errorf("mode %v: check = %d, %q", mode, r.code, r.stderr)
		}
	}
}

func TestCheckSaysWhoCanUseFilesWithoutAnAccount(t *testing.T) {
	b := newBench(t).reader()
	b = b.with("ZHONGKONG_CONFIG", b.file("zk.yaml", "files:\n- {account: wx1, path: /run/token}\n"))
	for _, command := range []string{"check", "serve"} {
		b.fails(exitUsage, "no account: give --appid and --secret-file (or --config FILE), or try it with --sandbox; sync needs no account, and takes files: as it is", command)
	}
}

func TestCheckAcceptsWhatServeTakesWithoutANetwork(t *testing.T) {
	b := newBench(t)
	l, err := net.Listen("tcp", "127.0.0.1:0") // a Redis that must not be asked, at an address that serve would find taken
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // ends with l
		if conn, err := l.Accept(); err == nil {
			t.Error("check connected to Redis")
			_ = conn.Close()
		}
	}()
	hash, err := auth.Hash("a-password-of-a-test")
	if err != nil {
		t.Fatal(err)
	}
	cert, key := b.certificate("localhost")
	seal := b.file("seal.keys", b.must("keygen"))
	path := b.file("zk.yaml", "accounts: [{name: wxa, secret_env: S}, {name: wxb}]\n"+
		"users: [{name: app, password: '"+hash+"', accounts: '*', refresh: True}]\n"+
		"listen: 0.0.0.0:"+strings.TrimPrefix(l.Addr().String(), "127.0.0.1:")+"\n"+
		"tls_cert: "+cert+"\ntls_key: "+key+"\nclient_ca: "+cert+"\nseal_key_file: "+seal+"\n")
	b = b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "S", secret, "ZHONGKONG_CONFIG", path, "ZHONGKONG_REDIS", "redis://"+l.Addr().String())
	if out := b.must("check"); out != "ok: accounts 2, of which this process refreshes 1; users 1\n" {
		t.Errorf("check = %q", out)
	}
	if n := b.calls(); n != 0 {
		t.Errorf("check made %d calls to the issuer", n)
	}
}

func TestCheckSaysAllThatServeWouldRefuse(t *testing.T) {
	b := newBench(t)
	garbage := b.file("garbage", "x\n")
	path := b.file("zk.yaml", "accounts: [{name: wxa, secret_env: S}]\nredis: redis://h:1?no_such=1\n"+
		"users:\n- {name: cut, password: $argon2id$v=19$m=65536, accounts: '*'}\n- {name: none, password: $x, accounts: []}\n"+
		"listen: :8080\ntls_cert: /nowhere.pem\ntls_key: "+garbage+"\n")
	b = b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "S", secret, "ZHONGKONG_CONFIG", path)
	b.fails(exitUsage, "users[1].accounts: the list is empty", "check")

	path = b.file("zk.yaml", "accounts: [{name: wxa, secret_env: S}]\nredis: redis://h:1?no_such=1\nprefix: p\n"+
		"users:\n- {name: cut, password: $argon2id$v=19$m=65536, accounts: '*'}\n- {name: other, password: $x, accounts: '*'}\n"+
		"listen: 127.0.0.1:8080\ntls_cert: /nowhere.pem\ntls_key: "+garbage+"\n")
	b = b.with("ZHONGKONG_CONFIG", path, "ZHONGKONG_REDIS", "", "ZHONGKONG_PREFIX", "")
	for _, want := range []string{"no_such", `user "cut": password: is not an argon2id hash`, `user "other": password`, "--tls-cert: open /nowhere.pem"} {
		b.fails(exitUsage, want, "check")
	}
	users := b.file("users.yaml", "- {name: app, password: $x, accounts: '*'}\n\n- {name: other, password: $argon2id$v=19$m=65536, accounts: '*'}\n")
	for _, want := range []string{
		users + `:1: user "app": password: is not an argon2id hash`,
		users + `:3: user "other": password: is not an argon2id hash`,
	} {
		newBench(t).with("ZHONGKONG_USERS_FILE", users).fails(exitUsage, want, "check")
	}
	hash, err := auth.Hash("a-password-of-a-test")
	if err != nil {
		t.Fatal(err)
	}
	crowded := b.file("crowded.yaml", "- {name: app, accounts: '*', password: ['"+strings.Repeat(hash+"', '", 3)+hash+"']}\n")
	again := b.file("again.yaml", "- {name: app, accounts: '*', password: '"+hash+"'}\n")
	for name, test := range map[string]struct {
		want string
		with []string
		args []string
	}{
		"a listener that is exposed": {"--plaintext-ok", []string{"ZHONGKONG_LISTEN", ":8080"}, nil},
		"the same by flag":           {"--plaintext-ok", nil, []string{"--listen", "0.0.0.0:8080"}},
		"profiles that are exposed":  {"without name and password", nil, []string{"--pprof", ":6060"}},
		"no account":                 {"no account", []string{"ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", ""}, nil},
		"no Redis":                   {"no Redis was given", []string{"ZHONGKONG_REDIS", ""}, nil},
		"seal keys that are none":    {"seal-key-file", []string{"ZHONGKONG_SEAL_KEY_FILE", garbage}, nil},
		"a user without a password":  {"no colon", []string{envUsers, "app"}, nil},
		"a user given twice":         {"given twice", []string{envUsers, "app:1234567890ab,app:1234567890abc"}, nil},
		"too many passwords":         {crowded + `:1: user "app": password: has 4 hashes, at most 3`, []string{"ZHONGKONG_USERS_FILE", crowded}, nil},
		"a user of both ways":        {again + `:1: user "app": is also given by --user`, []string{"ZHONGKONG_USERS_FILE", again, envUsers, "app:1234567890ab"}, nil},
		"a broken setting":           {"not a duration", nil, []string{"--drain-delay", "5"}},
		"a name":                     {"check takes no names", nil, []string{"wx1"}},
	} {
		t.Run(name, func(t *testing.T) {
			newBench(t).with(test.with...).fails(exitUsage, test.want, append([]string{"check"}, test.args...)...)
		})
	}
	newBench(t).with("ZHONGKONG_REDIS", "", "ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "").must("check", "--sandbox")
}

func TestCheckRefusesTheRoutesThatServeWouldRefuse(t *testing.T) {
	b := newBench(t)
	path := b.file("zk.yaml", `accounts:
- {name: wx1, secret_env: S}
- {name: gh, source: oauth2, token_url: "https://id.example.com/token", client_id: c, client_secret_env: S}
redis: redis://h:1
routes:
- {name: bare, account: gh}
- {name: half, account: gh, to: "https://api.example.com"}
- {name: whole, account: gh, to: "https://api.example.com", put: bearer}
- {name: dots, account: wx1, to: "https://api.example.com/a/../b"}
- {name: open, account: wx1, listen: "0.0.0.0:8090"}
`)
	b = b.with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "S", secret, "ZHONGKONG_CONFIG", path, "ZHONGKONG_REDIS", "", "ZHONGKONG_PREFIX", "")
	for _, want := range []string{
		"routes (bare).put, to: give both",
		"routes (half).put, to: give both",
		"routes (dots).to: the path holds . or .. segments",
		"routes (open).listen 0.0.0.0:8090: ",
	} {
		b.fails(exitUsage, want, "check")
	}
}

func TestServeNamesTheRouteWhoseAddressIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = listen(l.Addr().String(), "routes (wx).listen")
	if want := "routes (wx).listen " + l.Addr().String() + ": is in use"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}
