package wechat_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

const apiBase = wechat.DefaultBaseURL

// account is a wechat.Account that fetches from a source when told that the
// token is bad.
type account struct {
	source  coordinator.Source
	token   coordinator.Token
	reports []coordinator.Token
	err     error // of Invalidate
}

func (a *account) Token(context.Context) (coordinator.Token, error) {
	if a.token.IsZero() {
		return coordinator.Token{}, coordinator.ErrNoToken
	}
	return a.token, nil
}

func (a *account) Invalidate(ctx context.Context, rejected coordinator.Token) (coordinator.Snapshot, error) {
	a.reports = append(a.reports, rejected)
	if a.err != nil {
		return coordinator.Snapshot{}, a.err
	}
	if a.source != nil {
		issue, err := a.source.Fetch(ctx, coordinator.FetchRequest{Reason: coordinator.ReasonRejected, Current: rejected})
		if err != nil {
			return coordinator.Snapshot{}, err
		}
		a.token = issue.Token
	}
	return coordinator.Snapshot{Record: coordinator.Record{Token: a.token}}, nil
}

// business returns a client of the sandbox and its account, which has a live
// token.
func business(t *testing.T) (*wechattest.Server, *account, *http.Client) {
	t.Helper()
	sandbox := wechattest.New(wechattest.Config{})
	s := source(t, sandbox, wechat.Classic)
	a := &account{source: s, token: fetch(t, s, coordinator.FetchRequest{Reason: coordinator.ReasonMissing}).Token}
	return sandbox, a, &http.Client{Transport: &wechat.Transport{Account: a, Base: sandbox.Transport()}}
}

func call(t *testing.T, client *http.Client, req *http.Request) string {
	t.Helper()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(resp.Request.URL.String(), "90_") {
		t.Error("the answer's request shows the token")
	}
	return string(body)
}

func request(t *testing.T, method, url string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func kill(t *testing.T, sandbox *wechattest.Server) {
	t.Helper()
	if _, ok := sandbox.KillEarly(appID, wechattest.ClassicChain); !ok {
		t.Fatal("no token to kill")
	}
}

func TestTransportPutsTheTokenIn(t *testing.T) {
	_, _, client := business(t)
	for _, query := range []string{"", "?next_openid=a%2Fb", "?access_token=old&next_openid=", "?&access_token=old"} {
		if body := call(t, client, request(t, http.MethodGet, apiBase+"/cgi-bin/user/get"+query, nil)); !strings.Contains(body, `"total":2`) {
			t.Errorf("%s: %s", query, body)
		}
	}
}

func TestTransportRepeatsARejectedCallWithTheNextToken(t *testing.T) {
	const send = apiBase + "/cgi-bin/message/custom/send"
	for name, body := range map[string]func() io.Reader{
		"no body":             func() io.Reader { return http.NoBody },
		"GetBody":             func() io.Reader { return strings.NewReader(`{"touser":"a"}`) },
		"a small stream":      func() io.Reader { return io.MultiReader(strings.NewReader(`{"touser":"a"}`)) },
		"an empty stream":     func() io.Reader { return io.MultiReader() },
		"a multi-part stream": func() io.Reader { return io.MultiReader(strings.NewReader(`{"touser":`), strings.NewReader(`"a"}`)) },
	} {
		t.Run(name, func(t *testing.T) {
			sandbox, a, client := business(t)
			dead := a.token
			kill(t, sandbox)
			req := request(t, http.MethodPost, send, body())
			before := req.URL.String()
			if got := call(t, client, req); got != `{"errcode":0,"errmsg":"ok"}` {
				t.Errorf("answer = %s", got)
			}
			if len(a.reports) != 1 || !a.reports[0].Equal(dead) {
				t.Errorf("%d reports, want one of the dead token", len(a.reports))
			}
			if req.URL.String() != before {
				t.Error("the caller's request was changed")
			}
		})
	}
}

func TestTransportReportsEveryCodeOfARejectedToken(t *testing.T) {
	for code, reports := range map[int]int{40001: 1, 40014: 1, 42001: 1, -1: 0, 42007: 0, 45009: 0, 48001: 0} {
		sandbox, a, client := business(t)
		inject(t, sandbox, wechattest.Fault{Kind: wechattest.FaultErrcode, Path: "/cgi-bin/user/get", Code: code})
		body := call(t, client, request(t, http.MethodGet, apiBase+"/cgi-bin/user/get", nil))
		if len(a.reports) != reports || !strings.Contains(body, fmt.Sprintf(`"errcode":%d`, code)) {
			t.Errorf("%d: %d reports, want %d; answer %s", code, len(a.reports), reports, body)
		}
	}
}

func TestTransportGivesWeChatsAnswerWhenThereIsNoOtherToken(t *testing.T) {
	for name, spoil := range map[string]func(*account){
		"refused":    func(a *account) { a.err = errors.New("throttled") },
		"same token": func(a *account) { a.source = nil },
	} {
		t.Run(name, func(t *testing.T) {
			sandbox, a, client := business(t)
			spoil(a)
			kill(t, sandbox)
			if body := call(t, client, request(t, http.MethodGet, apiBase+"/cgi-bin/user/get", nil)); !strings.HasPrefix(body, `{"errcode":40001,`) || !strings.HasSuffix(body, `}`) {
				t.Errorf("answer = %s", body)
			}
		})
	}
}

func TestTransportDoesNotRepeatALongStream(t *testing.T) {
	sandbox, a, client := business(t)
	kill(t, sandbox)
	long := strings.Repeat(" ", 300<<10) + "{}"
	req := request(t, http.MethodPost, apiBase+"/cgi-bin/message/custom/send", io.MultiReader(strings.NewReader(long)))
	req.ContentLength = int64(len(long))
	if body := call(t, client, req); !strings.Contains(body, "40001") || len(a.reports) != 0 {
		t.Errorf("answer = %s after %d reports", body, len(a.reports))
	}
}

func TestTransportLeavesOtherAnswersAlone(t *testing.T) {
	answers := map[string]struct{ contentType, body string }{
		"binary":       {"image/jpeg", `{"errcode":40001}`},
		"octets":       {"application/octet-stream", `{"errcode":40001}`},
		"long JSON":    {"application/json", `{"errcode":40001,"x":"` + strings.Repeat("y", 9000) + `"}`},
		"other text":   {"text/plain", "errcode 40001"},
		"cut JSON":     {"text/plain", `{"errcode":40001`},
		"nothing":      {"application/json", ""},
		"a whole page": {"text/html", "<p>" + strings.Repeat("y", 20000)},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := answers[strings.TrimPrefix(r.URL.Path, "/")]
		w.Header().Set("Content-Type", answer.contentType)
		if r.URL.Query().Has("stream") {
			_ = http.NewResponseController(w).Flush() // no Content-Length
		}
		_, _ = io.WriteString(w, answer.body)
	}))
	defer server.Close()
	a := &account{token: coordinator.NewToken("90_x")}
	client := &http.Client{Transport: &wechat.Transport{Account: a, Base: server.Client().Transport, Hosts: []string{"127.0.0.1"}}}
	for name, answer := range answers {
		for _, query := range []string{"", "?stream=1"} {
			if body := call(t, client, request(t, http.MethodGet, server.URL+"/"+url.PathEscape(name)+query, nil)); body != answer.body {
				t.Errorf("%s%s: %d bytes, want %d", name, query, len(body), len(answer.body))
			}
		}
	}
	if len(a.reports) != 0 {
		t.Errorf("%d reports", len(a.reports))
	}
}

func TestTransportDoesNotWaitForTheEndOfAStream(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-release
	}))
	defer server.Close()
	defer close(release)
	transport := &wechat.Transport{Account: &account{token: coordinator.NewToken("90_x")}, Base: server.Client().Transport, Hosts: []string{strings.TrimPrefix(server.URL, "http://")}}
	resp, err := transport.RoundTrip(request(t, http.MethodGet, server.URL, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	first := make([]byte, 9)
	if _, err := io.ReadFull(resp.Body, first); err != nil || string(first) != "data: 1\n\n" {
		t.Errorf("read %q, %v", first, err)
	}
}

// closing counts how often a body is closed.
type closing struct {
	io.Reader
	closed *atomic.Int32
}

func (c closing) Close() error { c.closed.Add(1); return nil }

func TestTransportSendsTheTokenNowhereElse(t *testing.T) {
	transport := &wechat.Transport{
		Account: &account{token: coordinator.NewToken("90_x")},
		Base:    leakyTransport{errors.New("called")},
		Hosts:   []string{"sandbox:9090", "proxy.example"},
	}
	for target, allowed := range map[string]bool{
		"https://api.weixin.qq.com/":           true,
		"https://API2.weixin.QQ.com/":          true,
		"https://api.weixin.qq.com:443/":       true,
		"http://sandbox:9090/":                 true,
		"https://proxy.example:8443/":          true,
		"http://api.weixin.qq.com/":            false,
		"https://example.com/":                 false,
		"https://weixin.qq.com.example.com/":   false,
		"https://notweixin.qq.com/":            false,
		"http://sandbox:9091/":                 false,
		"https://api.weixin.qq.com@127.0.0.1/": false,
	} {
		var closed atomic.Int32
		req := request(t, http.MethodPost, target, nil)
		req.Body = closing{strings.NewReader("x"), &closed}
		_, err := transport.RoundTrip(req)
		if called := err != nil && strings.Contains(err.Error(), "called"); called != allowed {
			t.Errorf("%s: %v, want it called: %v", target, err, allowed)
		}
		if strings.Contains(fmt.Sprintf("%+v", err), "90_x") {
			t.Errorf("the error shows the token: %v", err)
		}
		if closed.Load() != 1 {
			t.Errorf("%s: the body was closed %d times", target, closed.Load())
		}
	}
}

func TestTransportDoesNotTakeTheTokenAlongToAnotherHost(t *testing.T) {
	var elsewhere []string
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		elsewhere = append(elsewhere, r.URL.RawQuery, r.Referer())
		_, _ = io.WriteString(w, "picture")
	}))
	defer other.Close()
	var here []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		here = append(here, r.URL.RawQuery)
		switch r.URL.Path {
		case "/first": // echoes the query, as a server that adds a slash would
			http.Redirect(w, r, "/second?"+r.URL.RawQuery, http.StatusFound)
		default:
			http.Redirect(w, r, other.URL+"/?a=b&"+r.URL.RawQuery, http.StatusFound)
		}
	}))
	defer server.Close()
	client := &http.Client{Transport: &wechat.Transport{
		Account: &account{token: coordinator.NewToken("90_x")},
		Hosts:   []string{strings.TrimPrefix(server.URL, "http://")},
	}}
	if body := call(t, client, request(t, http.MethodGet, server.URL+"/first?c=d", nil)); body != "picture" {
		t.Errorf("answer = %q", body)
	}
	for _, query := range here {
		if query != "c=d&access_token=90_x" {
			t.Errorf("the first host got %q", query)
		}
	}
	if strings.Contains(strings.Join(elsewhere, " "), "90_x") || len(elsewhere) != 2 {
		t.Errorf("the other host got %q", elsewhere)
	}
}

func TestTransportWithoutATokenMakesNoCall(t *testing.T) {
	sandbox := wechattest.New(wechattest.Config{})
	transport := &wechat.Transport{Account: &account{}, Base: sandbox.Transport()}
	var closed atomic.Int32
	req := request(t, http.MethodPost, apiBase+"/cgi-bin/message/custom/send", closing{strings.NewReader("x"), &closed})
	if _, err := transport.RoundTrip(req); !errors.Is(err, coordinator.ErrNoToken) {
		t.Errorf("err = %v, want ErrNoToken", err)
	}
	if closed.Load() != 1 {
		t.Errorf("the body was closed %d times", closed.Load())
	}
}

func TestTransportPassesPicturesOn(t *testing.T) {
	sandbox, _, client := business(t)
	body := call(t, client, request(t, http.MethodPost, apiBase+"/wxa/getwxacode", bytes.NewBufferString("{}")))
	if !strings.HasPrefix(body, "\xff\xd8\xff") {
		t.Errorf("%d bytes", len(body))
	}
	kill(t, sandbox)
	body = call(t, client, request(t, http.MethodPost, apiBase+"/wxa/getwxacode", bytes.NewBufferString("{}")))
	if !strings.HasPrefix(body, "\xff\xd8\xff") {
		t.Errorf("after the token died: %.200s", body)
	}
}

func TestProbe(t *testing.T) {
	sandbox, a, _ := business(t)
	prober := wechat.Prober{Transport: sandbox.Transport()}
	if err := prober.Probe(t.Context(), a.token); err != nil {
		t.Errorf("a live token: %v", err)
	}
	kill(t, sandbox)
	if err := prober.Probe(t.Context(), a.token); !wechat.Rejected(err) {
		t.Errorf("a dead token: %v", err)
	}
	sandbox.Advance(3 * time.Hour)
	if err := prober.Probe(t.Context(), a.token); !wechat.Rejected(err) {
		t.Errorf("an expired token: %v", err)
	}
	for _, f := range []wechattest.Fault{
		{Kind: wechattest.FaultErrcode, Code: 45009},
		{Kind: wechattest.FaultHTML},
		{Kind: wechattest.FaultReset},
		{Kind: wechattest.FaultTruncated},
		{Kind: wechattest.FaultStatus, Status: 500},
		{Kind: wechattest.FaultErrcode, Code: 40013, Message: "echo " + a.token.Reveal()},
	} {
		sandbox.Clear()
		f.Path = "*"
		inject(t, sandbox, f)
		err := prober.Probe(t.Context(), a.token)
		if err == nil || wechat.Rejected(err) || strings.Contains(err.Error(), a.token.Reveal()) {
			t.Errorf("%s: %v", f.Kind, err)
		}
	}
	if err := (wechat.Prober{BaseURL: "nonsense"}).Probe(t.Context(), a.token); err == nil {
		t.Error("a base URL that is none was taken")
	}
}
