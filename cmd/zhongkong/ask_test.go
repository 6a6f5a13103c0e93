package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/datagram"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
)

const askedToken = "92_OverTheWire"

var askKeyText = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{5}, 32))

// askBook has a token of wx1, and an error of every other account: its name
// is the code.
type askBook struct{}

func (askBook) Answer(_ auth.Caller, account string) []byte {
	if account == "wx1" {
		return []byte(`{"name":"wx1","access_token":"` + askedToken + `","generation":7,"expires_in":3600}`)
	}
	return []byte(`{"error":"` + account + `","message":"said the server"}`)
}

func TestAskPrintsTheTokenOrTheRecord(t *testing.T) {
	addr := askServer(t)
	keyFile := filepath.Join(t.TempDir(), "udp.key")
	if err := os.WriteFile(keyFile, []byte("k1:"+askKeyText+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := runAsk(t, nil, "--udp", addr, "--user", "ci", "--key-file", keyFile, "wx1")
	if code != exitDone || stdout != askedToken+"\n" || stderr != "" {
		t.Errorf("ask = %d, %q, %q", code, stdout, stderr)
	}
	env := map[string]string{"ZHONGKONG_USER": "ci", "ZHONGKONG_UDP_KEY": askKeyText, "ZHONGKONG_APPID": "wx1"}
	code, stdout, stderr = runAsk(t, env, "--udp", addr, "--json")
	var record wire.Token
	if err := json.Unmarshal([]byte(stdout), &record); err != nil || code != exitDone {
		t.Fatalf("ask --json = %d, %q, %q", code, stdout, stderr)
	}
	if record.AccessToken != askedToken || record.Generation != 7 || record.ExpiresIn != 3600 {
		t.Errorf("record = %+v", record)
	}
}

func TestAskExitsAsShowWould(t *testing.T) {
	addr := askServer(t)
	env := map[string]string{"ZHONGKONG_USER": "ci", "ZHONGKONG_UDP_KEY": askKeyText}
	for account, want := range map[string]int{
		"no_token": exitNoToken, "refused": exitRefused, "store_unreachable": exitUnreachable,
		"throttled": exitThrottled, "no_grant": exitThrottled, "unknown_account": exitUsage, "store_denied": exitUnreachable,
		"sealed": exitOther, "forbidden": exitOther, "internal": exitOther,
	} {
		code, stdout, stderr := runAsk(t, env, "--udp", addr, "--wait", "50ms", account)
		if code != want || stdout != "" || !strings.Contains(stderr, "said the server") {
			t.Errorf("%s: ask = %d, %q, %q, want %d", account, code, stdout, stderr, want)
		}
	}
	env["ZHONGKONG_UDP_KEY"] = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{6}, 32))
	code, _, stderr := runAsk(t, env, "--udp", addr, "--wait", "50ms", "wx1")
	if code != exitNoToken || !strings.Contains(stderr, "no answer") {
		t.Errorf("wrong key: ask = %d, %q", code, stderr)
	}
}

func TestAskSaysWhatIsMissingAndNeverShowsTheKey(t *testing.T) {
	full := map[string]string{"ZHONGKONG_USER": "ci", "ZHONGKONG_UDP_KEY": askKeyText, "ZHONGKONG_APPID": "wx1"}
	cases := map[string]struct {
		env, value string
		args       []string
		words      string
	}{
		"no account":      {"ZHONGKONG_APPID", "", nil, "no account: give its NAME"},
		"two accounts":    {"", "", []string{"wx1", "wx2"}, "one NAME"},
		"no user":         {"ZHONGKONG_USER", "", nil, "no user: give --user"},
		"no key":          {"ZHONGKONG_UDP_KEY", "", nil, "no key of the user: give --key-file"},
		"a short key":     {"ZHONGKONG_UDP_KEY", askKeyText[:20], nil, "has 15 bytes, must have 32"},
		"no base64":       {"ZHONGKONG_UDP_KEY", askKeyText[:20] + "!", nil, "is not base64"},
		"no such file":    {"ZHONGKONG_UDP_KEY_FILE", "/does/not/exist", nil, "no such file"},
		"no port":         {"", "", []string{"--udp", "localhost"}, "HOST:PORT"},
		"a bad wait":      {"", "", []string{"--wait", "soon"}, "not a duration"},
		"unknown options": {"", "", []string{"--key", askKeyText}, "unknown option --key"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			env := make(map[string]string)
			for k, v := range full {
				env[k] = v
			}
			if c.env != "" {
				env[c.env] = c.value
			}
			code, stdout, stderr := runAsk(t, env, append([]string{"--udp", "127.0.0.1:1"}, c.args...)...)
			if code != exitUsage || stdout != "" || !strings.Contains(stderr, c.words) {
				t.Errorf("ask = %d, %q, %q, want %q", code, stdout, stderr, c.words)
			}
			if strings.Contains(stderr, askKeyText[:20]) {
				t.Errorf("stderr shows the key: %q", stderr)
			}
		})
	}
}

func runAsk(t *testing.T, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return runWith(t, "", env, append([]string{"ask"}, args...)...)
}

// runWith runs a command with nothing but the given stdin and environment.
func runWith(t *testing.T, stdin string, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, talk bytes.Buffer
	p := program{
		stdin: strings.NewReader(stdin), stdout: &out, stderr: &talk,
		env: func(name string) string { return env[name] },
	}
	code = p.run(t.Context(), append([]string{"zhongkong"}, args...))
	return code, out.String(), talk.String()
}

// askServer answers the user ci until the test ends.
func askServer(t *testing.T) string {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(askKeyText)
	if err != nil {
		t.Fatal(err)
	}
	gate, err := auth.New([]auth.User{{Name: "ci", UDPKey: key, Accounts: []string{auth.AllAccounts}}})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := datagram.NewServer(datagram.Config{Callers: gate, Answerer: askBook{}})
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, conn) }() // waited for in Cleanup
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve() = %v", err)
		}
	})
	return conn.LocalAddr().String()
}
