package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator"
)

// getToken answers GET /v1/tokens/{name}.
//
// Ten thousand requests may wait in here at a time, so it keeps little on its
// stack: the functions that need more have returned by then.
func (a *app) getToken(w http.ResponseWriter, r *request) int {
	account, err := a.permit(r, r.account)
	if err != nil {
		return a.fail(w, r, err)
	}
	params, err := parseWaitParams(r.URL.RawQuery)
	if err != nil {
		return a.fail(w, r, err)
	}
	var began time.Time // reading the clock is some percent of the whole request
	if params.hold {
		began = time.Now()
	}
	state := a.accounts.of(account)
	current, err := a.encoded(r, state, params.wait)
	switch {
	case err != nil:
		return a.fail(w, r, err)
	case !params.hold || current.generation > params.after:
		return a.writeToken(w, r, current)
	}
	left := params.wait - time.Since(began)
	if left <= 0 || a.stopping.Err() != nil {
		return a.writeUnchanged(w, r, current)
	}
	if !a.holding.acquire(r.caller.Name()) {
		return writeProblem(w, problemFull)
	}
	defer a.holding.Release(r.caller.Name())
	return a.hold(w, r, &state.poll, current, params.after, left)
}

// hold answers with a token newer than after, or as writeUnchanged does if there is
// none within d.
func (a *app) hold(w http.ResponseWriter, r *request, p *longPoll, current *response, after coordinator.Fence, d time.Duration) int {
	timer := time.NewTimer(d)
	defer timer.Stop()
	p.join(current)
	defer p.leave()
	revoked := r.caller.Revoked()
	for {
		newest, changed, err := p.state()
		switch {
		case r.caller.IsRevoked(): // first, because a token may have arrived as well
			return a.fail(w, r, errRevoked)
		case newest.generation > after:
			return a.writeToken(w, r, newest)
		case err != nil:
			return a.fail(w, r, err)
		}
		select {
		case <-changed:
		case <-revoked:
		case <-timer.C:
			return a.writeUnchanged(w, r, current)
		case <-a.stopping.Done():
			return a.writeUnchanged(w, r, current)
		case <-r.Context().Done():
			return statusGone
		}
	}
}

// encoded returns the current token as it is sent. It is not inlined, because of
// the stack of getToken.
//
//go:noinline
func (a *app) encoded(r *request, state *accountState, wait time.Duration) (*response, error) {
	s, err := a.current(r, state.cache.account, max(wait, time.Millisecond))
	if err != nil {
		return nil, err
	}
	return state.cache.encode(s), nil
}

// current returns the account's token, almost always from memory. A request that
// has to wait for the first one counts as a waiting request.
func (a *app) current(r *request, account *coordinator.Account, wait time.Duration) (coordinator.Snapshot, error) {
	if s, ok := account.Peek(); ok {
		return s, nil
	}
	return a.awaitFirst(r, account, wait)
}

// awaitFirst is not inlined, because of the stack of getToken.
//
//go:noinline
func (a *app) awaitFirst(r *request, account *coordinator.Account, wait time.Duration) (coordinator.Snapshot, error) {
	if !a.holding.acquire(r.caller.Name()) {
		return coordinator.Snapshot{}, errFull
	}
	defer a.holding.Release(r.caller.Name())
	ctx, cancel := r.waitContext(wait)
	defer cancel()
	defer context.AfterFunc(a.stopping, cancel)()
	s, err := account.Current(ctx)
	if r.caller.IsRevoked() {
		return coordinator.Snapshot{}, errRevoked
	}
	return s, err
}

// writeToken writes a token, or 304 if the client has it already.
func (a *app) writeToken(w http.ResponseWriter, r *request, resp *response) int {
	h := w.Header()
	h["Cache-Control"], h["Etag"] = noStore, resp.etag
	if tags := r.Header["If-None-Match"]; tags != nil && r.Method != http.MethodPost && matches(tags, resp.etag[0]) && !r.caller.Phantom() {
		w.WriteHeader(http.StatusNotModified)
		return http.StatusNotModified
	}
	resp, err := a.forCaller(r, resp)
	if err != nil {
		return a.fail(w, r, err)
	}
	a.served(resp.stale)
	body, length := resp.body, resp.length
	if r.caller.Phantom() {
		length = []string{strconv.Itoa(len(body))}
	}
	if n := resp.useForBy(r.caller.Told()); n != resp.useFor {
		body = resp.bodyFor(n)
		length = []string{strconv.Itoa(len(body))}
	}
	h["Content-Type"], h["Content-Length"] = typeJSON, length
	_, _ = w.Write(body) // fails if the client has gone
	return http.StatusOK
}

func matches(header []string, tag string) bool {
	for _, line := range header {
		for one := range strings.SplitSeq(line, ",") {
			one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
			if one == tag || one == "*" {
				return true
			}
		}
	}
	return false
}

// writeUnchanged answers that there is no newer token. A caller of phantoms gets
// another one of the same generation: the one that it has may have ended, by its age
// or with the password it was made with, and the generation does not tell.
func (a *app) writeUnchanged(w http.ResponseWriter, r *request, current *response) int {
	if r.caller.Phantom() {
		return a.writeToken(w, r, current)
	}
	h := w.Header()
	h["Cache-Control"], h["Etag"] = noStore, current.etag
	w.WriteHeader(http.StatusNotModified)
	return http.StatusNotModified
}

type waitParams struct {
	after coordinator.Fence
	wait  time.Duration
	hold  bool // after is given: only a newer token is an answer
}

func parseWaitParams(query string) (waitParams, error) {
	p := waitParams{wait: firstToken}
	if query == "" {
		return p, nil
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return p, badRequestf("the query string is not well-formed")
	}
	if given := values["wait"]; given != nil {
		if p.wait, err = parseWait(given); err != nil {
			return p, err
		}
	}
	given := values["after"]
	if given == nil {
		return p, nil
	}
	if values["wait"] == nil {
		p.wait = 0
	}
	p.hold = true
	n, err := strconv.ParseUint(given[0], 10, 64)
	if err != nil || len(given) > 1 {
		return p, badRequestf("after: must be one generation, a whole number such as the last answer had")
	}
	p.after = coordinator.Fence(n)
	return p, nil
}

func parseWait(given []string) (time.Duration, error) {
	d, err := time.ParseDuration(given[0])
	if n, notNumber := strconv.ParseUint(given[0], 10, 16); notNumber == nil {
		d, err = time.Duration(n)*time.Second, nil
	}
	if err != nil || d < 0 || d > maxWait || len(given) > 1 {
		return 0, badRequestf("wait: must be one duration from 0s to %ds, such as 30s", int(maxWait.Seconds()))
	}
	return min(d, maxHeld), nil
}

// past has ended: Current returns with it what is known, and waits for nothing.
var past = sync.OnceValue(func() context.Context {
	ctx, cancel := context.WithDeadline(context.Background(), time.Time{})
	cancel()
	return ctx
})

// Answer returns the body of GET /v1/tokens/{name} for a caller who may have that
// account's token, from memory. The server of datagrams answers the caller with it.
func (a *app) Answer(caller auth.Caller, account string) []byte {
	found, ok := a.zk.Account(account)
	if !ok {
		return a.errorBody(coordinator.ErrUnknownAccount)
	}
	s, err := found.Current(past())
	if err != nil {
		return a.errorBody(err)
	}
	resp := a.accounts.of(found).cache.encode(s)
	if _, err := a.handOut(caller, account, resp.token); err != nil {
		return a.errorBody(err)
	}
	a.served(resp.stale)
	resp.reads.count(caller.Name(), resp.at)
	if n := resp.useForBy(caller.Told()); n != resp.useFor {
		return resp.bodyFor(n)
	}
	return resp.body
}

// errorBody returns an error as a datagram has it. A client repeats its question after
// no_token and store_unreachable: so one of them is the code while a token may come soon.
func (a *app) errorBody(err error) []byte {
	waiting := errors.Is(err, coordinator.ErrNoToken)
	if down := a.zk.StoreError(); waiting && down != nil {
		err = down // the account may not have been read since the store went away
	}
	p := problemOf(context.Background(), err)
	if waiting && (p.code == "refused" || p.code == "no_grant") {
		p.code = "no_token"
	}
	a.logProblem(context.Background(), p, err, "datagram")
	body, _ := json.Marshal(wire.Error{Code: p.code, Message: p.message}) // cannot fail
	return append(body, '\n')
}
