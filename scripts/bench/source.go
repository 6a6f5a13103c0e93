package main

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// issuer is a fake of WeChat's token endpoint. Calls take a while, and each issues a new
// token and invalidates the previous one.
type issuer struct {
	url    string
	server *http.Server

	mu    sync.Mutex
	calls int    // guarded by mu
	token string // guarded by mu: the valid one
}

// startIssuer serves the fake on loopback.
func startIssuer(took time.Duration) (*issuer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	i := &issuer{url: "http://" + l.Addr().String()}
	i.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(took)
		i.mu.Lock()
		i.calls++
		i.token = tokenText(i.calls)
		text := fmt.Sprintf(`{"access_token":%q,"expires_in":7200}`, i.token)
		i.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(text))
	})}
	go func() { _ = i.server.Serve(l) }() // ends with close
	return i, nil
}

func (i *issuer) close() { _ = i.server.Close() }

func (i *issuer) state() (calls int, alive string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.calls, i.token
}

// tokenText returns a token of the length of WeChat's.
func tokenText(n int) string {
	return fmt.Sprintf("%d_%s", n, strings.Repeat("Kx", 157/2))[:157]
}
