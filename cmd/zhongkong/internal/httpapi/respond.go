package httpapi

import (
	"encoding/json"
	"io"
	"iter"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
)

// Header values that many responses share. They must not be modified.
var (
	typeJSON = []string{"application/json; charset=utf-8"}
	typeText = []string{"text/plain; charset=utf-8"}
	noStore  = []string{"no-store"}
	nosniff  = []string{"nosniff"}
)

// statusGone is counted when the client went away before the answer. It is never
// sent.
const statusGone = 499

type problem struct {
	status  int
	code    string // "error" in the body
	message string
	retry   time.Duration // > 0: Retry-After
}

var (
	problemCredentials = problem{http.StatusUnauthorized, "unauthorized",
		"a caller's name and password are needed: HTTP Basic, or Authorization: Bearer NAME:PASSWORD", 0}
	problemForbidden = problem{http.StatusForbidden, "forbidden", "this account is not among the caller's", 0}
	problemNoRefresh = problem{http.StatusForbidden, "forbidden", "the caller lacks the refresh right", 0}
	problemFull      = problem{http.StatusTooManyRequests, "too_many_waiting", "too many requests are waiting already", 5 * time.Second}

	problemUnreachable = problem{http.StatusServiceUnavailable, "store_unreachable",
		"Redis cannot be reached, or cannot do what is needed now", time.Second}
	problemDenied = problem{http.StatusServiceUnavailable, "store_denied",
		"Redis denies this server what it needs (user, password or rights): its operator finds the cause in its log or with `zhongkong doctor`",
		10 * time.Second}
)

func (p problem) with(message string) problem {
	p.message = message
	return p
}

// writeJSON writes v and returns status.
func writeJSON(w http.ResponseWriter, status int, v any) int {
	body, err := json.Marshal(v)
	if err != nil { // cannot happen with the types of this package
		status, body = http.StatusInternalServerError, []byte(`{"error":"internal","message":"the answer cannot be encoded"}`)
	}
	h := w.Header()
	h["Content-Type"], h["Cache-Control"] = typeJSON, noStore
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // fails if the client has gone
	return status
}

// writeJSONList writes a list, one element after the other, so that a long one takes no
// memory.
func writeJSONList(w http.ResponseWriter, elements iter.Seq[any]) int {
	h := w.Header()
	h["Content-Type"], h["Cache-Control"] = typeJSON, noStore
	separator := byte('[')
	for element := range elements {
		body, err := json.Marshal(element)
		if err != nil { // cannot happen with the types of this package
			panic(http.ErrAbortHandler)
		}
		if _, err := w.Write(append([]byte{separator}, body...)); err != nil {
			return http.StatusOK // the client has gone
		}
		separator = ','
	}
	end := "]\n"
	if separator == '[' {
		end = "[]\n"
	}
	_, _ = io.WriteString(w, end) // fails if the client has gone
	return http.StatusOK
}

// writeProblem writes an error response and returns its status.
func writeProblem(w http.ResponseWriter, p problem) int {
	if p.status == statusGone {
		return statusGone
	}
	setProblemHeaders(w.Header(), p)
	return writeJSON(w, p.status, wire.Error{Code: p.code, Message: p.message})
}

// setProblemHeaders sets the headers of an error response that do not depend on
// the form of its body.
func setProblemHeaders(h http.Header, p problem) {
	if p.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Basic realm="zhongkong", charset="UTF-8"`)
	}
	setRetryAfter(h, p.retry)
}

func setRetryAfter(h http.Header, d time.Duration) {
	if d > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(d.Seconds()))))
	}
}
