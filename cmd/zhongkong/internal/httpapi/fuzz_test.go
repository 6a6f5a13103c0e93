package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
)

// denyAll is Callers that refuses every caller at once.
type denyAll struct{}

func (denyAll) Authenticate(context.Context, netip.Addr, ...auth.Credentials) (auth.Caller, error) {
	return auth.Caller{}, auth.ErrDenied
}

func (denyAll) Proved(netip.Addr, string, string) (auth.Caller, bool) { return auth.Caller{}, false }

func (denyAll) Find(string) (auth.Caller, bool) { return auth.Caller{}, false }

// FuzzRequests sends anything to the handler without credentials: it must not
// panic, give a token away, or redirect.
func FuzzRequests(f *testing.F) {
	for _, path := range everyPath() {
		f.Add("GET", path, "", "", "")
		f.Add("POST", path, formType, "name=reader&password=x", "Basic YTpi")
	}
	f.Add("POST", "/v1/tokens/"+wxa+"/refresh", "application/json", `{"if_token":"x"}`, "Bearer a:b")
	f.Add("POST", "/cgi-bin/stable_token", "", stableBody(wxa, "a:b", true), "")
	f.Add("GET", tokenQuery(wxa, "a:b"), "", "", "")
	f.Add("POST", "/gettoken/", "multipart/form-data; boundary="+boundary, parts("name", "reader", "password", "x"), "")
	f.Add("POST", "//GetToken", "application/json; charset=utf-8", `{"UserName":"reader","Password":1,"appid":null}`, "")
	s := newStage(f, func(c *Config) { c.Callers = denyAll{} })
	f.Fuzz(func(t *testing.T, method, path, kind, body, authorization string) {
		u, err := url.ParseRequestURI(path)
		if err != nil || strings.ContainsAny(method, " \r\n") || method == "" {
			t.Skip()
		}
		r := &http.Request{
			Method: method, URL: u, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, RemoteAddr: "192.0.2.1:1", Host: "x",
			Header: http.Header{"Content-Type": {kind}, "Authorization": {authorization}},
			Body:   http.NoBody, ContentLength: int64(len(body)),
		}
		if body != "" {
			r.Body = httptest.NewRequest("POST", "/", strings.NewReader(body)).Body
		}
		w := httptest.NewRecorder()
		s.api.ServeHTTP(w, r)
		for _, secret := range []string{s.token(wxa), s.token(wxb), wxb} {
			if strings.Contains(w.Body.String(), secret) {
				t.Errorf("%s %s: %s", method, path, w.Body)
			}
		}
		if l := w.Header().Get("Location"); l != "" {
			t.Errorf("%s %s: sent to %s", method, path, l)
		}
	})
}

// FuzzCallersRequests does the same as a caller of one account.
func FuzzCallersRequests(f *testing.F) {
	f.Add("GET", "/v1/tokens/"+wxa, "after=1&wait=0s", "", "")
	f.Add("GET", "/v1/tokens/"+wxb, "", `"1"`, "")
	f.Add("POST", "/v1/tokens/"+wxa+"/refresh", "", "", `{"if_token":"x"}`)
	f.Add("POST", "/", "lang=zh", "", "account="+wxa)
	f.Add("GET", "/", "q=%3C&lang=zh&refresh=x&done=y&failed=z&fragment", "", "")
	s := newStage(f)
	s.api.Stop() // no request is held
	f.Fuzz(func(t *testing.T, method, path, query, tag, body string) {
		if !strings.HasPrefix(path, "/") || path == "/v1/events" || strings.ContainsAny(method, " \r\n") || method == "" {
			t.Skip()
		}
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		r.Method, r.URL = method, &url.URL{Path: path, RawQuery: query}
		r.Header.Set("If-None-Match", tag)
		r.SetBasicAuth("reader", "reader-password")
		w := httptest.NewRecorder()
		s.api.ServeHTTP(w, r)
		if strings.Contains(w.Body.String(), s.token(wxb)) {
			t.Errorf("%s %s?%s: another's token: %s", method, path, query, w.Body)
		}
		if w.Code == http.StatusInternalServerError {
			t.Errorf("%s %s?%s: %d %s", method, path, query, w.Code, w.Body)
		}
	})
}

// FuzzWaitParams: whatever is accepted is within the bounds.
func FuzzWaitParams(f *testing.F) {
	for _, q := range []string{"", "after=1", "after=1&wait=30s", "wait=60", "wait=1m", "wait=1e3s", "after=18446744073709551615", "wait=%31s"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, query string) {
		p, err := parseWaitParams(query)
		if err == nil && (p.wait < 0 || p.wait > maxWait) {
			t.Errorf("%q: wait %v", query, p.wait)
		}
		if err != nil && err.Error() == "" {
			t.Errorf("%q: an error without words", query)
		}
	})
}

// FuzzRefreshBody: a token is only taken from an object with that one field.
func FuzzRefreshBody(f *testing.F) {
	for _, b := range []string{"", "{}", `{"if_token":"x"}`, `{"if_token":""}`, `{"if_token":null}`, `{"IF_TOKEN":"x"}`, `{"a":1}`, "[]", `{"if_token":"x"}x`} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		token, err := parseRefresh(body)
		if err != nil {
			return
		}
		if len(strings.TrimSpace(string(body))) == 0 {
			return
		}
		var fields map[string]any
		if json.Unmarshal(body, &fields) != nil {
			t.Fatalf("%q was taken", body)
		}
		if len(fields) > 0 && (len(fields) != 1 || fields["if_token"] != token.Reveal()) {
			t.Errorf("%q was taken as %q", body, token.Reveal())
		}
	})
}

// FuzzDropInBody: whatever an SDK sends, it gets WeChat's shape back.
func FuzzDropInBody(f *testing.F) {
	f.Add(stableBody(wxa, "reader:reader-password", false))
	f.Add(stableBody(wxb, "reader:reader-password", true))
	f.Add("grant_type=client_credential&appid=" + wxa + "&secret=reader:reader-password")
	f.Add(`{"grant_type":1}`)
	f.Add(`{"appid":"x","appid":"y"}`)
	s := newStage(f)
	f.Fuzz(func(t *testing.T, body string) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "/cgi-bin/stable_token", strings.NewReader(body))
		s.api.ServeHTTP(w, r)
		var answer struct {
			Token   string `json:"access_token"`
			Expires int    `json:"expires_in"`
			Code    int    `json:"errcode"`
			Message string `json:"errmsg"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != 200 {
			t.Fatalf("%q: %d %s", body, w.Code, w.Body)
		}
		well := answer.Token == s.token(wxa) && answer.Expires > 0 && answer.Code == 0
		if !well && (answer.Code == 0 || !strings.Contains(answer.Message, " rid: ")) {
			t.Errorf("%q: %s", body, w.Body)
		}
	})
}

// FuzzIfNoneMatch: only a tag that is named matches.
func FuzzIfNoneMatch(f *testing.F) {
	f.Add(`"1"`, `"1"`)
	f.Add(`W/"1", "2"`, `"2"`)
	f.Add("*", `"3"`)
	f.Fuzz(func(t *testing.T, header, tag string) {
		if tag != "" && matches([]string{header}, tag) && !strings.Contains(header, tag) && !strings.Contains(header, "*") {
			t.Errorf("%q matches %q", header, tag)
		}
	})
}
