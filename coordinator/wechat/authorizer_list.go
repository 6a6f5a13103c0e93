package wechat

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
)

// listInterval is the least time between two readings of the list in one process, so that
// thousands of authorizers whose refresh tokens have become invalid do not use up the
// day's calls.
const listInterval = 5 * time.Minute

// listPage is the greatest count of api_get_authorizer_list, and listBody the length in
// bytes that such a page does not reach.
const (
	listPage = 500
	listBody = 1 << 20
)

// listed is an authorizer in WeChat's list.
type listed struct {
	appID   string
	refresh string // "": its code was never exchanged
	at      time.Time
}

// authorizerList is WeChat's list of the authorizers of a platform, as it was read last.
type authorizerList struct {
	platform string

	reading chan struct{} // holds one while the list is read

	mu      sync.Mutex // guards what follows
	listed  map[string]listed
	begun   time.Time // when the list began to be read
	asked   time.Time // when it was asked for last, also in vain
	failed  *coordinator.FetchError
	retryAt time.Time // after failed
	wanted  bool
}

func newAuthorizerList(platform string) *authorizerList {
	return &authorizerList{platform: platform, reading: make(chan struct{}, 1)}
}

// want notes that an authorization was found to have ended.
func (l *authorizerList) want() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wanted = true
}

// isWanted reports whether want was called since the list was read, and it may be asked for
// again.
func (l *authorizerList) isWanted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.wanted && time.Since(l.asked) >= listInterval
}

// lookUp returns an authorizer's refresh token, "" if the list has none. It reads the list, unless that was done less than listInterval
// ago; then the list may be older than the authorization, and only a token other than the
// one that was rejected counts.
func (l *authorizerList) lookUp(
	ctx context.Context, f *fetch, component coordinator.Token, appID, rejected string,
) (string, *coordinator.FetchError) {
	asked := time.Now()
	all, begun, fresh, err := l.read(ctx, f, component)
	if err != nil {
		return "", err
	}
	refresh := all[appID].refresh
	switch {
	case refresh != "" && refresh != rejected:
		return refresh, nil
	case !fresh && !begun.After(asked):
		return "", f.failed(&coordinator.FetchError{
			Kind:    coordinator.FailedLater,
			RetryIn: max(listInterval-asked.Sub(begun), time.Second),
			Message: "WeChat's list of authorizers, where the refresh token may be, was read a short time ago",
		})
	}
	return refresh, nil
}

// read reads the list with all its pages, or returns what was read less than listInterval
// ago, and when the reading began; fresh reports whether it was read now. The map is not
// changed any more.
func (l *authorizerList) read(
	ctx context.Context, f *fetch, component coordinator.Token,
) (all map[string]listed, begun time.Time, fresh bool, _ *coordinator.FetchError) {
	select {
	case l.reading <- struct{}{}:
		defer func() { <-l.reading }()
	case <-ctx.Done():
		return nil, time.Time{}, false, f.failed(&coordinator.FetchError{
			Kind: coordinator.FailedBusy, Message: "WeChat's list of authorizers is being read", Err: context.Cause(ctx),
		})
	}
	if all, begun, err, known := l.recent(); known {
		return all, begun, false, err
	}
	begun = time.Now()
	all, err := l.pages(ctx, f, component)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil || err.Kind != coordinator.FailedParent { // else the next component_access_token is tried
		l.asked = begun
	}
	if err != nil {
		l.failed, l.retryAt = err, begun.Add(max(err.RetryIn, 10*time.Second))
		return nil, begun, true, err
	}
	l.listed, l.begun, l.failed, l.wanted = all, begun, nil, false
	return all, begun, true, nil
}

// recent returns the list if it need not be read again. A failure is repeated for a while.
func (l *authorizerList) recent() (all map[string]listed, begun time.Time, err *coordinator.FetchError, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch now := time.Now(); {
	case l.failed != nil && now.Before(l.retryAt) && l.failed.Kind != coordinator.FailedParent:
		again := *l.failed
		again.Calls, again.RetryIn = 0, l.retryAt.Sub(now)
		return nil, time.Time{}, &again, true
	case l.listed != nil && now.Sub(l.begun) < listInterval:
		return l.listed, l.begun, nil, true
	}
	return nil, time.Time{}, nil, false
}

func (l *authorizerList) pages(ctx context.Context, f *fetch, component coordinator.Token) (map[string]listed, *coordinator.FetchError) {
	all := make(map[string]listed)
	for offset := 0; ; offset += listPage {
		page, total, err := l.page(ctx, f, component, offset)
		if err != nil {
			return nil, err
		}
		for _, a := range page {
			all[a.appID] = a
		}
		if len(page) == 0 || offset+listPage >= total {
			return all, nil
		}
	}
}

// page reads one page of the list.
func (l *authorizerList) page(
	ctx context.Context, f *fetch, component coordinator.Token, offset int,
) (page []listed, total int, _ *coordinator.FetchError) {
	q := request{path: componentPath + "api_get_authorizer_list", idempotent: true, maxBody: listBody, query: componentQuery(component), body: struct {
		Platform string `json:"component_appid"`
		Offset   int    `json:"offset"`
		Count    int    `json:"count"`
	}{l.platform, offset, listPage}}
	r, failure := f.exchange(ctx, q)
	if failure != nil {
		return nil, 0, failure
	}
	page, total, err := readPage(r.Body)
	if err == nil && r.Status == http.StatusOK {
		return page, total, nil
	}
	if said, err := parseAnswer(q.member, r.Body); err == nil && said.code != 0 {
		return nil, 0, f.refused(r, newError(said.code, httpsource.Scrub(said.message, f.secrets...), r.Status))
	}
	failure = f.unclear(q, r, errors.New("no list of authorizers"))
	if failure.Kind == coordinator.FailedUnknown && !f.unknown { // a list issues nothing
		failure.Kind = coordinator.FailedBusy
	}
	return nil, 0, failure
}

// readPage reads a page of the list. Its error does not quote the page, which has refresh
// tokens.
func readPage(body []byte) ([]listed, int, error) {
	var page struct {
		Total *json.RawMessage `json:"total_count"`
		List  []struct {
			AppID   string          `json:"authorizer_appid"`
			Refresh string          `json:"refresh_token"`
			At      json.RawMessage `json:"auth_time"`
		} `json:"list"`
	}
	body, tooLong := source.Plain(body, listBody)
	if err := json.Unmarshal(body, &page); err != nil || page.Total == nil {
		return nil, 0, cmp.Or(tooLong, errors.New("not a list"))
	}
	total, _, err := source.Number(*page.Total)
	if err != nil {
		return nil, 0, errors.New("not a list")
	}
	all := make([]listed, 0, len(page.List))
	for _, a := range page.List {
		seconds, _, _ := source.Number(a.At) // 0: not known
		all = append(all, listed{a.AppID, a.Refresh, time.Unix(int64(seconds), 0)})
	}
	return all, int(total), nil
}
