package httpapi

import (
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/accesslog"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/requestid"
)

// withAccessLog has the stage served by a Server that logs each request.
func (s *stage) withAccessLog() {
	s.t.Helper()
	server, err := NewServer(s.api, Exposure{}, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	server.LogRequests(slog.New(requestid.Handler{Handler: slog.NewTextHandler(s.log, nil)}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }() // ends in Cleanup
	s.server.Close()
	s.server.URL = "http://" + l.Addr().String()
	s.t.Cleanup(func() {
		if err := server.http.Close(); err != nil {
			s.t.Error(err)
		}
		if err := <-served; err != nil {
			s.t.Error(err)
		}
	})
}

func TestTheAccessLogHasALineForEachRequest(t *testing.T) {
	s := newStage(t)
	s.withAccessLog()
	generation := strconv.FormatUint(uint64(s.store.Peek(wxa).Record.Generation), 10)
	s.ask(admin, "GET", "/v1/tokens/"+wxa+"?wait=1s", "", "X-Request-Id", "one")
	s.ask("", "GET", "/v1/tokens/"+wxa, "", "X-Request-Id", "two")
	s.ask(reader, "GET", "/v1/tokens/"+wxb, "", "X-Request-Id", "three")
	s.ask("", "GET", "/cgi-bin/token?grant_type=client_credential&appid="+wxa+"&secret="+reader, "", "X-Request-Id", "four")
	s.ask(admin, "GET", "/v1/tokens/a-stranger/with-slashes", "", "X-Request-Id", "five")
	for id, words := range map[string]string{
		"one":   "caller=admin from= method=GET endpoint=/v1/tokens/{name} account=" + wxa + " status=200 generation=" + generation,
		"two":   `caller="" endpoint=/v1/tokens/{name} account="" status=401`,
		"three": `caller=reader account="" status=403`,
		"four":  "caller=reader endpoint=/cgi-bin/token account=" + wxa + " status=200 generation=" + generation,
		"five":  `caller=admin endpoint=other account="" status=404`,
	} {
		words := append(strings.Fields(words), "msg="+accesslog.Message, "request_id="+id, "took_seconds=", "body_bytes=")
		s.wait("the line of "+id, func() bool { return hasLine(s.log.String(), words...) })
	}
	for line := range strings.Lines(s.log.String()) {
		for _, secret := range []string{"password", "secret=", "wait=", "grant_type", "a-stranger", s.token(wxa), s.token(wxb)} {
			if strings.Contains(line, "msg=request") && strings.Contains(line, secret) {
				t.Errorf("the line holds %q: %s", secret, line)
			}
		}
	}
}

func TestTheAccessLogSaysThatTheClientWentAway(t *testing.T) {
	s := newStage(t)
	s.withAccessLog()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = conn.Write([]byte("GET /v1/tokens/" + wxa + "?wait=30s&after=9007199254740991 HTTP/1.1\r\nHost: h\r\nX-Request-Id: gone\r\n" +
		"Authorization: Bearer " + admin + "\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	s.wait("the request to be held", func() bool { return s.api.Holding() == 1 })
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	s.wait("its line", func() bool {
		return hasLine(s.log.String(), "msg=request", "request_id=gone", "status=499", "caller=admin")
	})
}
