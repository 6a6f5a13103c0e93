// Package accesslog writes one line for each HTTP request. No line holds a token, a
// password or a query.
package accesslog

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/requestid"
)

// Message is that of every line.
const Message = "request"

// statusGone stands for a client that went away before its answer.
const statusGone = 499

// Entry is the line of a request while it is answered. It is the ResponseWriter that the
// handlers get, who tell it what they know. The nil Entry takes everything and writes
// nothing.
type Entry struct {
	http.ResponseWriter

	endpoint, route, caller, account string
	generation                       uint64

	status int
	bytes  int64
	began  time.Time
}

// Of returns the entry that a ResponseWriter is, nil if it is none.
func Of(w http.ResponseWriter) *Entry {
	e, _ := w.(*Entry)
	return e
}

// Serve has h answer a request, and logs how.
func Serve(log *slog.Logger, h http.Handler, w http.ResponseWriter, r *http.Request) {
	e := &Entry{ResponseWriter: w, began: time.Now()}
	id, method, from := requestid.Assign(w, r), r.Method, r.RemoteAddr
	whole := false
	defer func() { e.write(log, id, method, from, whole) }() // also if h panics to break the connection off
	h.ServeHTTP(e, r)
	whole = true
}

func (e *Entry) write(log *slog.Logger, id, method, from string, whole bool) {
	status := e.status
	switch {
	case status == 0 && whole:
		status = http.StatusOK
	case status == 0:
		status = statusGone
	}
	line := append(make([]slog.Attr, 0, 10), slog.String("caller", e.caller), slog.String("from", from),
		slog.String("method", method), slog.String("endpoint", e.endpoint), slog.String("account", e.account),
		slog.Int("status", status), slog.Int64("body_bytes", e.bytes), slog.Float64("took_seconds", time.Since(e.began).Round(time.Microsecond).Seconds()))
	if e.route != "" {
		line = append(line, slog.String("route", e.route))
	}
	if e.generation != 0 {
		line = append(line, slog.Uint64("generation", e.generation))
	}
	log.LogAttrs(requestid.With(context.Background(), id), slog.LevelInfo, Message, line...)
}

// At notes the endpoint that answers, as metrics name it.
func (e *Entry) At(endpoint string) {
	if e != nil {
		e.endpoint = endpoint
	}
}

// Through notes the route that passes the request on.
func (e *Entry) Through(route, account string) {
	if e != nil {
		e.route, e.account = route, account
	}
}

// By notes the authenticated caller.
func (e *Entry) By(caller string) {
	if e != nil {
		e.caller = caller
	}
}

// About notes the account that is asked for, which must be a configured one: another name
// may be a credential in the wrong place.
func (e *Entry) About(account string) {
	if e != nil {
		e.account = account
	}
}

// Told notes the generation of the token that the answer holds.
func (e *Entry) Told(generation uint64) {
	if e != nil {
		e.generation = generation
	}
}

// WriteHeader implements [http.ResponseWriter].
func (e *Entry) WriteHeader(status int) {
	if e.status == 0 && status >= http.StatusOK { // not 1xx, after which another one follows
		e.status = status
	}
	e.ResponseWriter.WriteHeader(status)
}

// Write implements [io.Writer].
func (e *Entry) Write(p []byte) (int, error) {
	if e.status == 0 {
		e.status = http.StatusOK
	}
	n, err := e.ResponseWriter.Write(p)
	e.bytes += int64(n)
	return n, err
}

// Unwrap is for [http.ResponseController].
func (e *Entry) Unwrap() http.ResponseWriter { return e.ResponseWriter }
