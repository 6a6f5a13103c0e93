//go:build unix

package e2e_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// latency is how long an issuer takes to answer.
const latency = 50 * time.Millisecond

// gate is the connection to the issuer of a row.
type gate struct {
	sourceRow
	issuer
	url   string
	ended <-chan struct{} // closed when the test has ended

	mu      sync.Mutex
	holding bool     // guarded by mu: answers are held back
	held    []string // guarded by mu: those answers
	calls   int      // guarded by mu: for the account's token
	others  int      // guarded by mu: for its parent's
}

// ServeHTTP passes the call on to the issuer. An answer that is held back never
// arrives: the token was issued, and the caller waits in vain.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := httptest.NewRecorder()
	g.issuer.ServeHTTP(answer, r)
	g.mu.Lock()
	own := r.URL.Path == g.path
	if own {
		g.calls++
	} else {
		g.others++
	}
	hold := own && g.holding
	if hold {
		g.held = append(g.held, strings.ReplaceAll(answer.Body.String(), `\/`, "/"))
	}
	g.mu.Unlock()
	if hold {
		<-g.ended
		return
	}
	select {
	case <-time.After(latency):
	case <-r.Context().Done():
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

func (g *gate) hold(hold bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.holding = hold
}

// asked returns how often the issuer was asked, for the account's token and for its
// parent's, and the answers that were held back.
func (g *gate) asked() (calls, others int, held []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.calls, g.others, slices.Clone(g.held)
}

// wasAsked fails unless there were so many calls for the account's token, and one for
// its parent's.
func (g *gate) wasAsked(want int) error {
	parents := 0
	if g.parent != nil {
		parents = 1
	}
	if calls, others, _ := g.asked(); calls != want || others != parents {
		return fmt.Errorf("%d calls, and %d for the parent's token, want %d and %d", calls, others, want, parents)
	}
	return nil
}

// startGates starts the issuer of each row. The directory gets what sources need.
func startGates(t *testing.T) (gates []*gate, dir string) {
	t.Helper()
	dir = t.TempDir()
	keys := newKeyPair(t, dir)
	for _, row := range sourceRows() {
		g := &gate{sourceRow: row, issuer: row.issuer(keys), ended: t.Context().Done()}
		server := httptest.NewUnstartedServer(g)
		server.Config.ErrorLog = log.New(io.Discard, "", 0) // connections of killed processes
		if row.tls {
			server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
			server.StartTLS()
			writeFile(t, filepath.Join(dir, issuersFile), pemOf("CERTIFICATE", server.Certificate().Raw))
		} else {
			server.Start()
		}
		t.Cleanup(server.Close)
		g.url = server.URL
		gates = append(gates, g)
	}
	return gates, dir
}
