package httpapi

import (
	"net/http"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/events"
)

// getEvents answers GET /v1/events: server-sent events about the accounts that
// the caller may have, and about the store.
func (a *app) getEvents(w http.ResponseWriter, r *request) int {
	caller := r.caller
	if !a.streams.acquire(caller.Name()) {
		return writeProblem(w, problemFull.with("too many event streams are open already"))
	}
	defer a.streams.Release(caller.Name())
	h := w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h["Cache-Control"] = noStore
	h.Set("X-Accel-Buffering", "no") // a proxy must not buffer the stream
	if r.Method == http.MethodHead {
		return http.StatusOK
	}
	l := a.events.Listen(func(e *events.Entry) bool { return e.Account == "" || caller.May(e.Account) })
	defer l.Close()
	s := stream{w, http.NewResponseController(w), a.limits.Slow, r.ProtoMajor >= 2}
	if !s.write("retry: 2000\n: connected\n\n") {
		return http.StatusOK
	}
	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()
	revoked := caller.Revoked()
	for {
		var alive bool
		select {
		case e, ok := <-l.C:
			alive = ok && !caller.IsRevoked() && s.write("event: "+e.Type+"\ndata: "+string(e.JSON())+"\n\n")
		case <-ticker.C:
			alive = s.write(": alive\n\n")
		case <-revoked: // the caller has to authenticate again
			return http.StatusOK
		case <-a.stopping.Done():
			return http.StatusOK
		case <-r.Context().Done():
			return http.StatusOK
		}
		if !alive {
			return http.StatusOK
		}
	}
}

type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	slow    time.Duration
	timed   bool // a deadline resets the stream also when nothing is written, as that of HTTP/2 does
}

// write sends text at once. It reports whether the client accepted it within slow. Over
// HTTP/1 the deadline stays for what the server writes at the end.
func (s stream) write(text string) bool {
	_ = s.control.SetWriteDeadline(time.Now().Add(s.slow))
	if s.timed {
		defer func() { _ = s.control.SetWriteDeadline(time.Time{}) }()
	}
	if _, err := s.w.Write([]byte(text)); err != nil {
		return false
	}
	return s.control.Flush() == nil
}
