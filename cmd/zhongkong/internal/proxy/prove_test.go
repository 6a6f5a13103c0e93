package proxy

import (
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/phantom"
	"github.com/zhongkong/zhongkong/coordinator"
)

// echo answers with what it was asked with.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "text/plain")
	_, _ = io.WriteString(w, r.Method+" "+r.URL.RequestURI()+"\n")
	for name, values := range r.Header {
		_, _ = io.WriteString(w, name+": "+strings.Join(values, ", ")+"\n")
	}
	_, _ = w.Write(body)
}

func TestCallersAreProvedByWhatTheyWereGiven(t *testing.T) {
	account := &fixed{}
	upstream := serve(t, http.HandlerFunc(echo))
	s := newStage(t, weChatRoute(t, upstream), account, nil)
	ofSDK := s.phantom(t, "sdk", time.Hour)
	expired := s.phantom(t, "sdk", -time.Second)
	oldPassword, _ := s.sealer.Make("sdk", []byte("of a former password"), time.Now().Add(time.Hour))
	ofNobody, _ := s.sealer.Make("nobody", nil, time.Now().Add(time.Hour))
	ofStranger := s.phantom(t, "stranger", time.Hour)
	other, err := phantom.New("another", []byte(fleetK))
	if err != nil {
		t.Fatal(err)
	}
	ofAnother, _ := other.Make("sdk", s.verifier(t, "sdk"), time.Now().Add(time.Hour))
	forger, err := phantom.New(appID, []byte("0123456789abcdef0123456789abcdeX"))
	if err != nil {
		t.Fatal(err)
	}
	forged, _ := forger.Make("sdk", s.verifier(t, "sdk"), time.Now().Add(time.Hour))
	s.cfg.Tokens.Given(appID, "stranger", coordinator.NewToken("T0KEN-of-a-stranger"))

	basicOf := func(text string) string {
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(text))
	}
	for name, c := range map[string]struct{ token, header, want string }{
		"Basic":                            {"", basicOf("sdk:" + userKey), "T0KEN"},
		"Bearer NAME:PASSWORD":             {"", "Authorization: Bearer sdk:" + userKey, "T0KEN"},
		"Bearer NAME~PASSWORD":             {"", "Authorization: Bearer sdk~" + userKey, "T0KEN"},
		"a phantom":                        {ofSDK, "", "T0KEN"},
		"Basic and a token that is stale":  {"stale", basicOf("sdk:" + userKey), "T0KEN"},
		"nothing":                          {"", "", "41001"},
		"a wrong password":                 {"", basicOf("sdk:wrong"), "40125"},
		"a wrong password, a good phantom": {ofSDK, basicOf("sdk:wrong"), "40125"},
		"another account's caller":         {"", basicOf("stranger:" + userKey), "48001"},
		"a guess":                          {"T0KEN-of-the-account-1", "", "40001"},
		"a key as the token":               {"sdk:" + userKey, "", "40001"},
		"an expired phantom":               {expired, "", "42001"},
		"a former password's phantom":      {oldPassword, "", "40001"},
		"a phantom of a removed caller":    {ofNobody, "", "40001"},
		"a phantom without the right":      {ofStranger, "", "40001"},
		"a phantom of another account":     {ofAnother, "", "40001"},
		"a forged phantom":                 {forged, "", "40001"},
		"zk_":                              {"zk_", "", "40001"},
		"a token of one without the right": {"T0KEN-of-a-stranger", "", "40001"},
		"a token that is too long":         {strings.Repeat("x", 9000), "", "40001"},
	} {
		var headers []string
		if c.header != "" {
			headers = append(headers, c.header)
		}
		w := callWith(s, "GET", "/proxy/wx/cgi-bin/menu/get?access_token="+c.token, "", headers...)
		if !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: %d %s, want %s", name, w.Code, w.Body, c.want)
		}
		if c.want != "T0KEN" && strings.Contains(w.Body.String(), "GET ") {
			t.Errorf("%s: it reached the upstream", name)
		}
	}
	if strings.Contains(s.logged.String(), "zk_") || strings.Contains(s.logged.String(), userKey) {
		t.Error("the log shows a credential")
	}
}

func TestNoCredentialInAPathIsLogged(t *testing.T) {
	s := newStage(t, weChatRoute(t, serve(t, http.HandlerFunc(echo))), &fixed{}, nil)
	for _, path := range []string{"sdk~" + userKey, "menu%2Fsdk~" + userKey, strings.Repeat("T0KEN", 9)} {
		callWith(s, "GET", "/proxy/wx/cgi-bin/"+path, "")
		callWith(s, "GET", "/proxy/wx/cgi-bin/"+path, "", "Authorization: "+basic)
	}
	log := s.logged.String()
	if strings.Contains(log, userKey) || strings.Contains(log, "T0KENT0KEN") || !strings.Contains(log, "path=/cgi-bin/…") {
		t.Errorf("the log shows a credential, or no path: %s", log)
	}
}

func TestARemovedCallerIsRefused(t *testing.T) {
	account := &fixed{}
	s := newStage(t, weChatRoute(t, serve(t, http.HandlerFunc(echo))), account, nil)
	s.cfg.Tokens.Given(appID, "sdk", account.token())
	token := s.phantom(t, "sdk", time.Hour)
	for _, held := range []string{token, account.text()} {
		if w := callWith(s, "GET", "/proxy/wx/x?access_token="+held, ""); !strings.HasPrefix(w.Body.String(), "GET /x") {
			t.Errorf("before: %s", w.Body)
		}
	}
	s.remove("sdk")
	for _, held := range []string{token, account.text()} {
		if w := callWith(s, "GET", "/proxy/wx/x?access_token="+held, ""); !strings.Contains(w.Body.String(), "40001") {
			t.Errorf("afterwards: %s", w.Body)
		}
	}
}

func TestATokenThatAnotherServerGaveOutOpensTheRoute(t *testing.T) {
	account := &fixed{}
	s := newStage(t, weChatRoute(t, serve(t, http.HandlerFunc(echo))), account, nil)
	s.cfg.Tokens.Seen(appID, account.token())
	if w := callWith(s, "GET", "/proxy/wx/x?access_token="+account.text(), ""); !strings.HasPrefix(w.Body.String(), "GET /x") {
		t.Errorf("%s", w.Body)
	}
}

func TestOneCallerDoesNotTakeAllPlaces(t *testing.T) {
	hold, entered := make(chan struct{}), make(chan struct{}, 8)
	upstream := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-hold
	}))
	s := newStage(t, weChatRoute(t, upstream), &fixed{}, func(c *Config) { c.Limits = Limits{All: 3, Each: 2} })
	token := s.phantom(t, "veil", time.Hour)
	done := make(chan struct{}, 3)
	for _, target := range []string{"/proxy/wx/a", "/proxy/wx/b", "/proxy/wx/c?access_token=" + token} {
		go func() { // ends when hold is closed
			if strings.Contains(target, "zk_") {
				callWith(s, "GET", target, "")
			} else {
				callWith(s, "GET", target, "", "Authorization: "+basic)
			}
			done <- struct{}{}
		}()
		<-entered
	}
	for _, header := range []string{basic, "Bearer veil:" + userKey} {
		if w := callWith(s, "GET", "/proxy/wx/d", "", "Authorization: "+header); !strings.Contains(w.Body.String(), "45011") {
			t.Errorf("%s", w.Body)
		}
	}
	close(hold)
	for range 3 {
		<-done
	}
	if n := s.slots.InUse(); n != 0 || s.Stats()[0].Limited != 2 {
		t.Errorf("%d calls under way, %+v", n, s.Stats()[0])
	}
}
