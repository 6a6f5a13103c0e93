package wechattest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// TB is what Start needs of a *testing.T.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Start serves s on a loopback port until the test ends, and returns its base
// URL.
func (s *Server) Start(t TB) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("wechattest: listen: %v", err)
	}
	server := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }() // the cleanup waits for it
	t.Cleanup(func() {
		s.Close() // ends hanging calls, so the handlers return
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			_ = server.Close()
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Fatalf("wechattest: serve: %v", err)
		}
	})
	return "http://" + listener.Addr().String()
}
