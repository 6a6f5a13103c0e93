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
func (a *API) getToken(w http.ResponseWriter, r *request) int {
	account, refused := a.permit(r, r.account)
	if refused != nil {
		return answerProblem(w, *refused)
	}
	wish := patience{wait: firstToken}
	if r.URL.RawQuery != "" {
		var err error
		if wish, err = parsePatience(r.URL.RawQuery); err != nil {
			return a.fail(w, r, err)
		}
	}
	d := a.desks.of(account, a.zk.Accounts)
	if wish.holds {
		return a.hold(w, r, d, wish)
	}
	s, err := a.current(r, account, wish.wait)
	if err != nil {
		return a.fail(w, r, err)
	}
	return a.answerRecord(w, r, d.encode(s))
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
	h["Content-Type"], h["Content-Length"] = typeJSON, with.length
	_, _ = w.Write(with.body) // the client has gone: nobody to tell
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
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	defer context.AfterFunc(a.stopping, cancel)()
	return account.Current(ctx)
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
	return d, nil
}

// hold answers with a token newer than wish.after, 304 if none comes in time.
func (a *API) hold(w http.ResponseWriter, r *request, d *desk, wish patience) int {
	began := time.Now()
	s, err := a.current(r, d.account, max(wish.wait, time.Millisecond))
	switch {
	case err != nil:
		return a.fail(w, r, err)
	case s.Generation > wish.after:
		return a.answerRecord(w, r, d.encode(s))
	}
	left := wish.wait - time.Since(began)
	if left <= 0 || a.stopping.Err() != nil {
		return answerNotModified(w, d.encode(s))
	}
	if !a.holding.take(r.caller.Name()) {
		return answerProblem(w, problemFull)
	}
	defer a.holding.give(r.caller.Name())
	return a.wait(w, r, d, wish.after, s, left)
}

// wait is the part of hold that ten thousand may be in at a time: it keeps
// nothing but a timer.
func (a *API) wait(w http.ResponseWriter, r *request, d *desk, after coordinator.Fence, s coordinator.Snapshot, left time.Duration) int {
	timer := time.NewTimer(left)
	defer timer.Stop()
	d.vigil.join(s)
	defer d.vigil.leave()
	for {
		o, news := d.vigil.look()
		switch {
		case o.snapshot.Generation > after:
			return a.answerRecord(w, r, d.encode(o.snapshot))
		case o.err != nil:
			return a.fail(w, r, o.err)
		}
		select {
		case <-news:
		case <-timer.C:
			return answerNotModified(w, d.encode(s))
		case <-a.stopping.Done():
			return answerNotModified(w, d.encode(s))
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
