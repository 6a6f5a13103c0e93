package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
	"github.com/zhongkong/zhongkong/redisstore/seal"
)

const portalPassword = "a-password-of-the-portal"

// portalUser returns a line of users: with the user portal, who has the grant right for
// accounts. The hash of its password costs little.
func portalUser(accounts string) string {
	salt := []byte("a salt for tests")
	return fmt.Sprintf("  - {name: portal, accounts: %s, grant: true, password: \"$argon2id$v=19$m=8,t=1,p=1$%s$%s\"}\n", accounts,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(argon2.IDKey([]byte(portalPassword), salt, 1, 8, 1, 32)))
}

// put puts a grant in as the user portal.
func (d *daemonRun) put(account, body string) int {
	d.b.t.Helper()
	req, err := http.NewRequestWithContext(d.b.t.Context(), http.MethodPut, d.url+"/v1/grants/"+account, strings.NewReader(body))
	if err != nil {
		d.b.t.Fatal(err)
	}
	req.SetBasicAuth("portal", portalPassword)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		d.b.t.Fatal(err)
	}
	_ = resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	return resp.StatusCode
}

// grantBench has an account on a refresh token of an issuer that rotates.
func grantBench(t *testing.T) (*bench, *oauthtest.Server) {
	t.Helper()
	issuer := oauthtest.New(oauthtest.Config{Clients: []oauthtest.Client{{ID: "zhongkong", Secret: "the-secret-of-the-client"}}})
	server := httptest.NewServer(issuer)
	t.Cleanup(server.Close)
	b := newBench(t).with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "ZHONGKONG_API_BASE", "")
	dir := t.TempDir()
	b.env["ZHONGKONG_CONFIG"] = b.file("zk.yaml", `
seal_key_file: `+b.file("seal.keys", seal.NewLine(time.Now()))+`
grants: {spool: `+filepath.Join(dir, "spool")+`, copy: `+filepath.Join(dir, "copy")+`}
accounts:
  - name: crm
    source: oauth2
    grant: refresh_token
    token_url: `+server.URL+`/oauth2/token
    client_id: zhongkong
    client_secret: the-secret-of-the-client
users:
`+portalUser("crm"))
	return b, issuer
}

// condition returns what a serve says of the grant of crm.
func (d *daemonRun) condition() string {
	d.b.t.Helper()
	var state struct{ Condition string }
	code, body := d.get("/v1/grants/crm")
	if code == http.StatusOK {
		if err := json.Unmarshal([]byte(body), &state); err != nil {
			d.b.t.Fatal(err)
		}
	}
	return state.Condition
}

func TestServeLivesOnAGrantThatIsPutIn(t *testing.T) {
	b, issuer := grantBench(t)
	d := b.serve()
	b.eventually("the grant to be missing", func() bool { return d.condition() == "none" })
	if out := b.must("status"); !strings.Contains(out, "none") || !strings.Contains(out, "zhongkong grant import") {
		t.Errorf("status without a grant:\n%s", out)
	}
	family, token := issuer.Consent("zhongkong", "")
	if code := d.put("crm", `{"refresh_token":"`+token+`"}`); code != http.StatusNoContent {
		t.Fatalf("PUT = %d:\n%s", code, d.stderr.String())
	}
	d.ready()
	b.eventually("the successor to be stored", func() bool { return d.condition() == "good" && !issuer.Accepts(token) })
	if n := len(issuer.Presentations(family)); n != 1 {
		t.Errorf("%d presentations, want 1", n)
	}
	export := b.must("grant", "export")
	if out := d.stop(); strings.Contains(out.stderr+export, token) {
		t.Error("the log or the export shows the refresh token")
	}

	// Redis loses everything. What was used up is not what comes back.
	keys := b.env["ZHONGKONG_PREFIX"]
	client := sharedRedis.Client()
	defer client.Close()
	for _, pattern := range []string{keys + ":{crm}*", keys + "-grant:{crm}*"} {
		for _, key := range client.Keys(t.Context(), pattern).Val() {
			sharedRedis.MustDo(t, "DEL", key)
		}
	}
	d = b.serve()
	b.eventually("the grant to be back", func() bool { return d.condition() == "good" })
	if out := d.stop(); !strings.Contains(out.stderr, "grant restored") {
		t.Errorf("the log does not say that the grant was restored:\n%s", out.stderr)
	}
	if n := len(issuer.Presentations(family)); n != 1 {
		t.Errorf("%d presentations while other processes could still put back a newer grant, want 1", n)
	}
}

// What an error names must help: nothing but the deletion does.
func TestAGrantWhoseKeyIsLostIsReplacedAfterItWasDeleted(t *testing.T) {
	b, issuer := grantBench(t)
	_, token := issuer.Consent("zhongkong", "")
	imported := func(code int, words string) {
		t.Helper()
		if r := b.feed(token, "grant", "import"); r.code != code || !strings.Contains(r.stderr, words) {
			t.Fatalf("grant import = %d, want %d and %q in\n%s", r.code, code, words, r.stderr)
		}
	}
	imported(exitDone, "is stored")
	b.must("show", "crm") // the token is sealed with the key as well
	config, err := os.ReadFile(b.env["ZHONGKONG_CONFIG"])
	if err != nil {
		t.Fatal(err)
	}
	_, keyFile, _ := strings.Cut(string(config), "seal_key_file: ")
	keyFile, _, _ = strings.Cut(keyFile, "\n")
	b.rewrite(keyFile, seal.NewLine(time.Now())+"\n")

	key := b.env["ZHONGKONG_PREFIX"] + "-grant:{crm}"
	remedy := "redis-cli del '" + key + "'"
	imported(exitOther, remedy)
	found := b.findings(exitOther)
	finds(t, found, "token", resultFail, "cannot be opened")
	finds(t, found, "grant", resultFail, remedy)
	sharedRedis.MustDo(t, "DEL", key)
	_, dir, _ := strings.Cut(string(config), "copy: ")
	dir, _, _ = strings.Cut(dir, "}")
	imported(exitOther, "move the file away")
	if err := os.Rename(filepath.Join(dir, "crm.grant"), filepath.Join(t.TempDir(), "crm.grant")); err != nil {
		t.Fatal(err)
	}
	imported(exitDone, "is stored")
}

func TestTheStatusOfAGrantSaysThatItCannotBeOpened(t *testing.T) {
	b, issuer := grantBench(t)
	_, token := issuer.Consent("zhongkong", "")
	if r := b.feed(token, "grant", "import"); r.code != exitDone {
		t.Fatal(r.stderr)
	}
	if out := b.must("grant", "status"); !strings.Contains(out, "good") || strings.Contains(out, "opened") {
		t.Errorf("grant status with the key:\n%s", out)
	}
	other := b.with("ZHONGKONG_SEAL_KEY_FILE", b.file("other.keys", seal.NewLine(time.Now())))
	if out := other.must("grant", "status"); !strings.Contains(out, "good, cannot be opened here") || !strings.Contains(out, "add that key's line") {
		t.Errorf("grant status without the key:\n%s", out)
	}
	var states []grantState
	if err := json.Unmarshal([]byte(other.must("grant", "status", "--json")), &states); err != nil || len(states) != 1 || !strings.Contains(states[0].Advice, "it is sealed with key") {
		t.Errorf("grant status --json without the key: %+v, %v", states, err)
	}
}

// A mail program may have wrapped it: its beginning would cost the good one.
func TestARefreshTokenOfSeveralLinesIsRefused(t *testing.T) {
	b, issuer := grantBench(t)
	_, token := issuer.Consent("zhongkong", "")
	for _, text := range []string{token[:5] + "\n" + token[5:] + "\n", token + "\n\nx", token + "\r\n" + token, token + " x", "", "\n"} {
		if r := b.feed(text, "grant", "import"); r.code != exitUsage || !strings.Contains(r.stderr, "one word, and nothing else") {
			t.Errorf("grant import of %q = %d:\n%s", text, r.code, r.stderr)
		}
	}
	for _, text := range []string{token, token + "\n", token + "\r\n", "\n " + token + " \n\n"} {
		if r := b.feed(text, "grant", "import"); r.code != exitDone {
			t.Errorf("grant import of %q = %d:\n%s", text, r.code, r.stderr)
		}
	}
}

// To take its refresh token back to another program would lose the grant.
func TestAGrantThatCannotBeCopiedIsSaidToBeStored(t *testing.T) {
	b, issuer := grantBench(t)
	b.env["ZHONGKONG_GRANTS_COPY"] = filepath.Join(t.TempDir(), "copy")
	inTheWay := filepath.Join(b.env["ZHONGKONG_GRANTS_COPY"], "crm.grant")
	if err := os.MkdirAll(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	_, token := issuer.Consent("zhongkong", "")
	if r := b.feed(token, "grant", "import"); r.code != exitOther || !strings.Contains(r.stderr, "the grant is stored and in use") {
		t.Errorf("grant import = %d:\n%s", r.code, r.stderr)
	}
	d := b.serve()
	b.eventually("the grant to be read", func() bool { return d.condition() != "" })
	put := func(want int) {
		if code := d.put("crm", `{"refresh_token":"`+token+`"}`); code != want {
			t.Errorf("PUT = %d, want %d", code, want)
		}
	}
	put(http.StatusServiceUnavailable)
	d.ready()
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	put(http.StatusNoContent)
}
