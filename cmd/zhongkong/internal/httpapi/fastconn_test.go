package httpapi

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// plainLines are the request line and the headers of a plain request, without the last
// empty line.
const plainLines = "GET /v1/tokens/" + wxa + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + admin + "\r\n"

// exchanges are what clients send in so many pieces. fast: the first piece is answered
// without net/http.
var exchanges = []struct {
	name  string
	sent  []string
	fast  bool
	wants string // status
}{
	{"plain", []string{plainLines + "\r\n"}, true, "200"},
	{"basic", []string{"GET /v1/tokens/" + wxa + " HTTP/1.1\r\nhost: x:80\r\nAUTHORIZATION: basic  YWRtaW46YWRtaW4tcGFzc3dvcmQ= \r\n\r\n"}, true, "200"},
	{"several", []string{plainLines + "\r\n", plainLines + "\r\n", plainLines + "\r\n"}, true, "200"},
	{"headers of clients and proxies", []string{plainLines + "Accept: */*\r\nAccept-Encoding: gzip\r\nConnection: Keep-Alive\r\nUser-Agent: a b\r\n" +
		"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Real-IP:192.0.2.1\r\ntraceparent: 00-1\r\n\r\n"}, true, "200"},
	{"unknown headers", []string{plainLines + "X-Y: z\r\nX-Y:\r\nb3: 0\r\nCookie: a=b\r\n_x!: 1\r\n\r\n"}, true, "200"},
	{"headers of a client that is a browser elsewhere", []string{plainLines + "Content-Type: application/json\r\nSec-Fetch-Mode: cors\r\n\r\n"}, true, "200"},
	{"an id", []string{plainLines + "X-Request-ID: given\r\n\r\n"}, true, "200"},
	{"the callers own account", []string{strings.Replace(plainLines, admin, reader, 1) + "\r\n", plainLines + "\r\n"}, false, "200"}, // its first hash

	{"an unusable id", []string{plainLines + "X-Request-Id: a b\r\n\r\n"}, false, "200"},
	{"two ids", []string{plainLines + "X-Request-Id: a\r\nX-Request-Id: b\r\n\r\n"}, false, "200"},
	{"in pieces", []string{plainLines[:30], plainLines[30:] + "\r", "\n"}, false, "200"},
	{"two in one piece", []string{plainLines + "\r\n" + plainLines + "\r\n"}, false, "200"},
	{"one and the beginning of another", []string{plainLines + "\r\nGET /v1/", "tokens/" + wxa + " HTTP/1.1\r\nHost: x\r\n\r\n"}, false, "200"},
	{"plain after another", []string{"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", plainLines + "\r\n"}, false, "200"},
	{"another after plain", []string{plainLines + "\r\n", "GET /v1/accounts/" + wxb + " HTTP/1.1\r\nHost: x\r\n\r\n", plainLines + "\r\n"}, true, "200"},
	{"plain, then two in one piece", []string{plainLines + "\r\n", plainLines + "\r\n" + plainLines + "\r\n", plainLines + "\r\n"}, true, "200"},
	{"a condition", []string{plainLines + "If-None-Match: *\r\n\r\n"}, false, "304"},
	{"HEAD", []string{"HEAD" + plainLines[3:] + "\r\n"}, false, "200"},
	{"POST", []string{"POST" + plainLines[3:] + "\r\n"}, false, "405"},
	{"lower case method", []string{"get" + plainLines[3:] + "\r\n"}, false, "405"},
	{"a query", []string{strings.Replace(plainLines, wxa, wxa+"?wait=1s", 1) + "\r\n"}, false, "200"},
	{"an escape", []string{strings.Replace(plainLines, wxa, "%77"+wxa[1:], 1) + "\r\n"}, false, "200"},
	{"two slashes", []string{strings.Replace(plainLines, "/v1/", "//v1/", 1) + "\r\n"}, false, "200"},
	{"an absolute URL", []string{strings.Replace(plainLines, "/v1/", "http://y/v1/", 1) + "\r\n"}, false, "200"},
	{"the refresh below it", []string{strings.Replace(plainLines, wxa, wxa+"/refresh", 1) + "\r\n"}, false, "405"},
	{"HTTP/1.0", []string{strings.Replace(plainLines, "HTTP/1.1", "HTTP/1.0", 1) + "\r\n"}, false, "200"},
	{"HTTP/2.0", []string{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}, false, "401"},
	{"end of the connection", []string{plainLines + "Connection: close\r\n\r\n"}, false, "200"},
	{"an upgrade", []string{plainLines + "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"}, false, "200"},
	{"from another site", []string{plainLines + "Origin: https://evil.example\r\n\r\n"}, false, "403"},
	{"from another sites page", []string{plainLines + "Sec-Fetch-Site: cross-site\r\n\r\n"}, false, "403"},
	{"another condition", []string{plainLines + "If-Match: *\r\n\r\n"}, false, "200"},
	{"a name that is no token", []string{plainLines + "X(Y): z\r\n\r\n"}, false, "400"},

	{"no credentials", []string{"GET /v1/tokens/" + wxa + " HTTP/1.1\r\nHost: x\r\n\r\n"}, false, "401"},
	{"a wrong password", []string{strings.Replace(plainLines, admin, "admin:wrong", 1) + "\r\n"}, false, "401"},
	{"another scheme", []string{strings.Replace(plainLines, "Bearer", "Digest", 1) + "\r\n"}, false, "401"},
	{"two credentials", []string{plainLines + "Authorization: Bearer a:b\r\n\r\n"}, false, "200"},
	{"another's account", []string{strings.Replace(plainLines, admin, neighbor, 1) + "\r\n"}, false, "403"},
	{"no such account", []string{strings.Replace(plainLines, wxa, "none", 1) + "\r\n"}, false, "404"},

	{"a length", []string{plainLines + "Content-Length: 0\r\n\r\n"}, false, "200"},
	{"a body that is a request", []string{plainLines + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(plainLines)+2) + plainLines + "\r\n"}, false, "200"},
	{"a body in its own piece", []string{plainLines + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(plainLines)+2), plainLines + "\r\n"}, false, "200"},
	{"chunks", []string{plainLines + "Transfer-Encoding: chunked\r\n\r\n", "5\r\nGET /\r\n0\r\n\r\n"}, false, "200"},
	{"length and chunks", []string{plainLines + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"}, false, "200"},
	{"a length before a space", []string{plainLines + "Content-Length : 5\r\n\r\nGET /"}, false, "400"},
	{"an expectation", []string{plainLines + "Expect: 100-continue\r\n\r\n"}, false, "200"},
	{"no host", []string{strings.Replace(plainLines, "Host: x\r\n", "", 1) + "\r\n"}, false, "400"},
	{"two hosts", []string{plainLines + "Host: y\r\n\r\n"}, false, "400"},
	{"a host with a space", []string{strings.Replace(plainLines, "Host: x", "Host: x y", 1) + "\r\n"}, false, "400"},
	{"an empty host", []string{strings.Replace(plainLines, "Host: x", "Host:", 1) + "\r\n"}, false, "200"},
	{"line feeds alone", []string{strings.ReplaceAll(plainLines, "\r\n", "\n") + "\n"}, false, "200"},
	{"a line feed in a value", []string{plainLines + "Accept: a\nContent-Length: 5\r\n\r\n"}, false, "200"},
	{"a carriage return in a value", []string{plainLines + "Accept: a\rContent-Length: 5\r\n\r\n"}, false, "400"},
	{"a folded line", []string{plainLines + "Accept: a\r\n Content-Length: 5\r\n\r\n"}, false, "200"},
	{"a zero byte", []string{plainLines + "Accept: a\x00\r\n\r\n"}, false, "400"},
	{"a tab", []string{plainLines + "Accept:\ta\t\r\n\r\n"}, false, "200"},
	{"more than ASCII", []string{plainLines + "Accept: 号\r\n\r\n"}, false, "200"},
	{"a header without a name", []string{plainLines + ": a\r\n\r\n"}, false, "400"},
	{"a header without a colon", []string{plainLines + "Accept\r\n\r\n"}, false, "400"},
	{"a name with a space", []string{plainLines + "Accept : a\r\n\r\n"}, false, "400"},
	{"a space before the version", []string{strings.Replace(plainLines, " HTTP", "  HTTP", 1) + "\r\n"}, false, "400"},
	{"too many headers", []string{plainLines + strings.Repeat("Accept: "+strings.Repeat("a", 1000)+"\r\n", 30) + "\r\n"}, false, "431"},
	{"more than the buffer", []string{plainLines + strings.Repeat("Accept: "+strings.Repeat("a", 1000)+"\r\n", 5) + "\r\n"}, false, "200"},
	{"an empty line first", []string{"\r\n" + plainLines + "\r\n"}, false, "400"},
	{"garbage", []string{"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03"}, false, "400"},
}

// TestFastAnswersAreThoseOfNetHTTP compares the whole stream of answers, byte by byte.
func TestFastAnswersAreThoseOfNetHTTP(t *testing.T) {
	s := newStage(t)
	connect := map[bool]func() net.Conn{}
	for _, fast := range []bool{true, false} {
		server, err := NewServer(s.api, Exposure{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		l := pipes(make(chan net.Conn))
		done := make(chan error, 1)
		go func() { // ends with Shutdown
			if fast {
				done <- server.Serve(l)
			} else {
				done <- server.ServeHandler(l, s.api) // which is never fast
			}
		}()
		t.Cleanup(func() {
			_ = server.Shutdown(context.Background())
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		connect[fast] = func() net.Conn {
			theirs, ours := net.Pipe()
			l <- theirs
			return ours
		}
	}
	for _, c := range exchanges {
		first := []byte(c.sent[0])
		first = first[:min(len(first), 4096)] // what net/http reads at a time
		if ok := s.answersPlainly(first); ok != c.fast {
			t.Errorf("%s: answered without net/http: %v, want %v", c.name, ok, c.fast)
		}
		want, got := converse(t, connect[false](), c.sent), converse(t, connect[true](), c.sent)
		if got != want || !strings.HasPrefix(got[min(len(got), len("HTTP/1.1 ")):], c.wants) {
			t.Errorf("%s: want %s and\n%s\ngot\n%s", c.name, c.wants, want, got)
		}
	}
}

// answersPlainly reports whether what a client sends is answered without net/http.
func (s *stage) answersPlainly(data []byte) bool {
	r, ok := parseTokenRequest(data)
	if ok {
		_, ok = s.api.plainAnswer(netip.Addr{}, r)
	}
	return ok
}

// converse sends pieces and then a last request, and returns all answers, without what
// differs from one to the next.
func converse(t *testing.T, c net.Conn, sent []string) string {
	t.Helper()
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	answers := make(chan string, 1)
	go func() { // ends when the server closes the connection
		all, _ := io.ReadAll(c)
		answers <- string(all)
	}()
	for _, piece := range append(slices.Clone(sent), "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") {
		if _, err := io.WriteString(c, piece); err != nil {
			break // closed: the answers tell
		}
	}
	return varying.ReplaceAllString(<-answers, "$1$2$3$4")
}

var varying = regexp.MustCompile(`(\r\nDate: )[^\r]+|(\r\nX-Request-Id: )[0-9a-f]{32}|("expires_in":)\d+|("use_for":)\d+`)
