package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// zeros is a body of n bytes, all the same.
type zeros struct{ n int64 }

func (z *zeros) Read(b []byte) (int, error) {
	if z.n == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), z.n))
	clear(b[:n])
	z.n -= int64(n)
	return n, nil
}

// mirror takes a body and returns as much.
func mirror(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = io.Copy(w, &zeros{n})
}

// highest follows how much memory is in use.
func highest(stop <-chan struct{}) *atomic.Uint64 {
	var most atomic.Uint64
	go func() { // ends with stop
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most.Store(max(most.Load(), m.HeapInuse))
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	return &most
}

// upAndDown sends n bytes through a route and takes as many.
func upAndDown(t testing.TB, front string, n int64, known bool) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, front+"/proxy/crm/x", io.NopCloser(&zeros{n}))
	if err != nil {
		t.Fatal(err)
	}
	if known {
		req.ContentLength = n
	}
	req.Header.Set("Authorization", basic)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.Copy(io.Discard, resp.Body); got != n || err != nil || resp.StatusCode != 200 {
		t.Fatalf("%d bytes of %d came back, %v, status %d (length known: %v)", got, n, err, resp.StatusCode, known)
	}
}

func TestBodiesStreamInConstantMemory(t *testing.T) {
	s := newStage(t, routeTo(t, serve(t, http.HandlerFunc(mirror)), "bearer"), &fixed{}, nil)
	front := serve(t, s)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.logged)
		}
	})
	upAndDown(t, front, 1<<20, true)
	for _, known := range []bool{true, false} {
		runtime.GC()
		var before runtime.MemStats
		runtime.ReadMemStats(&before)
		stop := make(chan struct{})
		most := highest(stop)
		const n = 64 << 20
		upAndDown(t, front, n, known)
		close(stop)
		if grown := int64(most.Load()) - int64(before.HeapInuse); grown > n/4 {
			t.Errorf("the heap grew by %d KiB for %d MiB (length known: %v)", grown>>10, n>>20, known)
		}
	}
	if got := s.Stats()[0]; got.Sent != 129<<20 || got.Received != 129<<20 {
		t.Errorf("Stats() = %+v", got)
	}
}

func BenchmarkAGigabyteUpAndDown(b *testing.B) {
	s := newStage(b, routeTo(b, serve(b, http.HandlerFunc(mirror)), "bearer"), &fixed{}, func(c *Config) { c.Logger = nil })
	front := serve(b, s)
	stop := make(chan struct{})
	most := highest(stop)
	for b.Loop() {
		upAndDown(b, front, 1<<30, true)
	}
	close(stop)
	b.SetBytes(2 << 30)
	b.ReportMetric(float64(most.Load())/(1<<20), "MiB-heap-at-most")
}

func TestALongBodyIsNotRepeatedButReported(t *testing.T) {
	sandbox := wechattest.New(wechattest.Config{})
	t.Cleanup(sandbox.Close)
	upstream := sandbox.Start(t)
	for want, size := range []int{maxRepeatable, maxRepeatable + 1} {
		account := &fixed{}
		s := newStage(t, weChatRoute(t, upstream), account, nil)
		front := serve(t, s)
		_, text := ask(t, "POST", front+"/proxy/wx/cgi-bin/message/custom/send", strings.Repeat("a", size), "Authorization: "+basic)
		if got := s.Stats()[0]; !strings.Contains(text, "40001") || got.Unrepeatable != uint64(want) || account.reports != 1 {
			t.Errorf("%d bytes: %s %+v, %d reports", size, text, got, account.reports)
		}
	}
}

func TestAChunkedBodyReachesWeChatWithItsLength(t *testing.T) {
	var lengths []int64
	upstream := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lengths = append(lengths, r.ContentLength)
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	s := newStage(t, weChatRoute(t, upstream), &fixed{}, nil)
	front := serve(t, s)
	for _, size := range []int{100, maxRepeatable + 1} {
		req, _ := http.NewRequest(http.MethodPost, front+"/proxy/wx/x", iotest.OneByteReader(strings.NewReader(strings.Repeat("a", size))))
		req.Header.Set("Authorization", basic)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	if fmt.Sprint(lengths) != "[100 -1]" {
		t.Errorf("lengths %v", lengths)
	}
}

func TestTrailersPassBothWays(t *testing.T) {
	account := &fixed{}
	got := make(chan http.Header, 1)
	upstream := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		got <- r.Trailer
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Sum", "of "+account.text())
	}))
	s := newStage(t, routeTo(t, upstream, "bearer"), account, nil)
	req, _ := http.NewRequest(http.MethodPost, serve(t, s)+"/proxy/crm/x", struct{ io.Reader }{strings.NewReader("chunked")})
	req.Header.Set("Authorization", basic)
	req.Trailer = http.Header{"X-Mine": {"1"}, "Cookie": {"2"}}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if sent := <-got; sent.Get("X-Mine") != "1" || sent.Get("Cookie") != "" {
		t.Errorf("the upstream got %v", sent)
	}
	if sum := resp.Trailer.Get("X-Sum"); !strings.HasPrefix(sum, "of ***") {
		t.Errorf("X-Sum: %q", sum)
	}
}

// raw sends what is no request of net/http's and returns all that comes back.
func raw(t *testing.T, front, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(front, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

func TestExpectContinueIsAnsweredOnlyToCallers(t *testing.T) {
	s := newStage(t, routeTo(t, serve(t, http.HandlerFunc(echo)), "bearer"), &fixed{}, nil)
	front := serve(t, s)
	const long = 300 << 10
	for _, size := range []int{5, long} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(front, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = fmt.Fprintf(conn, "POST /proxy/crm/x HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nExpect: 100-continue\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", basic, size)
		in := bufio.NewReader(conn)
		if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
			t.Fatalf("%q, %v", line, err)
		}
		_, _ = in.ReadString('\n')
		_, _ = io.WriteString(conn, strings.Repeat("b", size))
		if rest, _ := io.ReadAll(in); !strings.Contains(string(rest), "200 OK") || bytes.Count(rest, []byte("b")) < size {
			t.Errorf("%.200s", rest)
		}
		_ = conn.Close()
	}
	answer := raw(t, front, "POST /proxy/crm/x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\n")
	if strings.Contains(answer, "100 Continue") || !strings.HasPrefix(answer, "HTTP/1.1 401") {
		t.Errorf("a stranger: %s", answer)
	}
}

func TestAClientThatGoesAwayEndsTheCall(t *testing.T) {
	began, ended := make(chan struct{}), make(chan struct{})
	upstream := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
		close(ended)
	}))
	s := newStage(t, routeTo(t, upstream, "bearer"), &fixed{}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, serve(t, s)+"/proxy/crm/x", nil)
	req.Header.Set("Authorization", basic)
	go func() { <-began; cancel() }()
	if _, err := http.DefaultClient.Do(req); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the upstream's request goes on")
	}
	for end := time.Now().Add(10 * time.Second); s.slots.InUse() > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if got := s.Stats()[0]; s.slots.InUse() != 0 || got.Gone != 1 {
		t.Errorf("%d under way, %+v", s.slots.InUse(), got)
	}
}

func TestAStreamEndsWithItsCaller(t *testing.T) {
	more := make(chan struct{})
	upstream := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for range more {
			_, _ = io.WriteString(w, "data: x\n\n")
			_ = http.NewResponseController(w).Flush()
		}
	}))
	var sending sync.WaitGroup
	defer func() { sending.Wait(); close(more) }() // the upstream takes all that is sent
	s := newStage(t, routeTo(t, upstream, "bearer"), &fixed{}, nil)
	req, _ := http.NewRequest(http.MethodGet, serve(t, s)+"/proxy/crm/x", nil)
	req.Header.Set("Authorization", basic)
	go func() { more <- struct{}{} }()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	buf := make([]byte, 9)
	if _, err := io.ReadFull(resp.Body, buf); err != nil { // it comes at once, though the answer goes on
		t.Fatal(err)
	}
	s.remove("sdk")
	sending.Go(func() {
		for range 3 {
			more <- struct{}{}
		}
	})
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the stream ended as if it were whole")
	}
}

func TestMaskedBodiesKeepTheirLength(t *testing.T) {
	const secret = "aab-SECRET-aabc"
	words := secretsOf(secret)
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var text strings.Builder
		for text.Len() < 40_000 {
			switch random.IntN(4) {
			case 0:
				text.WriteString(secret)
			case 1:
				text.WriteString(secret[:random.IntN(len(secret))])
			default:
				text.WriteString(strings.Repeat("a", random.IntN(3000)))
			}
		}
		want := strings.ReplaceAll(text.String(), secret, strings.Repeat("*", len(secret)))
		var from io.Reader = strings.NewReader(text.String())
		if random.IntN(2) == 0 {
			from = iotest.HalfReader(from)
		}
		got, err := io.ReadAll(newMasked(from, words, int64(random.IntN(100_000)-50_000)))
		if err != nil || string(got) != want {
			t.Fatalf("%d bytes of %d, %v", len(got), len(want), err)
		}
	}
	if got, err := io.ReadAll(newMasked(iotest.OneByteReader(strings.NewReader("x"+secret+"y"+secret[:5])), words, -1)); err != nil || string(got) != "x"+strings.Repeat("*", len(secret))+"y"+secret[:5] {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := io.ReadAll(newMasked(iotest.ErrReader(io.ErrUnexpectedEOF), words, 0)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

func TestAPhantomsHolderNeverSeesTheToken(t *testing.T) {
	account := &fixed{}
	reflecting := func(w http.ResponseWriter, r *http.Request) {
		token := account.text()
		w.Header().Set("X-Token", token)
		w.Header().Set("X-Encoding", r.Header.Get("Accept-Encoding"))
		w.Header().Set("Trailer", "X-End")
		w.Header().Set("Link", "</"+token+">")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Content-Type", r.URL.Query().Get("type"))
		w.WriteHeader(http.StatusInternalServerError)
		for _, part := range []string{`{"error":"bad token ` + token[:7], token[7:], `"}`} {
			_, _ = io.WriteString(w, part)
			_ = http.NewResponseController(w).Flush()
		}
		w.Header().Set("X-End", token)
	}
	s := newStage(t, weChatRoute(t, serve(t, http.HandlerFunc(reflecting))), account, nil)
	front := serve(t, s)
	token := s.phantom(t, "veil", time.Hour)
	for _, kind := range []string{"application/json", "text/html", "application/x-thing", ""} {
		answer := raw(t, front, "GET /proxy/wx/x?type="+kind+"&access_token="+token+" HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nTE: trailers\r\nConnection: close\r\n\r\n")
		if !strings.Contains(answer, "103 Early Hints") || !strings.Contains(answer, "500 Internal") || !strings.Contains(answer, "bad token ") || !strings.Contains(answer, "*****") {
			t.Errorf("%s: %s", kind, answer)
		}
		if strings.Contains(answer, "T0KEN") || strings.Contains(answer, "of-the-account") || !strings.Contains(answer, "X-Encoding: identity") {
			t.Errorf("%s: it shows the token: %s", kind, answer)
		}
	}
}
