//go:build unix

package proxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// bareProxy is what a route is compared with.
func bareProxy(b *testing.B, upstream string) http.Handler {
	b.Helper()
	to, err := url.Parse(upstream)
	if err != nil {
		b.Fatal(err)
	}
	return &httputil.ReverseProxy{
		Rewrite:    func(pr *httputil.ProxyRequest) { pr.SetURL(to) },
		Transport:  transport(),
		BufferPool: &buffers,
	}
}

// load is a kind of calls with what they cost.
type load struct {
	target string
	cpu    time.Duration
	took   []time.Duration
}

// run makes calls, one after the other on each of some connections.
func (l *load) run(b *testing.B, client *http.Client, connections, n int) {
	var all sync.WaitGroup
	cpu := used()
	for range connections {
		all.Go(func() {
			for range n / connections {
				began := time.Now()
				resp, err := client.Get(l.target)
				if err != nil {
					b.Error(err)
					return
				}
				if resp.StatusCode != 200 {
					b.Error(resp.Status)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if connections == 1 {
					l.took = append(l.took, time.Since(began))
				}
			}
		})
	}
	all.Wait()
	if connections > 1 {
		l.cpu += used() - cpu
	}
}

// at returns the time within which a part of the calls was answered.
func (l *load) at(part float64) time.Duration {
	slices.Sort(l.took)
	return l.took[int(float64(len(l.took)-1)*part)]
}

// BenchmarkAgainstABareReverseProxy compares a route with a bare ReverseProxy by
// the CPU that each takes: that of all calls, which clients, proxy and upstream
// spend in this process, less that of calls without a proxy. It has more
// connections than processors for that, since processors that wait look for work,
// and one for the times. The kinds take turns after some calls each, so that what
// else runs on the machine hits all.
func BenchmarkAgainstABareReverseProxy(b *testing.B) {
	account := &fixed{}
	upstream := benchUpstream(b)
	s := newStage(b, weChatRoute(b, upstream), account, func(c *Config) { c.Logger = nil })
	s.cfg.Tokens.Given(appID, "sdk", account.token())
	veiled := s.phantom(b, "veil", time.Hour)
	front, bare := serve(b, s), serve(b, bareProxy(b, upstream))
	const path, rest = "/cgi-bin/user/info?access_token=", "&openid=o6_bmjrPTlm6_2sgVt7hMZOPfL2M"
	loads := []*load{
		{target: upstream + path + account.text() + rest},
		{target: bare + path + account.text() + rest},
		{target: front + "/proxy/wx" + path + account.text() + rest},
		{target: front + "/proxy/wx" + path + veiled + rest},
	}
	const connections, turn = 16, 320
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
	defer client.CloseIdleConnections()
	n := 0
	for b.Loop() {
		for _, l := range loads {
			l.run(b, client, connections, turn)
			l.run(b, client, 1, turn/8)
		}
		n += turn
	}
	each := func(l *load) float64 { return float64(l.cpu) / float64(n) }
	direct, ofBare, ofRoute, ofVeiled := each(loads[0]), each(loads[1]), each(loads[2]), each(loads[3])
	b.ReportMetric(ofBare-direct, "bare-cpu-ns")
	b.ReportMetric(ofRoute-direct, "route-cpu-ns")
	b.ReportMetric(ofVeiled-direct, "phantom-cpu-ns")
	b.ReportMetric((ofBare-direct)/(ofRoute-direct), "of-bare")
	b.ReportMetric((ofBare-direct)/(ofVeiled-direct), "phantom-of-bare")
	b.ReportMetric(float64(loads[2].at(0.99)-loads[1].at(0.99))/1e3, "p99-added-us")
	b.ReportMetric(float64(loads[2].at(0.5)-loads[1].at(0.5))/1e3, "p50-added-us")
}

func used() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func benchUpstream(b *testing.B) string {
	body := []byte(`{"subscribe":1,"openid":"o6_bmjrPTlm6_2sgVt7hMZOPfL2M","language":"zh_CN","remark":"` + strings.Repeat("x", 400) + `"}`)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; encoding=utf-8")
		_, _ = w.Write(body)
	}))
	b.Cleanup(s.Close)
	return s.URL
}

// answering is an upstream without a network.
type answering struct{ head http.Header }

func (a answering) RoundTrip(out *http.Request) (*http.Response, error) {
	const body = `{"subscribe":1,"openid":"o6_bmjrPTlm6_2sgVt7hMZOPfL2M","language":"zh_CN"}`
	return &http.Response{
		StatusCode: 200, Header: a.head.Clone(), Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: out,
	}, nil
}

// BenchmarkWork has what a route does beside reading and writing.
func BenchmarkWork(b *testing.B) {
	account := &fixed{}
	head := http.Header{"Content-Type": {"application/json; encoding=utf-8"}, "Date": {"x"}, "Content-Length": {"75"}, "Connection": {"keep-alive"}}
	s := newStage(b, weChatRoute(b, "https://api.test"), account, func(c *Config) { c.Logger = nil; c.Base = answering{head} })
	s.cfg.Tokens.Given(appID, "sdk", account.token())
	to := s.routes["wx"].To
	bare := &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) { pr.SetURL(to) }, Transport: answering{head}, BufferPool: &buffers,
	}
	veiled := s.phantom(b, "veil", time.Hour)
	for name, h := range map[string]struct {
		http.Handler
		token string
	}{"bare": {bare, account.text()}, "route": {s, account.text()}, "phantom": {s, veiled}} {
		b.Run(name, func(b *testing.B) {
			req := httptest.NewRequest("GET", "/proxy/wx/cgi-bin/user/info?access_token="+h.token+"&openid=o6_bmjrPTlm6_2sgVt7hMZOPfL2M", nil)
			req.Header.Set("User-Agent", "python-requests/2.31")
			req.Header.Set("Accept", "*/*")
			b.ReportAllocs()
			cpu, n := used(), 0
			for b.Loop() {
				h.ServeHTTP(discard{make(http.Header)}, req)
				n++
			}
			b.ReportMetric(float64(used()-cpu)/float64(n), "cpu-ns/op")
		})
	}
}

type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}
