package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// profilesAt waits until a serve answers with profiles, and returns where.
func (r *running) profilesAt() string {
	r.b.t.Helper()
	r.says("profiles are answered")
	found := regexp.MustCompile(`url=(http://\S+/debug/pprof/)`).FindStringSubmatch(r.stderr.String())
	if found == nil {
		r.b.t.Fatalf("no address in\n%s", r.stderr.String())
	}
	return found[1]
}

// fetch returns an answer as a client on this machine gets it.
func fetch(t *testing.T, url, host string) (int, []byte, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		r.Host = host
	}
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return answer.StatusCode, body, err
}

func TestProfilesAreAnsweredAtAnAddressOfTheirOwn(t *testing.T) {
	b := newBench(t).with("ZHONGKONG_REDIS", "redis://127.0.0.1:1") // cannot be reached
	r := b.start(t.Context(), "", "serve", "--listen", "127.0.0.1:0", "--pprof", "127.0.0.1:0")
	at := r.profilesAt()
	status, heap, err := fetch(t, at+"heap", "")
	if err != nil || status != http.StatusOK {
		t.Fatalf("heap: %d, %v", status, err)
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(heap))
	if err != nil {
		t.Fatalf("heap is no profile: %v", err)
	}
	if _, err := io.Copy(io.Discard, io.LimitReader(unpacked, 64<<20)); err != nil {
		t.Errorf("heap is no profile: %v", err)
	}
	if status, body, err := fetch(t, at+"goroutine?debug=2", ""); err != nil || status != http.StatusOK || !bytes.Contains(body, []byte("goroutine ")) {
		t.Errorf("goroutine: %d, %v", status, err)
	} else if bytes.Contains(body, []byte(secret)) || bytes.Contains(body, []byte(opsPassword)) {
		t.Error("the list of goroutines holds a secret")
	}
	for path, want := range map[string]int{"": 200, "cmdline": 404, "symbol": 200} {
		if status, _, err := fetch(t, at+path, ""); err != nil || status != want {
			t.Errorf("%q: %d, %v, want %d", path, status, err, want)
		}
	}
	for host, want := range map[string]int{"localhost:6060": 200, "[::1]:1": 200, "evil.example": 403, "10.0.0.5:6060": 403} {
		if status, _, err := fetch(t, at, host); err != nil || status != want {
			t.Errorf("for the host %s: %d, %v, want %d", host, status, err, want)
		}
	}
	if status, _, err := fetch(t, strings.Replace(at, "/debug/pprof/", "/v1/accounts", 1), ""); err != nil || status != http.StatusNotFound {
		t.Errorf("the interface is answered there: %d, %v", status, err)
	}
	r.stop()
	if _, _, err := fetch(t, at, ""); err == nil {
		t.Error("profiles are answered after the end")
	}
}

func TestProfilesAreNotOnThePortOfCallers(t *testing.T) {
	d := newBench(t).with("ZHONGKONG_PPROF", "127.0.0.1:0").serve()
	d.ready()
	at := d.profilesAt()
	if status, _ := d.get("/debug/pprof/"); status != http.StatusNotFound {
		t.Errorf("status %d at the port of callers, want 404", status)
	}
	d.b.hup()
	d.says("configuration read again") // the signal has arrived: without a daemon it would end the test
	if status, _, err := fetch(t, at, ""); err != nil || status != http.StatusOK {
		t.Errorf("after a reload: %d, %v", status, err)
	}
}

func TestAnAddressForProfilesThatCannotBeMeantIsRefused(t *testing.T) {
	b := newBench(t)
	b.fails(exitUsage, "without name and password", "serve", "--listen", "127.0.0.1:0", "--pprof", ":0")
	b.fails(exitUsage, "is not an address", "serve", "--listen", "127.0.0.1:0", "--pprof", "6060")
	b.fails(exitUsage, "--pprof 192.0.2.1:0", "serve", "--listen", "127.0.0.1:0", "--pprof", "192.0.2.1:0")
	b.fails(exitUsage, "addresses must differ", "serve", "--listen", "127.0.0.1:9", "--pprof", "localhost:9")
}
