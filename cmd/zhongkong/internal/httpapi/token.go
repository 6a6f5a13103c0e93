package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// getToken answers GET /v1/tokens/{name}.
//
// Ten thousand may be held in here at a time, so it keeps little on its stack:
// what is large is done in functions that have returned by then.
func (a *API) getToken(w http.ResponseWriter, r *request) int {
	d, wish, refused := a.lookFor(r)
	if refused != nil {
		return answerProblem(w, *refused)
	}
	var began time.Time // a look at the clock is some percent of the whole answer
	if wish.holds {
		began = time.Now()
	}
	with, err := a.atHand(r, d, wish.wait)
	switch {
	case err != nil:
		return a.fail(w, r, err)
	case !wish.holds || with.generation > wish.after:
		return a.answerRecord(w, r, with)
	}
	left := wish.wait - time.Since(began)
	if left <= 0 || a.stopping.Err() != nil {
		return answerNotModified(w, with)
	}
	if !a.holding.take(r.caller.Name()) {
		return answerProblem(w, problemFull)
	}
	defer a.holding.give(r.caller.Name())
	return a.hold(w, r, &d.vigil, with, wish.after, left)
}

// lookFor returns the account's desk, if the caller may have it, and what it
// wishes.
func (a *API) lookFor(r *request) (*desk, patience, *problem) {
	wish := patience{wait: firstToken}
	account, refused := a.permit(r, r.account)
	if refused != nil {
		return nil, wish, refused
	}
	if r.URL.RawQuery != "" {
		var err error
		if wish, err = parsePatience(r.URL.RawQuery); err != nil {
			p := problemOf(r.Context(), err)
			return nil, wish, &p
		}
	}
	return a.desks.of(account, a.zk.Accounts), wish, nil
}

// atHand is current, encoded.
//
//go:noinline
func (a *API) atHand(r *request, d *desk, wait time.Duration) (*answer, error) {
	s, err := a.current(r, d.account, max(wait, time.Millisecond))
	if err != nil {
		return nil, err
	}
	return d.encode(s), nil
}

// answerRecord writes a record, or that the caller has it already.
func (a *API) answerRecord(w http.ResponseWriter, r *request, with *answer) int {
	h := w.Header()
	h["Cache-Control"], h["Etag"] = noStore, with.etag
	if known := r.Header["If-None-Match"]; known != nil && r.Method != http.MethodPost && matches(known, with.etag[0]) {
		w.WriteHeader(http.StatusNotModified)
		return http.StatusNotModified
	}
	if with.stale {
		a.counts.stale.Add(1)
	}
	body, length := with.body, with.length
	if n := with.useForBy(r.caller.Told()); n != with.useFor {
		body = with.bodySaying(n)
		length = []string{strconv.Itoa(len(body))}
	}
	h["Content-Type"], h["Content-Length"] = typeJSON, length
	_, _ = w.Write(body) // the client has gone: nobody to tell
	return http.StatusOK
}

// matches reports whether an If-None-Match header names the tag.
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

// current returns the account's token, mostly from memory at once. Whoever has
// to wait for a first one takes a place among those who wait.
func (a *API) current(r *request, account *coordinator.Account, wait time.Duration) (coordinator.Snapshot, error) {
	if s, ok := account.Peek(); ok {
		return s, nil
	}
	if !a.holding.take(r.caller.Name()) {
		return coordinator.Snapshot{}, errFull
	}
	defer a.holding.give(r.caller.Name())
	ctx, cancel := r.wait(wait)
	defer cancel()
	defer context.AfterFunc(a.stopping, cancel)()
	s, err := account.Current(ctx)
	if isRevoked(r.caller) {
		return coordinator.Snapshot{}, errRevoked
	}
	return s, err
}

// patience is what a request says about waiting.
type patience struct {
	after coordinator.Fence
	wait  time.Duration
	holds bool // ?after= was given: only a newer token is an answer
}

func parsePatience(query string) (patience, error) {
	p := patience{wait: firstToken}
	values, err := url.ParseQuery(query)
	if err != nil {
		return p, badf("the query string is not well-formed")
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
	p.holds = true
	n, err := strconv.ParseUint(given[0], 10, 64)
	if err != nil || len(given) > 1 {
		return p, badf("after: must be one generation, a whole number such as the last answer had")
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
		return 0, badf("wait: must be one duration from 0s to %ds, such as 30s", int(maxWait.Seconds()))
	}
	return min(d, maxHeld), nil
}

// hold answers with a token newer than after; with 304 and the one that there
// is if none comes in time.
func (a *API) hold(w http.ResponseWriter, r *request, v *vigil, with *answer, after coordinator.Fence, left time.Duration) int {
	timer := time.NewTimer(left)
	defer timer.Stop()
	v.join(with)
	defer v.leave()
	revoked := r.caller.Revoked()
	for {
		newest, news, err := v.look()
		switch {
		case isRevoked(r.caller): // first: a token may have come, too
			return a.fail(w, r, errRevoked)
		case newest.generation > after:
			return a.answerRecord(w, r, newest)
		case err != nil:
			return a.fail(w, r, err)
		}
		select {
		case <-news:
		case <-revoked:
		case <-timer.C:
			return answerNotModified(w, with)
		case <-a.stopping.Done():
			return answerNotModified(w, with)
		case <-r.Context().Done():
			return statusGone
		}
	}
}

func answerNotModified(w http.ResponseWriter, with *answer) int {
	h := w.Header()
	h["Cache-Control"], h["Etag"] = noStore, with.etag
	w.WriteHeader(http.StatusNotModified)
	return http.StatusNotModified
}
