package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logging"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/requestid"
	"github.com/zhongkong/zhongkong/coordinator/wechat/msgcrypt"
)

// Callback takes what an issuer pushes to one account. Its messages prove themselves,
// so that there are no caller's credentials.
type Callback interface {
	// Callback handles one request and returns the body of a 200: GET proves the URL,
	// POST is an event, which is stored when Callback returns. Its errors are those of
	// package msgcrypt, or why the event could not be stored; then the issuer pushes it
	// again. After msgcrypt.ErrEvent it need not: the answer is as if it were stored.
	// Errors hold no secret, and no part of the request that is not shown.
	Callback(ctx context.Context, method string, query url.Values, body []byte) (answer string, err error)
}

// callbackTimeout is less than the 5 s after which WeChat gives up an answer.
const callbackTimeout = 4 * time.Second

// takeCallback answers GET and POST /callback/{name}. What went wrong is said in the log:
// the issuer only sees that it is to push again.
func (a *app) takeCallback(w http.ResponseWriter, r *request) int {
	callback, ok := a.directory.Callback(r.account)
	if !ok {
		return writeProblem(w, problem{http.StatusNotFound, "not_found", "no account of this name takes what an issuer pushes", 0})
	}
	r.maxBody = msgcrypt.MaxBody
	body, err := r.read(w)
	if err != nil {
		return a.fail(w, r, err)
	}
	ctx, cancel := context.WithTimeout(requestid.With(r.Context(), r.id), callbackTimeout)
	defer cancel()
	answer, err := callback.Callback(ctx, r.Method, r.URL.Query(), body)
	if errors.Is(err, msgcrypt.ErrEvent) { // the issuer would push it again in vain
		a.logPush(r, levelRefused, http.StatusOK, err)
		answer, err = "success", nil
	}
	if err != nil {
		return a.failCallback(w, r, err)
	}
	h := w.Header()
	h["Content-Type"], h["Cache-Control"] = typeText, noStore
	_, _ = w.Write([]byte(answer)) // fails if the client has gone
	return http.StatusOK
}

func (a *app) failCallback(w http.ResponseWriter, r *request, err error) int {
	p, level := problem{http.StatusServiceUnavailable, "not_stored", "the event could not be stored: push it again", 0}, levelFailed
	switch {
	case errors.Is(err, msgcrypt.ErrMalformed):
		p, level = problem{http.StatusBadRequest, "bad_request", "this is not an encrypted push", 0}, levelRefused
	case errors.Is(err, msgcrypt.ErrSignature), errors.Is(err, msgcrypt.ErrKey), errors.Is(err, msgcrypt.ErrReceiver):
		p, level = problem{http.StatusForbidden, "forbidden", "this is not a push for this account", 0}, levelRefused
	}
	a.logPush(r, level, p.status, err)
	return writeProblem(w, p)
}

func (a *app) logPush(r *request, level slog.Level, status int, err error) {
	a.log.LogAttrs(r.logContext(), level, logging.PushRefused,
		append(attrs("account", logging.Short(r.account), "why", err.Error(), "from", r.RemoteAddr), slog.Int("status", status))...)
}
