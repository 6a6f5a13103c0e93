package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/oauth"
	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
	"github.com/zhongkong/zhongkong/redisstore/seal"
)

// consenting is a bench with an account that lives on a refresh token, and its issuer.
type consenting struct {
	*bench
	issuer  *oauthtest.Server
	granted atomic.Pointer[func()] // is called before an answer of the issuer with a grant goes out; nil: nothing is
}

func (b *consenting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	held := b.granted.Load()
	if held == nil || r.URL.Path != "/oauth2/token" {
		b.issuer.ServeHTTP(w, r)
		return
	}
	answer := httptest.NewRecorder()
	b.issuer.ServeHTTP(answer, r)
	if answer.Code == http.StatusOK {
		(*held)()
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()) // fails if the client has gone
}

const grantSecret = "the-secret-of-the-client"

func newConsenting(t *testing.T, lines ...string) *consenting {
	t.Helper()
	b := &consenting{issuer: oauthtest.New(oauthtest.Config{Clients: []oauthtest.Client{{ID: "c", Secret: grantSecret}}})}
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	config := fmt.Sprintf(`accounts:
- name: books
  source: oauth2
  grant: refresh_token
  client_id: c
  client_secret_env: CLIENT_SECRET
  token_url: %[1]s/oauth2/token
  auth_url: %[1]s/oauth2/authorize
  device_url: %[1]s/oauth2/device
  scopes: [read, offline_access]
`, server.URL)
	for _, line := range lines {
		config += "  " + line + "\n"
	}
	b.bench = newBench(t).with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "ZHONGKONG_API_BASE", "", "CLIENT_SECRET", grantSecret,
		"ZHONGKONG_CONFIG", write("zk.yaml", config), "ZHONGKONG_SEAL_KEY_FILE", write("seal.keys", seal.NewLine(time.Now())+"\n"))
	return b
}

// said waits until a command has said what matches, and returns the first group.
func (r *running) said(pattern string) string {
	r.b.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if found := regexp.MustCompile(pattern).FindStringSubmatch(r.stderr.String()); found != nil {
			return found[1]
		}
	}
	r.b.t.Fatalf("it has not said %s but\n%s", pattern, r.stderr.String())
	return ""
}

// browse opens an address as a browser does, redirects and all.
func browse(t *testing.T, address string) (int, string) {
	t.Helper()
	resp, err := http.Get(address) //nolint:gosec,noctx // of this test
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// stored checks that the family's newest token is the one that the fleet goes on with.
func (b *consenting) stored(r ran) {
	b.t.Helper()
	if r.code != exitDone || !strings.Contains(r.stderr, "The grant of books is stored") || r.stdout != "" {
		b.t.Fatalf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	for _, f := range b.issuer.Families() {
		for _, value := range b.issuer.Accepted(f.Name) {
			if strings.Contains(r.stderr, value) {
				b.t.Error("the refresh token is in what it says")
			}
		}
	}
	if out := b.must("grant", "status"); !regexp.MustCompile(`books +(good|presented) `).MatchString(out) {
		b.t.Errorf("grant status:\n%s", out)
	}
}

func TestAPersonLogsInByABrowser(t *testing.T) {
	b := newConsenting(t)
	login := b.start(t.Context(), "", "login")
	address := login.said(`\n   (http://\S+)\n`)
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	redirect, err := url.Parse(u.Query().Get("redirect_uri"))
	if err != nil || redirect.Hostname() != "127.0.0.1" || redirect.Path != "/callback" || u.Query().Get("code_challenge_method") != "S256" {
		t.Fatalf("the address is %s", address)
	}
	// What does not belong to this login is turned away, and ends nothing.
	for query, want := range map[string]int{"": 400, "?code=x&state=y": 400, "?error=access_denied": 400} {
		if status, _ := browse(t, redirect.String()+query); status != want {
			t.Errorf("%q: %d", query, status)
		}
	}
	if status, _ := browse(t, "http://"+redirect.Host+"/elsewhere"); status != http.StatusNotFound {
		t.Errorf("elsewhere: %d", status)
	}
	if status, page := browse(t, address); status != 200 || !strings.Contains(page, "Return to the terminal") {
		t.Errorf("%d %s", status, page)
	}
	b.stored(login.wait())
	if f := b.issuer.Family("f1"); f.Scope != "read offline_access" || f.Client != "c" {
		t.Errorf("%+v", f)
	}
}

func TestALoginOutlastsAnOutageOfRedisAndAnInterrupt(t *testing.T) {
	b := newConsenting(t)
	var away atomic.Bool
	b.env["ZHONGKONG_REDIS"] = redistest.StartProxy(t, sharedRedis, func([]string) string {
		if away.Load() {
			return "LOADING Redis is loading the dataset in memory"
		}
		return ""
	}).URL()
	login := b.start(t.Context(), "", "login")
	address := login.said(`\n   (http://\S+)\n`)
	away.Store(true)
	if status, page := browse(t, address); status != 200 || strings.Contains(page, "logged in") {
		t.Errorf("%d %s", status, page)
	}
	login.says("Redis cannot be reached: trying again for 2 minutes; do not close this")
	login.cancel()
	login.says("the grant is being stored: waiting up to 2m00s; a second interrupt ends this at once and may lose it")
	away.Store(false)
	b.stored(login.wait())
}

// A code works once: the issuer may have given the grant for it.
func TestALoginThatIsInterruptedFinishesTheRequestForTheGrant(t *testing.T) {
	for name, args := range map[string][]string{"at this machine": {"login"}, "at another device": {"login", "--device"}} {
		t.Run(name, func(t *testing.T) {
			b := newConsenting(t)
			b.issuer.Tune(func(k *oauthtest.Knobs) { k.Consent.Interval = oauthtest.Duration(time.Second) })
			granted, released := make(chan struct{}), make(chan struct{})
			b.granted.Store(new(func() { close(granted); <-released }))
			page := make(chan struct{})
			login := b.start(t.Context(), "", args...)
			address := login.said(`\n   (http://\S+(?:user_code|state)=\S+)\n`)
			go func() { // ends when the issuer has answered
				defer close(page)
				if resp, err := http.Get(address); err == nil { //nolint:gosec,noctx // of this test
					_ = resp.Body.Close()
				}
			}()
			t.Cleanup(func() { close(released); <-page })
			<-granted
			login.cancel()
			login.says("waiting for the issuer to answer with the grant; a second interrupt ends this at once and may lose it")
			released <- struct{}{}
			b.stored(login.wait())
		})
	}
}

func TestAPersonLogsInAtAnotherDevice(t *testing.T) {
	b := newConsenting(t)
	b.issuer.Tune(func(k *oauthtest.Knobs) { k.Consent.Interval = oauthtest.Duration(time.Second) })
	login := b.start(t.Context(), "", "login", "books", "--device")
	if login.said(`enter the code (\S+):`) == "" {
		t.Error("no code")
	}
	if status, _ := browse(t, login.said(`\n   (http://\S+user_code=\S+)\n`)); status != 200 {
		t.Errorf("%d", status)
	}
	b.stored(login.wait())
}

func TestAPersonTypesInWhereTheIssuerHasSentHer(t *testing.T) {
	b := newConsenting(t, "redirect: https://app.example.com/callback")
	b.issuer.AddClient(oauthtest.Client{ID: "c", Secret: grantSecret, Redirects: []string{"https://app.example.com/callback"}})
	in, out := io.Pipe()
	login := b.startReading(t.Context(), in, "login")
	address := login.said(`\n   (http://\S+)\n`)
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := browser.Get(address) //nolint:noctx // of this test
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if _, err := fmt.Fprintln(out, resp.Header.Get("Location")); err != nil {
		t.Fatal(err)
	}
	b.stored(login.wait())
	for line, want := range map[string]string{
		"https://app.example.com/callback?code=x&state=y": "the URL of another login",
		"https://app.example.com/callback":                "it has no state=",
	} {
		if r := b.feed(line+"\n", "login"); r.code == exitDone || !strings.Contains(r.stderr, want) {
			t.Errorf("%s: exit code %d\n%s", line, r.code, r.stderr)
		}
	}
}

func TestALoginThatFailsSaysWhy(t *testing.T) {
	b := newConsenting(t)
	b.issuer.Tune(func(k *oauthtest.Knobs) { k.Consent.Denies = true })
	login := b.start(t.Context(), "", "login")
	if status, page := browse(t, login.said(`\n   (http://\S+)\n`)); status != 400 || !strings.Contains(page, "the terminal says why") {
		t.Errorf("%d %s", status, page)
	}
	if r := login.wait(); r.code != exitOther || !strings.Contains(r.stderr, "access_denied") {
		t.Errorf("denied: exit code %d\n%s", r.code, r.stderr)
	}
	b.issuer.Tune(func(k *oauthtest.Knobs) {
		k.Consent.Interval, k.Consent.After = oauthtest.Duration(time.Second), oauthtest.Duration(time.Millisecond)
	})
	b.fails(exitOther, "the person, or the issuer for her, has denied it", "login", "--device")
	b.fails(exitUsage, "login takes one NAME", "login", "books", "other")
	b.fails(exitOther, "nobody has logged in within 50ms", "login", "--wait", "50ms")
	if r := b.fails(exitUsage, "is not in the configuration", "login", "another"); strings.Contains(r.stderr, "give --config") || !strings.Contains(r.stderr, "it has books") {
		t.Errorf("another account than the configured ones:\n%s", r.stderr)
	}
	b.fails(exitUsage, "redirect: it must begin with https:// and a host", "login", "--config", newConsenting(t, "redirect: callback").env["ZHONGKONG_CONFIG"])
	sealed := b.env["ZHONGKONG_SEAL_KEY_FILE"]
	delete(b.env, "ZHONGKONG_SEAL_KEY_FILE")
	if r := b.run("login", "--wait", "5s"); r.code == exitDone || !strings.Contains(r.stderr, "seal") || strings.Contains(r.stderr, "Open this address") {
		t.Errorf("without a key: exit code %d\n%s", r.code, r.stderr)
	}
	b.env["ZHONGKONG_SEAL_KEY_FILE"] = sealed
	ctx, cancel := context.WithCancel(t.Context())
	login = b.start(ctx, "", "login")
	login.said(`(Open this address)`)
	cancel()
	if r := login.wait(); r.code != exitOther {
		t.Errorf("Ctrl-C: exit code %d\n%s", r.code, r.stderr)
	}
	plain := newBench(t)
	plain.fails(exitUsage, "needs no grant", "login")
}

// The code of a person's answer works once, and the grant that it brings has to be stored.
func TestNobodyIsAskedToLogInWhereTheGrantCannotBeStored(t *testing.T) {
	b := newConsenting(t)
	for _, key := range []string{"ZHONGKONG_GRANTS_SPOOL", "ZHONGKONG_GRANTS_COPY"} {
		wrong := b.with(key, b.file("file", ""))
		for _, args := range [][]string{{"login"}, {"login", "--device"}} {
			if r := wrong.fails(exitUsage, "not a directory", append(args, "--wait", "50ms")...); strings.Contains(r.stderr, "Open this address") {
				t.Errorf("%s: %v asks the person:\n%s", key, args, r.stderr)
			}
		}
	}
	if calls := b.issuer.Calls(); len(calls) > 0 {
		t.Errorf("the issuer was asked: %+v", calls)
	}
}

func TestAGrantIsImportedFromStdin(t *testing.T) {
	b := newConsenting(t, "profile: xero")
	if out := b.must("grant", "status"); !strings.Contains(out, "none") || !strings.Contains(out, "zhongkong login") {
		t.Errorf("before:\n%s", out)
	}
	_, token := b.issuer.Consent("c", "")
	r := b.feed(token+"\n", "grant", "import", "books")
	b.stored(r)
	if !strings.Contains(r.stderr, "it ends after 30d0h without use") {
		t.Errorf("%s", r.stderr)
	}
	if r = b.feed(token, "grant", "import", "--expires-in", "72h"); !strings.Contains(r.stderr, "it ends after 3d0h without use") {
		t.Errorf("%s", r.stderr)
	}
	if out := b.must("grant", "status", "--json"); !strings.Contains(out, `"name":"books"`) || !strings.Contains(out, `"condition":"good"`) ||
		!strings.Contains(out, `"idle_until"`) || strings.Contains(out, token) {
		t.Errorf("%s", out)
	}
	for _, text := range []string{"", "\n", "two words\n", "tab\tbed"} {
		if r := b.feed(text, "grant", "import"); r.code != exitUsage || !strings.Contains(r.stderr, "one word") {
			t.Errorf("%q: exit code %d\n%s", text, r.code, r.stderr)
		}
	}
	for _, args := range [][]string{{"books", "the-token-itself"}, {"the-token-itself"}} {
		if r := b.fails(exitUsage, "never as an argument", append([]string{"grant", "import"}, args...)...); strings.Contains(r.stderr, "the-token-itself") {
			t.Errorf("%v: it is repeated:\n%s", args, r.stderr)
		}
	}
	b.fails(exitUsage, "--expires-in", "grant", "import", "--expires-in", "soon")
	b.fails(exitUsage, "above 0", "grant", "import", "--expires-in", "-5s")
}

func TestServeGoesOnWithWhatALoginBrings(t *testing.T) {
	b := newConsenting(t, "profile: okta") // by which a used token is answered for 30 s
	b.issuer.Tune(func(k *oauthtest.Knobs) {
		p, _ := oauth.ProfileNamed("okta")
		k.Refresh = oauthtest.KnobsOf(p)
	})
	d := b.serve()
	b.eventually("to say that a person has to log in", func() bool {
		return strings.Contains(b.must("grant", "status"), "zhongkong login")
	})
	login := b.start(t.Context(), "", "login")
	if status, _ := browse(t, login.said(`\n   (http://\S+)\n`)); status != 200 {
		t.Fatalf("%d", status)
	}
	b.stored(login.wait())
	first := b.must("show")
	second := b.must("refresh")
	if first == second || !b.issuer.Valid(strings.TrimSpace(first)) || !b.issuer.Valid(strings.TrimSpace(second)) {
		t.Errorf("two tokens that live are wanted: %v", b.issuer.Presentations(""))
	}
	for _, p := range b.issuer.Presentations("") {
		if p.Outcome != "rotated" {
			t.Errorf("%+v", p)
		}
	}
	d.stop()
}
