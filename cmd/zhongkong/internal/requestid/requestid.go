// Package requestid gives each HTTP request an id, which its answer, its lines in the log
// and those of what it causes have in common.
package requestid

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"unsafe"
)

// Header is the header of requests and answers that has the id, in its canonical form.
const Header = "X-Request-Id"

// maxGiven is how long an id of a client may be. An access_token is longer, so that one in
// the wrong header does not get into the log.
const maxGiven = 64

// Assign returns the id of a request, which it writes into the answer's header: the one
// that the client sent, if it is one of at most 64 printable characters, or else a new one.
// A second call returns the same.
func Assign(w http.ResponseWriter, r *http.Request) string {
	h := w.Header()
	if assigned := h[Header]; len(assigned) == 1 {
		return assigned[0]
	}
	given := r.Header[Header]
	if len(given) != 1 || !IsUsable(given[0]) {
		given = made()
	}
	h[Header] = given
	return given[0]
}

// IsUsable reports whether Assign takes an id that a client sent.
func IsUsable(id string) bool {
	if id == "" || len(id) > maxGiven {
		return false
	}
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return false
		}
	}
	return true
}

// size is the length of an id that AppendNew makes.
const size = 32

// AppendNew appends a new id: 32 hexadecimal digits, which need to differ, not to be
// secret.
func AppendNew(to []byte) []byte {
	var random [size / 2]byte
	binary.NativeEndian.PutUint64(random[:8], rand.Uint64()) //nolint:gosec // not a secret
	binary.NativeEndian.PutUint64(random[8:], rand.Uint64()) //nolint:gosec // likewise
	return hex.AppendEncode(to, random[:])
}

// made returns a new id as the value of a header. It allocates once, because every
// request pays for it.
func made() []string {
	id := new(struct {
		text  [size]byte
		value [1]string
	})
	AppendNew(id.text[:0])
	id.value[0] = unsafe.String(&id.text[0], len(id.text)) // text does not change any more
	return id.value[:]
}

type contextKey struct{}

// With returns a context of which Handler adds the id to each line.
func With(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, contextKey{}, id)
}

// Handler adds to each record the id that its context has.
type Handler struct {
	slog.Handler // the next one
}

// Handle passes the record on.
func (h Handler) Handle(ctx context.Context, r slog.Record) error {
	if id, ok := ctx.Value(contextKey{}).(string); ok {
		r.AddAttrs(slog.String("request_id", id))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs returns a handler that adds ids as well.
func (h Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return Handler{h.Handler.WithAttrs(attrs)}
}

// WithGroup returns a handler that adds ids as well, in the group.
func (h Handler) WithGroup(name string) slog.Handler { return Handler{h.Handler.WithGroup(name)} }
