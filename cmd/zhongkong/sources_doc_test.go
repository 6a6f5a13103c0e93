package main

import (
	"cmp"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/referencetest"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/redisstore/seal"
)

// sourcePages are the pages about sources, in English.
func sourcePages(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob("docs/sources/*.md")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(page string) bool { return strings.HasSuffix(page, ".zh-CN.md") })
}

// yamlExamples returns the lists of accounts of pages, without comments.
func yamlExamples(t *testing.T, pages ...string) []string {
	t.Helper()
	var all []string
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range strings.Split(string(text), "```yaml\naccounts:\n")[1:] {
			example, _, _ := strings.Cut("accounts:\n"+block, "```")
			all = append(all, regexp.MustCompile(` +# .*`).ReplaceAllString(example, ""))
		}
	}
	return all
}

// TestTheExamplesOfSourcesAreTrue reads each example as check does, with all the files
// that it names, and runs all of them in the sandbox.
func TestTheExamplesOfSourcesAreTrue(t *testing.T) {
	b := newBench(t).with("ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "ZHONGKONG_API_BASE", "")
	b.env["ZHONGKONG_SEAL_KEY_FILE"] = b.file("seal.keys", seal.NewLine(time.Now())) // for those that have grants
	accounts := ""
	for _, example := range yamlExamples(t, append(sourcePages(t), "docs/operate.md")...) {
		example = b.withFiles(example)
		checked := b.with("ZHONGKONG_CONFIG", b.file("example.yaml", example)).must("check")
		list := strings.TrimPrefix(example, "accounts:\n")
		n := strings.Count("\n"+list, "\n  - name: ") + len(regexp.MustCompile(`\w[,\]]`).FindAllString(ticketsOf(list), -1))
		if want := fmt.Sprintf("accounts %d, of which this process refreshes %d;", n, n); !strings.Contains(checked, want) {
			t.Errorf("check says %q, want %q, of\n%s", checked, want, example)
		}
		if !strings.Contains(example, "client_auth: mtls") {
			accounts += list
		}
	}
	b = b.with("ZHONGKONG_CONFIG", b.file("all.yaml", "accounts:\n"+accounts))
	d := b.serve("--sandbox")
	d.ready()
	b.eventually("every account to have a token", func() bool {
		code, _ := d.get("/readyz?all")
		return code == http.StatusOK
	})
	_, body := d.get("/v1/accounts")
	var states []wire.Account
	if err := json.Unmarshal([]byte(body), &states); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	for _, a := range states {
		if a.TTLSeconds <= 0 || a.LastError != nil || a.ParentError != "" {
			t.Errorf("%s: %+v", a.Name, a)
		}
	}
	for page, want := range map[string]int{"www.example.com": http.StatusOK, "evil.example.com": http.StatusForbidden} {
		if code, body := d.get("/v1/jssdk/wx0000000000000001?url=https%3A%2F%2F" + page + "%2F"); code != want {
			t.Errorf("a signature for %s = %d, want %d: %s", page, code, want, body)
		}
	}
	if n := strings.Count("\n"+accounts, "\n  - name: "); len(states) <= n {
		t.Errorf("%d accounts, want %d and their tickets", len(states), n)
	}
	b.keysAreThoseOfThePage()
}

// keysAreThoseOfThePage compares what a bench with accounts of all sources has in Redis
// with the page of keys, in both languages.
func (b *bench) keysAreThoseOfThePage() {
	b.t.Helper()
	client := sharedRedis.Client()
	defer client.Close()
	for _, file := range []string{"docs/reference/keys.md", "docs/reference/keys.zh-CN.md"} {
		page := referencetest.ReadKeys(b.t, file)
		seen := page.Compare(b.t.Context(), b.t, client, b.env["ZHONGKONG_PREFIX"]+"-sandbox")
		want := slices.DeleteFunc(page.All(), func(key string) bool {
			// Only while a refresh is under way, and only in a cluster.
			return key == "P:{N}:lock" || key == "P:{N}:attempts" || key == "P:{N}:log"
		})
		if !slices.Equal(seen, want) {
			b.t.Errorf("%s has the keys %q, and Redis has %q", file, want, seen)
		}
	}
}

// ticketsOf returns the lists of tickets in accounts.
func ticketsOf(accounts string) string {
	return strings.Join(regexp.MustCompile(`(?m)^ +tickets: .*`).FindAllString(accounts, -1), "\n")
}

// withFiles writes the files that an example names, and names those.
func (b *bench) withFiles(example string) string {
	b.t.Helper()
	key, certificate := exampleKey(b.t)
	account, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "x@example.com", "private_key": key, "token_uri": "https://oauth2.googleapis.com/token",
	})
	if err != nil {
		b.t.Fatal(err)
	}
	contents := map[string]string{".pem": key, ".key": key, ".crt": certificate, ".json": string(account),
		".aes": base64.RawStdEncoding.EncodeToString(make([]byte, 32))}
	dir := b.t.TempDir()
	for _, path := range regexp.MustCompile(`/etc/zhongkong/\S+`).FindAllString(example, -1) {
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), []byte(cmp.Or(contents[filepath.Ext(path)], "the-secret-in-"+filepath.Base(path))), 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
	return strings.ReplaceAll(example, "/etc/zhongkong/", dir+"/")
}

// exampleKey returns an RSA key and a certificate of it, in PEM.
func exampleKey(t *testing.T) (key, certificate string) {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return encode("PRIVATE KEY", der), encode("CERTIFICATE", signed)
}

func TestThePagesHaveAllPresets(t *testing.T) {
	for i, page := range []string{"docs/sources/http.md", "docs/sources/http.zh-CN.md"} {
		referencetest.Part(t, page, "presets", presetTable(i == 1))
	}
}

// presetTable is the table of presets in English or Chinese.
func presetTable(chinese bool) string {
	heading := []string{"preset", "tokens", "parameters (* secret)", "a call, to the token before"}
	repeats := map[string]string{"kills": "ends it", "same": "answers it again", "keeps": "lets it live on"}
	parent := "`of`: the account whose token it needs"
	if chinese {
		heading = []string{"preset", "token（签发方文档）", "参数（* 为密钥）", "重复调用对前一个 token"}
		repeats = map[string]string{"kills": "使其失效", "same": "再次返回", "keeps": "没有影响"}
		parent = "`of`：提供 token 的账号"
	}
	var b strings.Builder
	referencetest.Heading(&b, heading...)
	for _, p := range httpsource.Presets() {
		var parameters []string
		for _, parameter := range p.Issuer.Parameters {
			cell := "`" + parameter.Name + "`"
			if parameter.Secret {
				cell += " *"
			}
			if parameter.Default != "" {
				cell += " (" + parameter.Default + ")"
			}
			parameters = append(parameters, cell)
		}
		if p.Issuer.NeedsParent() {
			parameters = append(parameters, parent)
		}
		referencetest.Row(&b, "`"+p.Name+"`", "["+p.Issuer.Title+"]("+p.Issuer.Documentation+")", strings.Join(parameters, ", "), repeats[p.Issuer.Repeat])
	}
	return b.String()
}
