package httpapi

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/header"
)

// FuzzPlainRequests sends anything to the parser of plain requests: what it accepts,
// net/http reads as one request, with nothing before or after it, that means the same.
func FuzzPlainRequests(f *testing.F) {
	for _, c := range exchanges {
		f.Add([]byte(c.sent[0]))
	}
	s := newStage(f, func(c *Config) { c.Callers = denyAll{} })
	f.Fuzz(func(t *testing.T, data []byte) {
		got, ok := parseTokenRequest(data)
		if !ok {
			return
		}
		in := bufio.NewReader(bytes.NewReader(data))
		r, err := http.ReadRequest(in)
		if err != nil {
			t.Fatalf("net/http refuses it: %v", err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || len(body) > 0 || r.ContentLength != 0 || len(r.TransferEncoding) > 0 || len(r.Trailer) > 0 {
			t.Errorf("it has a body")
		}
		if _, err := in.ReadByte(); err != io.EOF {
			t.Errorf("there is more than one request")
		}
		e, account := s.api.route(r.URL)
		if e.path != "/v1/tokens/{name}" || account != got.account || r.Method != http.MethodGet || r.Proto != "HTTP/1.1" || r.URL.RawQuery != "" {
			t.Errorf("it is %s %s %s of %s %q, and was taken for one of %q", r.Method, r.URL, r.Proto, e.path, account, got.account)
		}
		if all := r.Header["Authorization"]; len(all) != 1 || all[0] != got.authorization {
			t.Errorf("its credentials are %q, and were taken for %q", all, got.authorization)
		}
		if all := r.Header["X-Request-Id"]; len(all) > 1 || header.First(all) != got.id {
			t.Errorf("its id is %q, and was taken for %q", all, got.id)
		}
		if r.Host == "" || r.Close || header.IsCrossOrigin(r) || r.Header["If-None-Match"] != nil || r.Header["Upgrade"] != nil || r.Header["Expect"] != nil || r.Header["Te"] != nil {
			t.Errorf("it asks for more: %v", r.Header)
		}
	})
}

// Both ways count alike.
func TestFastAnswersAreCounted(t *testing.T) {
	s := newStage(t)
	_, addr := serveAtMost(t, s, 32)
	counted := func() (answers, reads uint64) {
		s.api.Served(func(endpoint string, status int, n uint64) {
			if endpoint == "/v1/tokens/{name}" && status == 200 {
				answers += n
			}
		})
		s.api.Reads(func(caller, account string, n uint64) {
			if caller == "admin" && account == wxa {
				reads += n
			}
		})
		return answers, reads
	}
	c := dial(t, addr)
	for i := range uint64(5) { // the last ones by net/http
		path := "/v1/tokens/" + wxa
		if i > 2 {
			path += "?wait=0"
		}
		if status, err := c.ask(admin, path); status != 200 {
			t.Fatalf("%d %v", status, err)
		}
		if answers, reads := counted(); answers != i+1 || reads != i+1 {
			t.Errorf("%d answers and %d reads are counted, want %d", answers, reads, i+1)
		}
	}
}

// No answer is given to a caller that has been revoked, or of more than it may have.
func TestPlainAnswersAreForProvedCallersAlone(t *testing.T) {
	s, gate := revocable(t, newStage)
	answered := func(line string) bool {
		return s.answersPlainly([]byte("GET /v1/tokens/" + wxa + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + line + "\r\n\r\n"))
	}
	if answered(reader) {
		t.Error("a password was taken that is not proved yet")
	}
	if r := s.ask(reader, "GET", "/v1/tokens/"+wxa, ""); r.status != 200 || !answered(reader) {
		t.Errorf("%d, and then not answered", r.status)
	}
	set(t, gate, changes["removed"](allowed()))
	if answered(reader) {
		t.Error("a caller that was removed is answered")
	}
}
