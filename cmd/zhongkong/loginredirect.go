package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/oauth"
)

// loopbackRedirect returns the address of this machine to which the issuer sends the
// browser; nil: redirect, which the account's configuration has validated, is another
// one, where nothing of Zhongkong listens.
func loopbackRedirect(redirect string) *url.URL {
	to, err := url.Parse(cmp.Or(redirect, "http://127.0.0.1/callback"))
	if err != nil || to.Scheme != "http" {
		return nil
	}
	address, err := netip.ParseAddr(to.Hostname())
	if loopback := err == nil && address.IsLoopback() || to.Hostname() == "localhost"; !loopback {
		return nil
	}
	to.Path = cmp.Or(to.Path, "/")
	return to
}

// receiver waits for the browser that the issuer sends back (RFC 8252, section 7.3).
type receiver struct {
	address string // the redirect address
	server  *http.Server
	answers chan browserAnswer
}

// browserAnswer is a request of the browser.
type browserAnswer struct {
	query  url.Values
	answer chan<- error // what came of it
}

// listenForCode listens at an address of this machine; without a port, at a free one.
func listenForCode(to *url.URL) (*receiver, error) {
	host, port := to.Hostname(), to.Port()
	if host == "localhost" {
		host = "127.0.0.1"
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, cmp.Or(port, "0"))) //nolint:noctx // does not block
	if err != nil {
		return nil, &configError{fmt.Errorf("redirect: this machine cannot listen at %s: %w", to.Host, err)}
	}
	if port == "" {
		_, port, _ = net.SplitHostPort(l.Addr().String())
		to.Host = net.JoinHostPort(to.Hostname(), port)
	}
	r := &receiver{address: to.String(), answers: make(chan browserAnswer)}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) {
		if req.Method != http.MethodGet || req.URL.Path != to.Path {
			http.NotFound(w, req)
			return
		}
		r.serve(w, req)
	})
	r.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 64 << 10}
	go func() { _ = r.server.Serve(l) }() // ends with close
	return r, nil
}

// serve passes on what the browser brings, and answers what came of it.
func (r *receiver) serve(w http.ResponseWriter, req *http.Request) {
	outcome := make(chan error, 1)
	var err error
	select {
	case r.answers <- browserAnswer{req.URL.Query(), outcome}:
	case <-req.Context().Done():
		return
	}
	select {
	case err = <-outcome:
	case <-req.Context().Done():
		return
	}
	text, status := "Zhongkong has the answer. Return to the terminal: it says whether the grant is stored.", http.StatusOK
	switch {
	case errors.Is(err, oauth.ErrForeignAnswer):
		text, status = "This does not belong to the login that is under way: open the address that zhongkong login has printed.", http.StatusBadRequest
	case err != nil:
		text, status = "The login has failed: the terminal says why.", http.StatusBadRequest
	}
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n")) // an error means that the browser has gone away
}

// redeem waits for the answer to a request, and redeems it. Others are turned away: any
// page can make a browser call this port.
func (r *receiver) redeem(ctx context.Context, request *oauth.CodeRequest) (coordinator.Consent, error) {
	for {
		select {
		case came := <-r.answers:
			consent, err := request.Redeem(ctx, came.query)
			came.answer <- err
			if !errors.Is(err, oauth.ErrForeignAnswer) {
				return consent, err
			}
		case <-ctx.Done():
			return coordinator.Consent{}, context.Cause(ctx)
		}
	}
}

// close ends the server when the browser has its page.
func (r *receiver) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if r.server.Shutdown(ctx) != nil {
		_ = r.server.Close()
	}
}
