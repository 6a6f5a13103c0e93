package wechattest

import (
	"crypto/sha1" //nolint:gosec // WeChat's algorithm
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	pathTicket   = "/cgi-bin/ticket/getticket"
	ticketLength = 86
)

// getTicket returns the same ticket until it expires or was retired.
func (s *Server) getTicket(r *request, a *account) reply {
	c := Chain(r.query.Get("type"))
	if !slices.Contains([]Chain{JSAPIChain, CardChain, AppChain}, c) {
		return s.refuse(r, s.knobs.TicketTypeCode)
	}
	current := a.chain(c).current(r.now)
	if current == nil || current.retired || !r.now.Before(current.ExpiresAt) {
		current = s.mintLocked(a, c, r.call, r.now)
	}
	r.call.Seq = current.Seq
	left := s.knobs.TicketTTL
	if s.knobs.TicketExpiry == TicketDecreasing {
		left = current.ExpiresAt.Sub(r.now)
	}
	return s.json(r, struct {
		errorBody
		Ticket    string `json:"ticket"`
		ExpiresIn int    `json:"expires_in"`
	}{errorBody{0, "ok"}, current.Token, int(left / time.Second)})
}

// retire makes the next call get another than the newest ticket, which stays valid for
// overlap.
func (c *chain) retire(now time.Time, overlap time.Duration, cause Cause) (Issue, bool) {
	i := c.current(now)
	if i == nil || i.retired {
		return Issue{}, false
	}
	i.retired = true
	i.end(now.Add(overlap), cause)
	return i.Issue, true
}

// Signed is what a page passes to wx.config with its URL, or the parameters of a card.
type Signed struct {
	AppID     string `json:"appid"` // "": of any account
	Signature string `json:"signature"`

	URL       string `json:"url"` // without "#" and what follows
	NonceStr  string `json:"noncestr"`
	Timestamp int64  `json:"timestamp"`

	Card []string `json:"card"` // the values of a card's parameters, in any order; nil: a page
}

// SignedWith returns the ticket that a signature was made with, whether it is valid or
// not. False: it is not the signature of this page, or card, with any ticket of the
// account.
func (s *Server) SignedWith(q Signed) (Issue, bool) {
	kind := JSAPIChain
	if q.Card != nil {
		kind = CardChain
	}
	return s.last(func(i *issued) bool {
		return i.Chain == kind && (q.AppID == "" || q.AppID == i.AppID) && q.signature(i.Token) == q.Signature
	})
}

// signature is computed here, and not by package wechat, because it judges that package.
func (q Signed) signature(ticket string) string {
	text := "jsapi_ticket=" + ticket + "&noncestr=" + q.NonceStr + "&timestamp=" + strconv.FormatInt(q.Timestamp, 10) + "&url=" + q.URL
	if q.Card != nil {
		text = strings.Join(slices.Sorted(slices.Values(append([]string{ticket}, q.Card...))), "")
	}
	sum := sha1.Sum([]byte(text)) //nolint:gosec // WeChat's algorithm
	return hex.EncodeToString(sum[:])
}

// controlVerify says what WeChat would say of a signature at an instant, by default now,
// and which ticket it was made with.
func (s *Server) controlVerify(_ *http.Request, q struct {
	Signed
	At time.Time `json:"at"`
}) (any, error) {
	if q.At.IsZero() {
		q.At = s.Now()
	}
	answer := struct {
		OK      bool   `json:"ok"`
		Message string `json:"errmsg"`
		verdict
	}{Message: "invalid signature", verdict: verdict{Asked: q.Signature}}
	if i, ok := s.SignedWith(q.Signed); ok {
		answer.verdict = s.judge(q.Signature, i, q.At)
		answer.OK = answer.Accepted
	}
	if answer.OK {
		answer.Message = "ok"
	}
	return answer, nil
}
