package oauth

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
)

// This file is what differs when the request presents a refresh token: presenting one
// may use it up, so it matters whether it was sent, and what a refusal says about it.

// noGrant is what a refusal of a refresh token means.
const noGrant = "the refresh token is not accepted: it was used before, has ended, or was revoked"

// present puts the refresh token into a request.
func present(m *message, form url.Values, req coordinator.FetchRequest) {
	token := req.Grant.Token.Reveal()
	form.Set("grant_type", "refresh_token")
	form.Set("refresh_token", token)
	m.secrets = append(m.secrets, token)
	m.sendBefore = req.SendBefore
}

var errTooLate = errors.New("not sent: the deadline of the attempt has passed")

// bounded makes the body of a request fail if it is read from an instant on: connecting
// may have taken long. late reports whether that has happened, so that nothing was sent
// but perhaps headers. The zero instant: there is no bound.
func bounded(req *http.Request, before time.Time) (late func() bool) {
	if before.IsZero() {
		return func() bool { return false }
	}
	b := &body{ReadCloser: req.Body, left: req.ContentLength, before: before}
	req.Body, req.GetBody = b, nil
	return b.refused.Load
}

// body is that of a bounded request.
type body struct {
	io.ReadCloser
	left    int64
	before  time.Time
	refused atomic.Bool
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	// While a machine sleeps, the monotonic clock may stand still, and the other one does not.
	now := time.Now()
	if b.left > 0 && (!now.Before(b.before) || !now.Round(0).Before(b.before.Round(0))) {
		b.refused.Store(true)
		return 0, errTooLate
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	return n, err
}

// describe returns what is known of the issuer. A refresh token that is used up each time
// is presented as seldom as possible.
func (c Config) describe(repeat coordinator.Repeat) coordinator.Description {
	d := describe(repeat)
	if limits := c.profile.Limits; limits.PerDay > 0 {
		d.Limits.PerDay, d.Limits.Reserve, d.Limits.Window = limits.PerDay, 0, limits.Window.Duration()
	}
	if c.Grant != RefreshToken {
		return d
	}
	d.Grant.Needed = true
	d.Grant.Replay, _ = ParseReplay(c.Replay) // is valid
	if d.Grant.Replay != coordinator.ReplayFree {
		d.RefreshEvery = 24 * time.Hour // what a configuration allows
		d.Limits.MinInterval = max(d.Limits.MinInterval, 30*time.Second)
	}
	return d
}

// classify returns the class of a refusal.
func (t *tokenRequest) classify(said *Error) Class {
	class := Classify(said.Code, said.Status)
	text := strings.ToLower(said.Description)
	switch {
	case class.Kind != coordinator.FailedRefused, said.Code == "invalid_grant":
	case strings.Contains(text, "not expired"): // Exact
		class = Class{Code: said.Code, Kind: coordinator.FailedLater, RetryIn: tooEarly, Meaning: "the issuer does not refresh yet"}
	case strings.Contains(text, "too many requests"): // Zoho
		class = classifyStatus(http.StatusTooManyRequests)
		class.Code, class.RetryIn = said.Code, cmp.Or(t.config.profile.Limits.Window.Duration(), class.RetryIn)
	}
	if t.config.Grant != RefreshToken {
		return class
	}
	if class.Kind == coordinator.FailedRefused && (slices.Contains(t.config.profile.GrantCodes, said.Code) || said.namesToken()) {
		class = Class{Code: said.Code, Kind: coordinator.FailedGrant, Meaning: noGrant}
	}
	return class.presented(said.Status)
}

// namesToken reports whether a refusal names the refresh token as its reason although its
// word is one of the client or of the request. The phrases are whole ones, because the
// same issuers say with the same words that the client may not use the grant.
func (e *Error) namesToken() bool {
	if e.Code != "unauthorized_client" && e.Code != "invalid_request" {
		return false
	}
	text := strings.ReplaceAll(strings.ToLower(e.Description), "_", " ")
	return !strings.Contains(text, "grant type") && slices.ContainsFunc([]string{
		"old refresh token used",                 // Exact
		"refresh token expired",                  // Exact
		"refresh token has expired",              //
		"refresh token is expired",               //
		"refresh token is invalid",               // Atlassian, Databricks
		"invalid refresh token",                  //
		"value passed for the token was invalid", // X
	}, func(phrase string) bool { return strings.Contains(text, phrase) })
}

// tooEarly is the wait after an answer that it is too early to refresh.
const tooEarly = 30 * time.Second

// presented returns the class for a request that presented a refresh token: an issuer
// that fails may have used the token up before, whatever it says.
func (c Class) presented(status int) Class {
	switch {
	case status/100 == 5 && c.Kind != coordinator.FailedLater:
		c.Kind, c.Hint = coordinator.FailedUnknown, ""
	case c.Code == "invalid_grant" && c.Kind == coordinator.FailedRefused:
		return Class{Code: c.Code, Kind: coordinator.FailedGrant, Meaning: noGrant}
	case c.Kind != coordinator.FailedBusy:
		return c
	case status == http.StatusFound, status == http.StatusSeeOther, status/100 != 3 && c.Code != "":
		c.Kind = coordinator.FailedUnknown
	}
	return c
}

// granted reads the successor of the refresh token, and how long it lives.
func (t *tokenRequest) granted(g *grant, m members) {
	g.refresh = coordinator.NewToken(m.text("refresh_token"))
	g.grantIdle = t.config.profile.Idle.Duration()
	for _, name := range lifeNames()[1:] {
		if life := m.seconds(name); life > 0 && t.config.profile.ExpiresInIsEnd {
			g.grantEnds = life
		} else if life > 0 {
			g.grantIdle = life
		}
	}
	g.grantEnds = cmp.Or(m.seconds(lifeNames()[0]), g.grantEnds)
}

// lifeNames returns the members by which issuers tell how long a grant lives: the first,
// altogether, the others, if it is not used.
func lifeNames() []string {
	return []string{"x_refresh_token_hard_expires_in", "refresh_token_expires_in", "x_refresh_token_expires_in", "refresh_expires_in"}
}

// seconds reads a member that is a number of seconds; 0: there is none.
func (m members) seconds(name string) time.Duration {
	seconds, _, err := source.Number(m[name])
	if err != nil || seconds < 1 {
		return 0
	}
	return time.Duration(min(seconds, longestGrant.Seconds())) * time.Second
}

// longestGrant is far beyond any issuer's, and within a time.Duration.
const longestGrant = 100 * 365 * 24 * time.Hour

// plan says when the issuer refreshes again, if it does not at any time. If the record were
// withdrawn by then, the access token is served to its very end: the issuer gives no other.
func (t *tokenRequest) plan(g *grant) {
	const margin = 5 * time.Second
	if earliest := t.config.profile.Earliest.Duration(); earliest > 0 && earliest+margin < g.life {
		g.refreshIn = earliest + margin
		if withdrawn := coordinator.Margin(g.life); g.refreshIn >= g.life-withdrawn {
			g.life += withdrawn
		}
	}
}
