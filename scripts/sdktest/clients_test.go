package sdktest

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// sdk is one row of the results.
type sdk struct {
	name     string
	language string
	asks     bool  // it asks for a token again at 40001, or before each call
	own      bool  // it needs a process to itself, because its settings are global
	noLogin  bool  // it has no login with the secret
	wire     *wire // nil: the SDK itself runs
	by       string
}

const (
	usual   = "grant_type=client_credential&appid={appid}&secret={secret}"
	byGo    = "Go net/http"
	byPy    = "python3-requests"
	bySym   = "php-symfony-http-client"
	byGuz   = "php-guzzlehttp-guzzle"
	byCurl  = "php-curl"
	byRuby  = "ruby-http"
	charset = "application/json; charset=UTF-8"
)

// sdks are the SDKs themselves, and then those of which what they send is sent.
func sdks() []sdk {
	return []sdk{
		{name: "silenceper/wechat", language: "Go", own: true},
		{name: "silenceper/wechat, stable_token", language: "Go", own: true},
		{name: "co-wechat-api", language: "JavaScript", asks: true},
		{name: "wechat-api", language: "JavaScript", noLogin: true},
		{name: "wechat-jssdk", language: "JavaScript", asks: true},
		{name: "node-easywechat", language: "JavaScript"},
		{name: "node-easywechat, stable_token", language: "JavaScript"},
		{name: "nest-wechat", language: "JavaScript", own: true},

		{name: "chanxuehong/wechat", language: "Go", asks: true, by: byGo, wire: &wire{Query: usual, Escape: true, Margin: 60, Retries: 1}},
		{name: "fastwego/offiaccount", language: "Go", asks: true, by: byGo,
			wire: &wire{Query: "appid={appid}&grant_type=client_credential&secret={secret}", Escape: true, Retries: 1}},
		{name: "PowerWeChat", language: "Go", asks: true, by: byGo,
			wire: &wire{Query: "appid={appid}&grant_type=client_credential&neededText=&secret={secret}", Escape: true, Retries: 1}},
		{name: "wechatpy", language: "Python", asks: true, by: byPy, wire: &wire{Query: usual, Escape: true, Margin: 60, Retries: -1}},
		{name: "WeRoBot", language: "Python", by: byPy, wire: &wire{Query: usual, Escape: true, Margin: 60}},
		{name: "wechat-python-sdk", language: "Python", by: byPy, wire: &wire{Query: usual, Escape: true, Margin: 60, Old: true}},
		{name: "EasyWeChat 6", language: "PHP", by: bySym, wire: &wire{HTTP: "symfony", Query: usual}},
		{name: "EasyWeChat 6, stable_token", language: "PHP", by: bySym, wire: &wire{HTTP: "symfony", Stable: "application/json"}},
		{name: "EasyWeChat 5", language: "PHP", asks: true, by: byGuz, wire: &wire{HTTP: "guzzle", Query: usual, Escape: true, Retries: 1}},
		{name: "zoujingli/WeChatDeveloper", language: "PHP", asks: true, by: byCurl,
			wire: &wire{HTTP: "curl", Query: usual, Keep: 7000, Retries: 1, Once: true}},
		{name: "WxJava", language: "Java", asks: true, by: byGo, wire: &wire{Query: usual, Margin: 200, Retries: 1}},
		{name: "WxJava, stable_token", language: "Java", asks: true, by: byGo, wire: &wire{Stable: charset, Margin: 200, Retries: 1}},
		{name: "Eric-Guo/wechat", language: "Ruby", asks: true, by: byRuby, wire: &wire{Query: usual, Escape: true, Margin: 180, Retries: 2}},
	}
}

// runtime is the language of the driver: Java's requests are sent by Go.
func (s sdk) runtime() string {
	if s.by == byGo {
		return "Go"
	}
	return s.language
}

// version is the one that was run, as go.mod and package-lock.json have it.
func (s sdk) version(t *testing.T) string {
	t.Helper()
	name, _, _ := strings.Cut(s.name, ",")
	switch {
	case s.by != "":
		return "sent by " + s.by
	case s.language == "Go":
		out, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", "github.com/"+name+"/v2").Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimPrefix(strings.TrimSpace(string(out)), "v")
	}
	text, err := os.ReadFile("package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	var lock struct {
		Packages map[string]struct {
			Version string `json:"version"`
		} `json:"packages"`
	}
	if err := json.Unmarshal(text, &lock); err != nil {
		t.Fatal(err)
	}
	return lock.Packages["node_modules/"+name].Version
}
