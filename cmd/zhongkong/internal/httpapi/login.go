package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/coordinator"
)

// login proves the caller by the Authorization header. It returns 0, or the
// status it has answered with.
func (a *API) login(w http.ResponseWriter, r *request) int {
	c, ok := auth.FromAuthorization(first(r.Header["Authorization"]))
	if !ok {
		a.refuse(r, "", noCredentials)
		return a.answerPerson(w, r, problemCredentials)
	}
	if err := a.prove(r, c); err != nil {
		return a.answerPerson(w, r, a.explain(r, err))
	}
	return 0
}

// first returns the first value of a header that was looked up by its canonical
// name, which spares making the name canonical.
func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// prove sets the request's caller, or writes the audit line. readings are what
// one pair of credentials may mean, the likeliest first; there is at least one.
func (a *API) prove(r *request, readings ...auth.Credentials) error {
	var err error
	for _, c := range readings {
		if r.caller, err = a.authenticate(r, c); !errors.Is(err, auth.ErrDenied) {
			break
		}
	}
	if err != nil && r.Context().Err() == nil {
		a.refuse(r, readings[0].Name, wordsOf(err))
	}
	return err
}

func (a *API) authenticate(r *request, c auth.Credentials) (auth.Caller, error) {
	from := auth.Addr(r.RemoteAddr)
	caller, err := a.gate.Authenticate(r.Context(), from, c.Name, c.Password)
	if err == nil && isRevoked(caller) { // while the password was looked at
		caller, err = a.gate.Authenticate(r.Context(), from, c.Name, c.Password)
	}
	return caller, err
}

// wordsOf words a refusal for the audit line, without how long to wait: that
// would make each a cause of its own.
func wordsOf(err error) string {
	var slowed *auth.ThrottledError
	if errors.As(err, &slowed) {
		return slowed.Reason
	}
	return strings.TrimPrefix(err.Error(), "auth: ")
}

// permit returns the account if the caller may have it. The right is looked at
// first, so that a name tells nothing to those who lack it. It returns the
// problem in its audit line's words too.
func (a *API) permit(r *request, name string) (*coordinator.Account, *problem) {
	if !r.caller.May(name) {
		a.refuse(r, r.caller.Name(), "not an account of the caller")
		return nil, &problemForbidden
	}
	account, ok := a.zk.Account(name)
	if !ok {
		p := problemOf(r.Context(), coordinator.ErrUnknownAccount)
		return nil, &p
	}
	return account, nil
}

// permitRefresh says whether the caller may force a refresh of an account that
// it may have.
func (a *API) permitRefresh(r *request, name string) bool {
	if r.caller.MayRefresh(name) {
		return true
	}
	a.refuse(r, r.caller.Name(), "no refresh right")
	return false
}

// noCredentials is why somebody is refused who did not say who he is.
const noCredentials = "no credentials"

// refuse writes the audit line of a refused caller. why is one of few.
func (a *API) refuse(r *request, name, why string) {
	level := levelRefused
	if why == noCredentials {
		level = levelUnnamed
	}
	if !a.log.Enabled(context.Background(), level) {
		return
	}
	a.log.LogAttrs(context.Background(), level, "caller refused", attrs(
		"caller", short(name), "from", r.RemoteAddr, "method", short(r.Method), "path", short(r.URL.Path), "why", why)...)
}

// audited writes the audit line of a forced refresh.
func (a *API) audited(r *request, account, how string, after coordinator.Record, err error) {
	outcome := "done"
	if err != nil {
		outcome = problemOf(context.WithoutCancel(r.Context()), err).code
	}
	if errors.Is(err, context.Canceled) {
		outcome = "the caller went away"
	}
	line := attrs("caller", r.caller.Name(), "from", r.RemoteAddr, "account", account, "how", how, "outcome", outcome)
	a.log.LogAttrs(context.Background(), levelAudit, "refresh asked for",
		append(line, generationAttr(after))...)
}
