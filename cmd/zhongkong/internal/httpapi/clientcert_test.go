package httpapi

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestConnectionsEndWhenTheirAuthorityIsTakenOut(t *testing.T) {
	for _, proto := range []string{"http/1.1", "h2"} {
		for _, how := range []string{"reload", "request"} {
			t.Run(proto+", "+how, func(t *testing.T) { takeOut(t, proto, how) })
		}
	}
}

func takeOut(t *testing.T, proto, how string) {
	s, a, gone, dir := newStage(t), newAuthority(t), newAuthority(t), t.TempDir()
	cert, key := a.issue("server")
	e := Exposure{
		CertFile: write(t, filepath.Join(dir, "c.pem"), cert), KeyFile: write(t, filepath.Join(dir, "k.pem"), key),
		ClientCAFile: write(t, filepath.Join(dir, "ca.pem"), append(a.pem(), gone.pem()...)),
	}
	server, addr := serveTLS(t, s, e)
	config := func(issuer *authority) *tls.Config {
		pair, err := tls.X509KeyPair(issuer.issue("client"))
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Config{RootCAs: a.pool(), Certificates: []tls.Certificate{pair}}
	}
	clientOf := func(issuer *authority) *http.Client {
		transport := &http.Transport{TLSClientConfig: config(issuer), ForceAttemptHTTP2: proto == "h2", MaxConnsPerHost: 1}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
	get := func(c *http.Client, path string) (int, error) {
		r, _ := http.NewRequestWithContext(t.Context(), "GET", "https://"+addr+path, nil)
		r.SetBasicAuth("admin", "admin-password")
		answer, err := c.Do(r)
		if err != nil {
			return 0, err
		}
		defer answer.Body.Close()
		if want := map[string]int{"http/1.1": 1, "h2": 2}[proto]; answer.ProtoMajor != want {
			t.Errorf("%s, want %s", answer.Proto, proto)
		}
		return answer.StatusCode, nil
	}
	stays, goes, waits, waitsOn := clientOf(a), clientOf(gone), clientOf(gone), clientOf(a)
	for _, c := range []*http.Client{stays, goes} {
		if status, err := get(c, "/v1/tokens/"+wxa); status != 200 {
			t.Fatalf("before: %d %v", status, err)
		}
	}
	hold := fmt.Sprintf("/v1/tokens/%s?after=%d&wait=60s", wxa, s.store.Peek(wxa).Record.Generation)
	ended, answered := make(chan error, 1), make(chan error, 1)
	for c, result := range map[*http.Client]chan error{waits: ended, waitsOn: answered} {
		go func() { // ends when the server closes the connection, or answers
			_, err := get(c, hold)
			result <- err
		}()
	}
	s.wait("both to hold", func() bool { return s.api.Holding() == 2 })
	late, err := tls.Dial("tcp", addr, config(gone)) // shook hands, and has asked nothing yet
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = late.Close() }()

	write(t, e.ClientCAFile, a.pem())
	if how == "reload" {
		if err := server.Reload(); err != nil {
			t.Fatal(err)
		}
	} else {
		server.certificate.mu.Lock()
		server.certificate.checked = time.Time{} // as if it was long ago
		server.certificate.mu.Unlock()
		_, _ = get(goes, "/healthz")
	}
	if err := <-ended; err == nil {
		t.Error("the one that waited was answered")
	}
	if _, err := get(goes, "/healthz"); err == nil {
		t.Error("the connection of the authority that was taken out goes on")
	}
	fmt.Fprint(late, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	_ = late.SetReadDeadline(time.Now().Add(patience))
	if n, err := late.Read(make([]byte, 1)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one that had only shaken hands is answered: %v", err)
	}
	if status, err := get(stays, "/v1/tokens/"+wxa); status != 200 {
		t.Errorf("of the one that stays: %d %v", status, err)
	}
	if r := s.ask(admin, "POST", "/v1/tokens/"+wxa+"/refresh", ""); r.status != 200 {
		t.Fatalf("refresh: %d", r.status)
	}
	if err := <-answered; err != nil {
		t.Errorf("the one that waits with the authority that stays: %v", err)
	}
	// The request that finds the new file may see its end before the log has the line.
	s.wait("the log to say so", func() bool { return strings.Contains(s.log.String(), "--client-ca any more") })
}
