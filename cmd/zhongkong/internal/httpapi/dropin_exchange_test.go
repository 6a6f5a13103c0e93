package httpapi

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
)

const (
	componentPath  = "/cgi-bin/component/api_component_token"
	authorizerPath = "/cgi-bin/component/api_authorizer_token"
	suitePath      = "/cgi-bin/service/get_suite_token"
	corpPath       = "/cgi-bin/service/get_corp_token"
)

func exchangeBody(fields ...string) string {
	all := make(map[string]string)
	for i := 0; i < len(fields); i += 2 {
		all[fields[i]] = fields[i+1]
	}
	body, _ := json.Marshal(all)
	return string(body)
}

func componentBody(secret string) string {
	return exchangeBody("component_appid", "platform", "component_appsecret", secret, "component_verify_ticket", "ticket@@@any")
}

func authorizerBody(secret string) string {
	return exchangeBody("component_appid", "platform", "authorizer_appid", "member", "authorizer_refresh_token", secret)
}

func suiteBody(secret string) string {
	return exchangeBody("suite_id", "platform", "suite_secret", secret, "suite_ticket", "any")
}

func corpBody(secret string) string {
	return exchangeBody("auth_corpid", "member", "permanent_code", secret)
}

func TestPlatformsAndSuitesAreAnsweredAsTheIssuersDo(t *testing.T) {
	s := newStage(t, newBook(t).use)
	const seconds = `,"expires_in":[1-7]\d\d\d`
	tilde := strings.Replace(neighbor, ":", "~", 1)
	for _, c := range []struct{ path, body, want string }{
		{componentPath, componentBody(reader), `{"component_access_token":"token-of-a-1"` + seconds + `}`},
		{"//cgi-bin/component//api_component_token/", "\ufeff" + componentBody(reader), `{"component_access_token":"token-of-a-1"` + seconds + `}`},
		{
			authorizerPath + "?component_access_token=held", authorizerBody(neighbor),
			`{"authorizer_access_token":"token-of-b-1"` + seconds + `,"authorizer_refresh_token":"` + neighbor + `"}`,
		},
		{
			authorizerPath + "?access_token=held", authorizerBody(tilde),
			`{"authorizer_access_token":"token-of-b-1"` + seconds + `,"authorizer_refresh_token":"` + tilde + `"}`,
		},
		{suitePath, suiteBody(reader), `{"errcode":0,"errmsg":"ok","suite_access_token":"token-of-a-1"` + seconds + `}`},
		{corpPath + "?suite_access_token=held", corpBody(neighbor), `{"access_token":"token-of-b-1"` + seconds + `}`},
	} {
		for _, kind := range []string{"application/json", formType} { // SDKs name either
			r := s.ask("", "POST", c.path, c.body, "Content-Type", kind)
			if want := regexp.MustCompile("^" + strings.ReplaceAll(c.want, "{", `\{`) + "$"); r.status != 200 || !want.MatchString(r.body) ||
				r.header.Get("Cache-Control") != "no-store" || r.header.Get("Content-Length") != fmt.Sprint(len(r.body)) {
				t.Errorf("%s: %d %s %v, want %s", c.path, r.status, r.body, r.header, c.want)
			}
		}
	}
	s.nothingIn("the log", s.log.String())
}

func TestRefusedExchangesAreAnsweredAsTheIssuersDo(t *testing.T) {
	s := newStage(t, newBook(t).use)
	authorizer, corp := authorizerPath+"?component_access_token=", corpPath+"?suite_access_token="
	for _, c := range []struct {
		path, body string
		code       int
		message    string
	}{
		{componentPath, "", 41002, "component_appid missing"},
		{componentPath, "{", 41002, "component_appid missing"},
		{componentPath, `{"component_appid":1}`, 41002, "component_appid missing"},
		{componentPath, exchangeBody("component_appid", "platform"), 41004, "component_appsecret missing"},
		{componentPath, componentBody("0123456789abcdef0123456789abcdef"), 61011, "invalid component"},
		{componentPath, componentBody(stranger), 61011, "invalid component"},
		{componentPath, componentBody(neighbor), 61011, "invalid component"},                                            // may not have it
		{componentPath, exchangeBody("component_appid", wxb, "component_appsecret", admin), 61011, "invalid component"}, // is no platform
		{componentPath, strings.Repeat("a", 17<<10), 41002, "appid missing"},

		{authorizerPath, authorizerBody(neighbor), 41001, "access_token missing"},
		{authorizer + "held", "{}", 41002, "authorizer_appid missing"},
		{authorizer + "held", exchangeBody("authorizer_appid", "member"), 61023, "refresh_token is invalid"},
		{authorizer + "held", authorizerBody("refreshtoken@@@real"), 61023, "refresh_token is invalid"},
		{authorizer + "held", authorizerBody(stranger), 61023, "refresh_token is invalid"},
		{authorizer + "dead", authorizerBody(neighbor), 40001, "invalid credential"},
		{authorizer + "held", authorizerBody(reader), 61003, "component is not authorized by this account"}, // may not have it
		{authorizer + "held", exchangeBody("authorizer_appid", wxa, "authorizer_refresh_token", admin), 61003, "component is not authorized"},

		{suitePath, "", 41021, "suite_id missing"},
		{suitePath, exchangeBody("suite_id", "platform"), 41024, "suite_secret missing"},
		{suitePath, suiteBody("hexadecimal"), 40080, "invalid suite_secret"},
		{suitePath, suiteBody(stranger), 40080, "invalid suite_secret"},
		{suitePath, suiteBody(neighbor), 40083, "invalid suite_id"},

		{corpPath, corpBody(neighbor), 41022, "suite_access_token missing"},
		{corp + "held", "{}", 41002, "corpid missing"},
		{corp + "held", exchangeBody("auth_corpid", "member"), 41025, "permanent_code missing"},
		{corp + "held", corpBody("a-permanent-code"), 40084, "invalid permanent_code"},
		{corp + "held", corpBody(stranger), 40084, "invalid permanent_code"},
		{corp + "dead", corpBody(neighbor), 40082, "invalid suite_acccess_token"},
		{corp + "held", corpBody(reader), 40084, "invalid permanent_code"},
		{corp + "held", exchangeBody("auth_corpid", "none", "permanent_code", admin), 40084, "invalid permanent_code"},
	} {
		r := s.ask("", "POST", c.path, c.body)
		checkTrouble(t, c.path+" "+c.body[:min(len(c.body), 99)], r, c.code, c.message)
		s.nothingIn(c.path, r.body)
	}
	for _, path := range []string{componentPath, authorizer + "held", suitePath, corp + "held"} {
		checkTrouble(t, "GET "+path, s.ask("", "GET", path, ""), 43002, "require POST method")
		slow := newStage(t, newBook(t).use, func(c *Config) { c.Callers = slowCallers{} })
		body := exchangeBody("component_appid", "platform", "component_appsecret", reader, "authorizer_appid", "member", "authorizer_refresh_token", reader,
			"suite_id", "platform", "suite_secret", reader, "auth_corpid", "member", "permanent_code", reader)
		checkTrouble(t, "too many tries at "+path, slow.ask("", "POST", path, body), 45011, "api minute-quota")
	}
	s.nothingIn("the log", s.log.String())
	if log := s.log.String(); strings.Contains(log, "real") || strings.Contains(log, "a-permanent-code") || strings.Contains(log, "dead") {
		t.Errorf("the log holds what was sent: %s", log)
	}
}

// The SDK would take the issuer's word for one about the password that it sent, and drop
// that.
func TestAnExchangeDoesNotPassOnWhatIsSaidOfTheRealSecret(t *testing.T) {
	for code, want := range map[int]int{61011: -1, 61023: -1, 40080: -1, 40083: -1, 40084: -1, 61003: 61003, 61004: 61004, 60020: 60020} {
		s := failingStage(t, coordinatortest.FailsWith(coordinator.FailedRefused, coordinator.NumericCode(code), "words of the issuer"), newBook(t).use)
		r := s.ask("", "POST", authorizerPath+"?component_access_token=held", authorizerBody(admin))
		if r.status != 200 || r.field("errcode") != fmt.Sprint(want) || !strings.Contains(r.body, "words of the issuer") {
			t.Errorf("%d: %d %s, want errcode %d and the issuer's words", code, r.status, r.body, want)
		}
	}
}

func TestAnExchangeTellsTheLifetimeThatTheCallerIsTold(t *testing.T) {
	gate, err := auth.New([]auth.User{{Name: "brief", Password: "brief-password", Accounts: []string{wxa}, Told: auth.Told{Max: 4 * time.Minute}}})
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t, newBook(t).use, func(c *Config) { c.Callers = gate })
	if r := s.ask("", "POST", suitePath, suiteBody("brief:brief-password")); r.field("expires_in") != "240" {
		t.Errorf("%s, want 240 s", r.body)
	}
}
