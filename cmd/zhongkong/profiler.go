package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"time"
)

// profiler answers with Go's profiles of this process, at an address of its own.
type profiler struct {
	http *http.Server
	done chan struct{} // closed when it answers no more
}

// openProfiler begins to answer at a loopback address; "": nowhere.
func openProfiler(address string, log *slog.Logger) (*profiler, error) {
	if address == "" {
		return nil, nil
	}
	l, err := listen(address, "--pprof")
	if err != nil {
		return nil, err
	}
	if err := checkProfiler(address, l.Addr()); err != nil {
		_ = l.Close()
		return nil, err
	}
	p := &profiler{
		// No WriteTimeout: a profile takes as long as it was asked to.
		http: &http.Server{Handler: forThisMachine(profiles()), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute,
			ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)},
		done: make(chan struct{}),
	}
	go func() { // ends at close, which waits for it
		defer close(p.done)
		_ = p.http.Serve(l)
	}()
	log.Info("profiles are answered", "url", fmt.Sprintf("http://%s/debug/pprof/", l.Addr()))
	return p, nil
}

// checkProfiler returns an error if other machines can reach the profiles. They have no
// memory contents, so no token. But anyone who reaches the address, which is resolved to at,
// can slow the process down with them, and there is no name and password.
func checkProfiler(address string, at net.Addr) error {
	if isLoopback(at.String()) {
		return nil
	}
	return usagef("--pprof %s: %s can be reached from other machines, and profiles are answered without name and password: "+
		"listen on 127.0.0.1, and from another machine use `ssh -L` or `kubectl port-forward`", address, at)
}

// close ends also the profiles that are being taken. The nil profiler does nothing.
func (p *profiler) close() {
	if p == nil {
		return
	}
	_ = p.http.Close()
	<-p.done
}

// profiles are the handlers of net/http/pprof, without /debug/pprof/cmdline: the arguments
// of the process may hold a secret.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	return mux
}

// forThisMachine refuses requests that name another host: a page of another site has made
// its own name lead here, to read the answers in a browser of this machine.
func forThisMachine(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLoopback(r.Host) {
			http.Error(w, "ask for 127.0.0.1 or localhost", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// isLoopback reports whether a host, with or without a port, is this machine's loopback.
func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
