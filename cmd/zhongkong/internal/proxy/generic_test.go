package proxy

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/httpsource"
)

func TestPlacesAreReadAndRefused(t *testing.T) {
	for text, want := range map[string]Place{
		"bearer": {kind: inBearer, name: "Authorization"}, "query access_token": {kind: inQuery, name: "access_token"},
		"header x-api-token": {kind: inHeader, name: "X-Api-Token"},
	} {
		if got, err := ParsePlace(text); err != nil || got != want {
			t.Errorf("ParsePlace(%q) = %v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "query", "header", "bearer x", "cookie a", "header Host", "header Authorization", "header a b", "header a:b", "header Connection"} {
		if _, err := ParsePlace(bad); err == nil {
			t.Errorf("ParsePlace(%q) = nil error", bad)
		}
	}
}

func TestAParameterIsReplacedHoweverItIsWritten(t *testing.T) {
	for query, want := range map[string]string{
		"":                          "a+b=t%26",
		"a+b=old":                   "a+b=t%26",
		"x=1&a%20b=old&&a+b&%61+b=": "x=1&a+b=t%26",
		"x=%zz&ab=1":                "x=%zz&ab=1&a+b=t%26",
	} {
		if got := withParameter(query, "a b", "t&"); got != want {
			t.Errorf("withParameter(%q) = %q, want %q", query, got, want)
		}
	}
}

func TestEveryPlaceGetsTheTokenAndNothingElseOfTheCaller(t *testing.T) {
	upstream := serve(t, http.HandlerFunc(echo))
	for put, want := range map[string]string{
		"bearer": "Authorization: Bearer T0KEN-of-the-account-0", "header X-Api-Token": "X-Api-Token: T0KEN-of-the-account-0",
		"query key": "key=T0KEN-of-the-account-0",
	} {
		s := newStage(t, routeTo(t, upstream+"/v2/", put), &fixed{}, nil)
		w := callWith(s, "POST", "/proxy/crm/a%20b/c%2Fd?x=1&key=stale&k%65y=staler", "the body",
			"Authorization: "+basic, "Cookie: session=1", "X-Api-Token: stale", "X-Forwarded-For: 10.0.0.1", "Forwarded: for=10.0.0.1",
			"X-Real-Ip: 10.0.0.1", "Referer: http://me/?access_token=zk_1", "Connection: X-Api-Token, Authorization", "X-Own: kept",
			"X-Amzn-Oidc-Accesstoken: of-a-gateway", "X-Amzn-Oidc-Data: of-a-gateway", "X-Auth-Request-Access-Token: of-a-gateway",
			"Cf-Access-Jwt-Assertion: of-a-gateway", "X-Goog-Iap-Jwt-Assertion: of-a-gateway", "X-Goog-Authenticated-User-Email: of-a-gateway",
			"X-Ms-Token-Aad-Access-Token: of-a-gateway", "X-Ms-Client-Principal: of-a-gateway", "X_Auth_Request_User: of-a-gateway",
			"True-Client-Ip: 10.0.0.1", "Cf-Connecting-Ip: 10.0.0.1", "Cf-Connecting-Ipv6: 10.0.0.1", "X-Client-Ip: 10.0.0.1", "X-Envoy-External-Address: 10.0.0.1", "X-Ssl-Client-Cert: of-a-gateway")
		got := w.Body.String()
		if !strings.Contains(got, want) || !strings.HasPrefix(got, "POST /v2/a%20b/c%2Fd?x=1") || !strings.Contains(got, "X-Own: kept") || !strings.HasSuffix(got, "the body") {
			t.Errorf("%s: %s", put, got)
		}
		for _, gone := range []string{basic, "Cookie", "10.0.0.1", "Referer", "zk_1", "of-a-gateway", "X-Api-Token: stale"} {
			if strings.Contains(got, gone) {
				t.Errorf("%s: the upstream got %s in %s", put, gone, got)
			}
		}
		if put == "query key" && strings.Contains(got, "stale") {
			t.Errorf("a token of the client's stayed: %s", got)
		}
	}
}

// issuer401 accepts the token with this number.
func issuer401(n *atomic.Int32, challenge string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/private" || !strings.HasSuffix(r.Header.Get("Authorization"), "-"+string('0'+n.Load())) {
			w.Header().Set("WWW-Authenticate", challenge)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		echo(w, r)
	}
}

func TestA401IsReportedAndTheCallRepeated(t *testing.T) {
	var n atomic.Int32
	account := &fixed{}
	s := newStage(t, routeTo(t, serve(t, issuer401(&n, "Bearer")), "bearer"), account, nil)
	n.Store(1) // the account has 0
	w := callWith(s, "POST", "/proxy/crm/x", "a body", "Authorization: "+basic)
	if w.Code != 200 || !strings.HasSuffix(w.Body.String(), "a body") || account.reports != 1 {
		t.Errorf("%d %s, %d reports", w.Code, w.Body, account.reports)
	}
}

func TestA401ThatANewTokenDoesNotCureIsNotReportedForAWhile(t *testing.T) {
	for _, challenge := range []string{`Bearer error="insufficient_scope"`, `Bearer error="invalid_token"`} {
		account := &fixed{}
		var n atomic.Int32
		s := newStage(t, routeTo(t, serve(t, issuer401(&n, challenge)), "bearer"), account, nil)
		for range 20 {
			if w := callWith(s, "GET", "/proxy/crm/private", "", "Authorization: "+basic); w.Code != 401 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
		}
		if account.reports != 1 {
			t.Errorf("%s: %d reports, want 1", challenge, account.reports)
		}
	}
}

// Each of many calls to an endpoint for which the account has no right would cost a
// refresh, until the day's calls are used up.
func TestA401ThatNoSecondCallCanCureIsNotReportedForAWhile(t *testing.T) {
	long := strings.Repeat("x", maxRepeatable+1)
	for name, of := range map[string]struct {
		body    string
		account *fixed
	}{"the body cannot be sent again": {long, &fixed{}}, "the issuer answers the same token": {"", &fixed{stuck: true}}} {
		var n atomic.Int32
		s := newStage(t, routeTo(t, serve(t, issuer401(&n, "Bearer")), "bearer"), of.account, nil)
		post := func() int { return callWith(s, "POST", "/proxy/crm/private", of.body, "Authorization: "+basic).Code }
		for range 20 {
			if code := post(); code != 401 {
				t.Fatalf("%s: %d", name, code)
			}
		}
		if of.account.reports != 1 {
			t.Errorf("%s: %d reports, want 1", name, of.account.reports)
		}
		s.routes["crm"].quiets[doubtful].until.Store(0)
		if post(); of.account.reports != 2 {
			t.Errorf("%s: %d reports after that time, want 2", name, of.account.reports)
		}
	}
}

// A token that is really dead is replaced, also if all bodies are long; and a report that
// failed has not been made.
func TestADeadTokenIsReportedByCallsThatCannotBeRepeated(t *testing.T) {
	account := &fixed{}
	var n atomic.Int32
	s := newStage(t, routeTo(t, serve(t, issuer401(&n, "Bearer")), "bearer"), account, nil)
	n.Store(1) // the account has 0
	var codes []int
	account.failing = true
	for range 4 {
		codes = append(codes, callWith(s, "POST", "/proxy/crm/x", strings.Repeat("x", maxRepeatable+1), "Authorization: "+basic).Code)
		account.failing = len(codes) < 2
	}
	if want := []int{401, 401, 401, 200}; !slices.Equal(codes, want) || account.reports != 3 {
		t.Errorf("%v, want %v; %d reports, want 3: two that failed and one", codes, want, account.reports)
	}
}

func TestQuietEndsAndGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q quiet
		for _, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute} {
			q.begin()
			time.Sleep(want - time.Second)
			if !q.now() {
				t.Errorf("it ended before %v", want)
			}
			time.Sleep(2 * time.Second)
			if q.now() {
				t.Errorf("it lasts longer than %v", want)
			}
		}
	})
}

// Many calls of the same moment meet the same missing permission.
func TestQuietThatBeginsTwiceAtOnceIsAsLongAsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q quiet
		for _, want := range []time.Duration{shortestQuiet, 2 * shortestQuiet} {
			var calls sync.WaitGroup
			for range 100 {
				calls.Go(q.begin)
			}
			calls.Wait()
			if got := time.Duration(q.until.Load() - time.Now().UnixNano()); got != want {
				t.Errorf("it lasts %v, want %v", got, want)
			}
			time.Sleep(want)
		}
	})
}

func TestRedirectsLeadToTheRouteOrElsewhereWithoutTheToken(t *testing.T) {
	upstream := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", r.URL.Query().Get("to")+"?access_token="+r.URL.Query().Get("access_token")+"&a=1#"+r.URL.Query().Get("access_token"))
		w.WriteHeader(http.StatusFound)
	}))
	s := newStage(t, weChatRoute(t, upstream), &fixed{}, nil)
	for to, want := range map[string]string{
		"/other":                 "/proxy/wx/other?a=1#**",
		"next":                   "/proxy/wx/x/next?a=1#**",
		upstream + "/other":      "/proxy/wx/other?a=1#**",
		"https://elsewhere.test": "https://elsewhere.test?a=1#**",
		"//elsewhere.test/a":     "http://elsewhere.test/a?a=1#**",
	} {
		w := callWith(s, "GET", "/proxy/wx/x/y?to="+url.QueryEscape(to), "", "Authorization: "+basic)
		if got := w.Header().Get("Location"); w.Code != 302 || !strings.HasPrefix(got, want) || strings.Contains(got, "T0KEN") {
			t.Errorf("to %s: %d %s", to, w.Code, got)
		}
	}
	own := s.Route("wx")
	if w := callWith(own, "GET", "/x/y?to=%2Fother", "", "Authorization: "+basic); !strings.HasPrefix(w.Header().Get("Location"), "/other?a=1") {
		t.Errorf("on an address of its own: %s", w.Header().Get("Location"))
	}
}

func TestAnUpstreamDoesNotSpeakForThisServer(t *testing.T) {
	upstream := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range map[string]string{
			"Set-Cookie": "a=b", "Strict-Transport-Security": "max-age=1", "Alt-Svc": "h3=\":443\"", "Clear-Site-Data": "*",
			"Nel": "{}", "Report-To": "{}", "Reporting-Endpoints": `a="https://elsewhere.example"`, "Accept-CH": "Device-Memory", "Critical-CH": "Device-Memory",
			"Content-Security-Policy": "default-src *", "X-Reflected": "<" + r.URL.Query().Get("access_token") + ">", "X-Own": "kept",
		} {
			w.Header().Set(name, value)
		}
		w.WriteHeader(http.StatusTeapot)
	}))
	s := newStage(t, weChatRoute(t, upstream), &fixed{}, nil)
	w := callWith(s, "GET", "/proxy/wx/x", "", "Authorization: "+basic)
	h := w.Header()
	if w.Code != 418 || h.Get("X-Own") != "kept" || h.Get("Content-Security-Policy") != "sandbox" || h.Get("X-Content-Type-Options") != "nosniff" ||
		h.Get("X-Reflected") != "<"+strings.Repeat("*", len("T0KEN-of-the-account-0"))+">" {
		t.Errorf("%d %v", w.Code, h)
	}
	for _, gone := range []string{"Set-Cookie", "Strict-Transport-Security", "Alt-Svc", "Clear-Site-Data",
		"Nel", "Report-To", "Reporting-Endpoints", "Accept-Ch", "Critical-Ch"} {
		if h.Get(gone) != "" {
			t.Errorf("%s passed", gone)
		}
	}
}

func TestWhatABrowserMayTakeForAPageIsSandboxed(t *testing.T) {
	s := newStage(t, routeTo(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = r.URL.Query()["type"]
	})), "bearer"), &fixed{}, nil)
	for query, sandboxed := range map[string]bool{
		"type=application/json": false, "type=application/json%3B+encoding%3Dutf-8": false,
		"": true, "type=text/plain": true, "type=text/html": true, "type=image/svg%2Bxml": true, "type=application/jsonp": true, "type=Application/JSON": true,
		"type=application/json%3B,text/html": true, "type=application/json&type=text/html": true,
	} {
		h := callWith(s, "GET", "/proxy/crm/x?"+query, "", "Authorization: "+basic).Header()
		if (h.Get("Content-Security-Policy") == "sandbox") != sandboxed || (h.Get("X-Content-Type-Options") == "nosniff") != sandboxed {
			t.Errorf("%s: %v", query, h)
		}
	}
}

func TestRoutesAreChecked(t *testing.T) {
	good := routeTo(t, "https://api.example.com/v1", "bearer")
	for words, change := range map[string]func(*Route){
		"name:":        func(r *Route) { r.Name = "a/b" },
		"name: ":       func(r *Route) { r.Name = ".." },
		"account:":     func(r *Route) { r.Account = "" },
		"to: must be":  func(r *Route) { r.To = &url.URL{Scheme: "ftp", Host: "x"} },
		"to: must not": func(r *Route) { r.To = &url.URL{Scheme: "https", Host: "x", RawQuery: "a=b"} },
		"to: the path": func(r *Route) { r.To = &url.URL{Scheme: "https", Host: "x", Path: "/a/../b"} },
		"put:":         func(r *Route) { r.Put = Place{} },
		"is given":     nil,
	} {
		bad, routes := good, []Route{good}
		if change != nil {
			change(&bad)
			routes = nil
		}
		routes = append(routes, bad)
		if _, err := New(Config{Routes: routes, Tokens: NewTokens(routes, nil)}); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: New() = %v", words, err)
		}
	}
}

// WeChat issues the token, so the 401 of another upstream does not say that it is dead.
func TestA401OfAnUpstreamThatIsNotTheIssuersIsNotReported(t *testing.T) {
	for _, newer := range []bool{false, true} {
		var n atomic.Int32
		account := &fixed{}
		upstream := issuer401(&n, `Bearer error="invalid_token"`)
		n.Store(1) // the account has 0
		route := routeTo(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if newer { // another call had it refreshed meanwhile
				account.mu.Lock()
				account.n = 1
				account.mu.Unlock()
			}
			upstream(w, r)
		})), "bearer")
		route.Foreign = true
		s := newStage(t, route, account, nil)
		w := callWith(s, "POST", "/proxy/crm/x", "a body", "Authorization: "+basic)
		if want := map[bool]int{false: 401, true: 200}[newer]; w.Code != want || account.reports != 0 {
			t.Errorf("a newer token: %v: status %d, want %d, %d reports", newer, w.Code, want, account.reports)
		}
		if got := s.Stats()[0]; got.Rejected != 1 || got.Repeated != got.Cured || (got.Cured == 1) != newer {
			t.Errorf("a newer token: %v: %+v", newer, got)
		}
	}
}

func TestATokenIsPutWhereTheClientHasPutOne(t *testing.T) {
	upstream := serve(t, http.HandlerFunc(echo))
	route := routeTo(t, upstream, "query component_access_token")
	route.Put = route.Put.Or("access_token")
	s := newStage(t, route, &fixed{}, nil)
	for query, want := range map[string]string{
		"": "?component_access_token=T0KEN-of-the-account-0", "x=1": "?x=1&component_access_token=T0KEN-of-the-account-0",
		"access_token=stale&x=1":                           "?x=1&access_token=T0KEN-of-the-account-0",
		"component_access_token=stale&x=1":                 "?x=1&component_access_token=T0KEN-of-the-account-0",
		"access_token=stale&component_access_token=staler": "?component_access_token=T0KEN-of-the-account-0",
	} {
		got := callWith(s, "GET", "/proxy/crm/wxa/x?"+query, "", "Authorization: "+basic).Body.String()
		if !strings.HasPrefix(got, "GET /wxa/x"+want+"\n") && !strings.HasPrefix(got, "GET /wxa/x"+want+" ") {
			t.Errorf("%q: %s", query, got)
		}
	}
	phantom := s.phantom(t, "veil", time.Hour)
	for _, name := range []string{"access_token", "component_access_token"} {
		if w := callWith(s, "GET", "/proxy/crm/wxa/x?"+name+"="+phantom, ""); w.Code != 200 || strings.Contains(w.Body.String(), "zk_") {
			t.Errorf("a phantom as %s: %d %s", name, w.Code, w.Body)
		}
	}
}

// issuerOf200 rejects the tokens but that with this number by a code, as many Chinese
// issuers do.
func issuerOf200(n *atomic.Int32, rejection string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Query().Get("access_token"), "-"+string('0'+n.Load())) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, rejection)
			return
		}
		echo(w, r)
	}
}

func TestACodeByWhichAnIssuerRejectsTokensIsReportedAndTheCallRepeated(t *testing.T) {
	baidu, _ := httpsource.PresetNamed("baidu")
	for rejection, reports := range map[string]int{
		`{"error_code":110,"error_msg":"Access token invalid or no longer valid"}`: 1,
		`{"error_code":17,"error_msg":"Open api daily request limit reached"}`:     0,
		`{"words":"` + strings.Repeat("x", 9<<10) + `","error_code":110}`:          0, // too long to be an error
	} {
		var n atomic.Int32
		account := &fixed{}
		route := routeTo(t, serve(t, issuerOf200(&n, rejection)), "query access_token")
		route.Issuer = baidu.Issuer
		s := newStage(t, route, account, nil)
		n.Store(1) // the account has 0
		w := callWith(s, "POST", "/proxy/crm/x", "a body", "Authorization: "+basic)
		want := rejection
		if reports > 0 {
			want = "a body"
		}
		if w.Code != 200 || !strings.HasSuffix(w.Body.String(), want) || account.reports != reports {
			t.Errorf("%.60s: %d %.80s, %d reports", rejection, w.Code, w.Body, account.reports)
		}
	}
}
