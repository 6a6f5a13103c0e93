package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/callers"
	"github.com/zhongkong/zhongkong/coordinator"
)

// login proves the caller by the Authorization header. It returns 0, or the
// status it has answered with.
func (a *API) login(w http.ResponseWriter, r *request) int {
	c, ok := callers.FromAuthorization(first(r.Header["Authorization"]))
	if !ok {
		a.refuse(r, "", "no credentials")
		return answerProblem(w, problemCredentials)
	}
	if err := a.prove(r, c); err != nil {
		return a.fail(w, r, err)
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

// prove sets the request's caller, or writes the audit line.
func (a *API) prove(r *request, c callers.Credentials) error {
	caller, err := a.gate.Authenticate(r.Context(), callers.Addr(r.RemoteAddr), c.Name, c.Password)
	if err != nil {
		if r.Context().Err() == nil {
			a.refuse(r, c.Name, strings.TrimPrefix(err.Error(), "callers: "))
		}
		return err
	}
	r.caller = caller
	return nil
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

// refuse writes the audit line of a refused caller.
func (a *API) refuse(r *request, name, why string) {
	const longest = 128 // a stranger chose it
	if len(name) > longest {
		name = name[:longest] + "..."
	}
	path := r.URL.Path
	if len(path) > longest {
		path = path[:longest] + "..."
	}
	a.log.LogAttrs(context.Background(), levelRefused, "caller refused",
		attrs("caller", name, "from", r.RemoteAddr, "method", r.Method, "path", path, "why", why)...)
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
