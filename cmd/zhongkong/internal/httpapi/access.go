package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/header"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logging"
	"github.com/zhongkong/zhongkong/coordinator"
)

// Callers authenticates callers; *auth.Authenticator does.
type Callers interface {
	Authenticate(ctx context.Context, from netip.Addr, readings ...auth.Credentials) (auth.Caller, error)
	Proved(from netip.Addr, name, password string) (auth.Caller, bool)
	Find(name string) (auth.Caller, bool)
}

// accessControl authenticates callers, decides what they may do, and writes the audit
// lines of those that are refused.
type accessControl struct {
	callers Callers
	zk      *coordinator.Coordinator
	log     *slog.Logger

	withoutCredentials atomic.Uint64 // requests
}

var (
	errNoCredentials = errors.New("no credentials")
	errForbidden     = errors.New("not an account of the caller")
	errNoRefresh     = errors.New("no refresh right")
	errNotAll        = errors.New("metrics are for callers of all accounts")
)

// login authenticates the caller by the Authorization header.
func (a *accessControl) login(r *request) error {
	c, ok := auth.FromAuthorization(header.First(r.Header["Authorization"]))
	if !ok {
		a.refuse(r, "", errNoCredentials.Error())
		return errNoCredentials
	}
	return a.authenticate(r, c)
}

// authenticate sets the request's caller, or writes the audit line. readings,
// of which there is at least one, are what the sent credentials can mean, the
// likeliest first.
func (a *accessControl) authenticate(r *request, readings ...auth.Credentials) error {
	caller, err := a.callers.Authenticate(r.Context(), auth.Addr(r.RemoteAddr), readings...)
	r.caller = caller
	if err != nil && r.Context().Err() == nil {
		a.refuse(r, readings[0].Name, refusalReason(err))
	}
	return err
}

// refusalReason is the reason in the audit line. It leaves out how long to wait,
// because lines are rationed by their text.
func refusalReason(err error) string {
	if slowed, ok := errors.AsType[*auth.ThrottledError](err); ok {
		return slowed.Reason
	}
	return strings.TrimPrefix(err.Error(), "auth: ")
}

// permit returns an account if the caller may have its token. The right is
// checked before the account's existence, so that a caller without the right
// does not learn whether the account exists.
func (a *accessControl) permit(r *request, name string) (*coordinator.Account, error) {
	if !r.caller.May(name) {
		a.refuse(r, r.caller.Name(), errForbidden.Error())
		return nil, errForbidden
	}
	account, ok := a.zk.Account(name)
	if !ok {
		return nil, coordinator.ErrUnknownAccount
	}
	r.entry.About(name)
	return account, nil
}

// permitRefresh returns an error unless the caller may force a refresh of an
// account whose token it may have.
func (a *accessControl) permitRefresh(r *request, name string) error {
	if r.caller.MayRefresh(name) {
		return nil
	}
	a.refuse(r, r.caller.Name(), errNoRefresh.Error())
	return errNoRefresh
}

// permitGrant returns an error unless the caller may put in the grant of an account whose
// token it may have.
func (a *accessControl) permitGrant(r *request, name string) error {
	if r.caller.MayGrant(name) {
		return nil
	}
	a.refuse(r, r.caller.Name(), errNoGrantRight.Error())
	return errNoGrantRight
}

// permitAll returns an error unless the caller may have every account.
func (a *accessControl) permitAll(r *request) error {
	if r.caller.May(auth.AllAccounts) {
		return nil
	}
	a.refuse(r, r.caller.Name(), errNotAll.Error())
	return errNotAll
}

// refuse writes the audit line of a refused caller. reason is one of a few fixed
// texts.
func (a *accessControl) refuse(r *request, name, reason string) {
	level := levelRefused
	if reason == errNoCredentials.Error() {
		a.withoutCredentials.Add(1)
		level = levelAnonymous
	}
	if !a.log.Enabled(context.Background(), level) {
		return
	}
	if _, known := a.callers.Find(name); !known {
		name = logging.Claimed(name)
	}
	a.log.LogAttrs(r.logContext(), level, "caller refused", attrs(
		"caller", name, "from", r.RemoteAddr, "method", logging.Short(r.Method), "path", logging.Path(r.URL.Path), "why", reason)...)
}

// WithoutCredentials returns how many requests were refused because they had no
// credentials, such as the first one of a browser.
func (a *accessControl) WithoutCredentials() uint64 { return a.withoutCredentials.Load() }
