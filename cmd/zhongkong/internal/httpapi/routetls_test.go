package httpapi

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// An address at which a handler answers in place of the API is under the same
// certificates as the API's own.
func TestAnAddressOfItsOwnNeedsTheSameCertificates(t *testing.T) {
	s, a, other, dir := newStage(t), newAuthority(t), newAuthority(t), t.TempDir()
	cert, key := a.issue("server")
	server, addr := serveTLS(t, s, Exposure{
		CertFile: write(t, filepath.Join(dir, "c.pem"), cert), KeyFile: write(t, filepath.Join(dir, "k.pem"), key),
		ClientCAFile: write(t, filepath.Join(dir, "ca.pem"), a.pem()),
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { // ends with the Shutdown of serveTLS
		done <- server.ServeHandler(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "the route answers "+r.URL.Path)
		}))
	}()
	t.Cleanup(func() {
		_ = server.Shutdown(context.Background())
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	own := l.Addr().String()
	get := func(url string, from ...*authority) (int, string, error) {
		t.Helper()
		config := &tls.Config{RootCAs: a.pool()}
		for _, issuer := range from {
			pair, err := tls.X509KeyPair(issuer.issue("client"))
			if err != nil {
				t.Fatal(err)
			}
			config.Certificates = append(config.Certificates, pair)
		}
		transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
		defer transport.CloseIdleConnections()
		answer, err := (&http.Client{Transport: transport}).Get(url)
		if err != nil {
			return 0, "", err
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		return answer.StatusCode, string(body), err
	}
	for _, path := range []string{"/cgi-bin/user/get", "/v1/tokens/" + wxa, "/healthz"} {
		if status, body, err := get("https://"+own+path, a); status != 200 || body != "the route answers "+path {
			t.Errorf("%s with a certificate: %d %s %v", path, status, body, err)
		}
		if status, body, _ := get("https://" + own + path); status != http.StatusForbidden || !strings.Contains(body, "certificate_required") {
			t.Errorf("%s without a certificate: %d %s", path, status, body)
		}
	}
	if status, _, err := get("https://"+own+"/x", other); err == nil {
		t.Errorf("a certificate of another authority: %d", status)
	}
	if status, body, err := get("http://" + own + "/x"); err == nil && status != http.StatusBadRequest {
		t.Errorf("plaintext: %d %s", status, body)
	}
	if status, _, err := get("https://"+addr+"/healthz", a); status != 200 {
		t.Errorf("the API beside it: %d %v", status, err)
	}
}
