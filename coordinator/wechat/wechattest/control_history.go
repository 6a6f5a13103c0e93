package wechattest

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// controlIssue is an Issue as the control interface shows it.
type controlIssue struct {
	Seq       int    `json:"seq"`
	AppID     string `json:"appid"`
	Chain     Chain  `json:"chain"`
	Token     string `json:"access_token"`
	SHA256    string `json:"sha256"`
	Forced    bool   `json:"forced"`
	Call      int    `json:"call"`
	From      string `json:"from"`
	Started   stamp  `json:"started"`
	Finished  stamp  `json:"finished"`
	Delivered bool   `json:"delivered"`
	IssuedAt  stamp  `json:"issued_at"`
	ExpiresAt stamp  `json:"expires_at"`
	DiesAt    stamp  `json:"dies_at"`
	Cause     Cause  `json:"cause"`
}

func (i Issue) public() controlIssue {
	return controlIssue{
		Seq: i.Seq, AppID: i.AppID, Chain: i.Chain, Token: i.Token, SHA256: i.SHA256(), Forced: i.Forced,
		Call: i.Call, From: i.From, Started: stamp(i.Started), Finished: stamp(i.Finished), Delivered: i.Delivered,
		IssuedAt: stamp(i.IssuedAt), ExpiresAt: stamp(i.ExpiresAt), DiesAt: stamp(i.DiesAt), Cause: i.Cause,
	}
}

// controlCall is a Call as the control interface shows it.
type controlCall struct {
	ID        int    `json:"id"`
	Path      string `json:"path"`
	AppID     string `json:"appid"`
	From      string `json:"from"`
	Remote    string `json:"remote"`
	Host      string `json:"host"`
	UserAgent string `json:"user_agent"`
	Started   stamp  `json:"started"`
	Finished  stamp  `json:"finished"`
	Code      int    `json:"errcode"`
	Seq       int    `json:"seq"`
	Minted    bool   `json:"minted"`
	Forced    bool   `json:"forced"`
	Delivered bool   `json:"delivered"`
}

// window reads ?after= and ?appid=.
func window(req *http.Request) (after int, appID string, err error) {
	q := req.URL.Query()
	if text := q.Get("after"); text != "" {
		after, err = strconv.Atoi(text)
		if err != nil {
			return 0, "", fmt.Errorf("after must be a number, not %q", text)
		}
	}
	return after, q.Get("appid"), nil
}

func (s *Server) controlCalls(req *http.Request) (any, error) {
	after, appID, err := window(req)
	if err != nil {
		return nil, err
	}
	out := []controlCall{}
	for _, c := range s.Calls() {
		if c.ID > after && (appID == "" || c.AppID == appID) {
			out = append(out, controlCall{
				c.ID, c.Path, c.AppID, c.From, c.Remote, c.Host, c.UserAgent, stamp(c.Started), stamp(c.Finished),
				c.Code, c.Seq, c.Minted, c.Forced, c.Delivered,
			})
		}
	}
	return out, nil
}

func (s *Server) controlIssued(req *http.Request) (any, error) {
	after, appID, err := window(req)
	if err != nil {
		return nil, err
	}
	out := []controlIssue{}
	for _, i := range s.Issued() {
		if i.Seq > after && (appID == "" || i.AppID == appID) {
			out = append(out, i.public())
		}
	}
	return out, nil
}

// verdict describes one token at an instant.
type verdict struct {
	Asked    string `json:"asked"` // as in the request
	Known    bool   `json:"known"`
	Accepted bool   `json:"accepted"` // at the instant
	Last     bool   `json:"last"`     // no other was issued later on its chain
	*controlIssue
}

// controlJudge reports whether tokens, each given as its value or its SHA-256, were
// valid at an instant, by default now.
func (s *Server) controlJudge(req *http.Request) (any, error) {
	var q struct {
		Tokens []string  `json:"tokens"`
		At     time.Time `json:"at"`
	}
	if err := decode(req, &q); err != nil {
		return nil, err
	}
	if q.At.IsZero() {
		q.At = s.Now()
	}
	out := make([]verdict, 0, len(q.Tokens))
	for _, token := range q.Tokens {
		v := verdict{Asked: token}
		if i, ok := s.Lookup(token); ok {
			last, _ := s.LastIssuedOn(i.AppID, i.Chain)
			shown := i.public()
			v.Known, v.Accepted, v.Last, v.controlIssue = true, s.Accepts(token, q.At), last.Seq == i.Seq, &shown
		}
		out = append(out, v)
	}
	return out, nil
}
