//go:build unix

package e2e_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2/clientcredentials"
)

const opsPassword = "a-password-for-tests"

// protectedTarget serves metrics to holders of the current token, and counts both
// kinds of request.
type protectedTarget struct {
	f                *fleet
	served, rejected atomic.Int32
}

func (p *protectedTarget) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+p.f.lastIssued() {
		p.rejected.Add(1)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	p.served.Add(1)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	fmt.Fprintln(w, "protected_requests_total", p.served.Load())
}

func (f *fleet) protected() (*protectedTarget, string) {
	f.t.Helper()
	p := &protectedTarget{f: f}
	s := httptest.NewServer(p)
	f.t.Cleanup(s.Close)
	return p, s.URL
}

func TestOAuthClientsOfAFleetShareOneToken(t *testing.T) {
	f := newFleet(t)
	target, url := f.protected()
	for _, p := range f.serve(3) {
		c := clientcredentials.Config{ClientID: "ops", ClientSecret: opsPassword, TokenURL: p.url + "/oauth2/token", Scopes: []string{appID}}
		for range 2 {
			resp, err := c.Client(t.Context()).Get(url)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("a call with the token of %s: %s", p.url, resp.Status)
			}
		}
	}
	if served, calls := target.served.Load(), f.calls(); served != 6 || calls != 1 {
		t.Errorf("%d calls to the API were served, and the issuer was called %d times; want 6 and once", served, calls)
	}
}

// TestPrometheusScrapesAProtectedTarget runs Debian's Prometheus.
func TestPrometheusScrapesAProtectedTarget(t *testing.T) {
	f := newFleet(t)
	target, url := f.protected()
	serve := f.serve(1)[0]
	dir := t.TempDir()
	key, config := filepath.Join(dir, "key"), filepath.Join(dir, "prometheus.yml")
	writeFile(t, key, opsPassword)
	writeFile(t, config, `
scrape_configs:
  - job_name: protected
    scrape_interval: 1s
    static_configs: [{targets: ['`+strings.TrimPrefix(url, "http://")+`']}]
    oauth2:
      client_id: ops
      client_secret_file: `+key+`
      token_url: `+serve.url+`/oauth2/token
      scopes: [`+appID+`]
`)
	runPrometheus(t, config)
	f.eventually(60*time.Second, "Prometheus to scrape the target three times", func() bool { return target.served.Load() >= 3 })
	if n := target.rejected.Load(); n != 0 {
		t.Errorf("%d scrapes were rejected", n)
	}
	if n := f.calls(); n != 1 {
		t.Errorf("the issuer was called %d times, want once", n)
	}
}

// TestPythonsOAuthClientGetsTheToken runs Debian's requests-oauthlib. It checks that the
// scope of the answer is the one that was asked for.
func TestPythonsOAuthClientGetsTheToken(t *testing.T) {
	f := newFleet(t)
	target, url := f.protected()
	serve := f.serve(1)[0]
	script := filepath.Join(t.TempDir(), "client.py")
	writeFile(t, script, `
import os, sys
from oauthlib.oauth2 import BackendApplicationClient
from requests_oauthlib import OAuth2Session
from requests.auth import HTTPBasicAuth

base, account, target = sys.argv[1:]
name, password = "ops", os.environ["KEY"]
for how in ({"auth": HTTPBasicAuth(name, password)}, {"client_id": name, "client_secret": password, "include_client_id": True}):
    for scope, path in ((account, "/oauth2/token"), (None, "/oauth2/" + account + "/token")):
        session = OAuth2Session(client=BackendApplicationClient(client_id=name, scope=scope))
        token = session.fetch_token(token_url=base + path, **how)
        assert token["token_type"] == "Bearer" and token["scope"] == [account], token["scope"]
        session.get(target).raise_for_status()
try:
    OAuth2Session(client=BackendApplicationClient(client_id=name)).fetch_token(token_url=base + "/oauth2/token", auth=HTTPBasicAuth(name, "wrong"))
except Exception as e:
    assert type(e).__name__ == "InvalidClientError", repr(e)
else:
    raise AssertionError("a wrong password was accepted")
`)
	python := exec.Command("/usr/bin/python3", script, serve.url, appID, url)
	python.Env = []string{"PATH=" + os.Getenv("PATH"), "KEY=" + opsPassword, "OAUTHLIB_INSECURE_TRANSPORT=1", "NO_PROXY=*"}
	if out, err := python.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\nscripts/install installs python3-requests-oauthlib", err, out)
	}
	if n := target.served.Load(); n != 4 {
		t.Errorf("%d calls to the API were served, want 4", n)
	}
}
