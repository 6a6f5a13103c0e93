package wechattest

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

type controlIssue struct {
	Issue
	SHA256    string `json:"sha256"`
	Started   stamp  `json:"started"`
	Finished  stamp  `json:"finished"`
	IssuedAt  stamp  `json:"issued_at"`
	ExpiresAt stamp  `json:"expires_at"`
	DiesAt    stamp  `json:"dies_at"`
}

func (i Issue) public() controlIssue {
	return controlIssue{i, i.SHA256(), stamp(i.Started), stamp(i.Finished), stamp(i.IssuedAt), stamp(i.ExpiresAt), stamp(i.DiesAt)}
}

type controlCall struct {
	Call
	Started  stamp `json:"started"`
	Finished stamp `json:"finished"`
}

func (c Call) public() controlCall { return controlCall{c, stamp(c.Started), stamp(c.Finished)} }

// since returns a controller that shows a history: what came after the number in
// ?after=, of the account in ?appid= if there is one.
func since[T, U any](history func(*Server) []T, key func(T) (n int, appID string), show func(T) U) controller {
	return func(s *Server, req *http.Request) (any, error) {
		q := req.URL.Query()
		after, err := strconv.Atoi(cmp.Or(q.Get("after"), "0"))
		if err != nil {
			return nil, fmt.Errorf("after must be a number, not %q", q.Get("after"))
		}
		out := []U{}
		for _, t := range history(s) {
			if n, appID := key(t); n > after && appID == cmp.Or(q.Get("appid"), appID) {
				out = append(out, show(t))
			}
		}
		return out, nil
	}
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
func (s *Server) controlJudge(_ *http.Request, q struct {
	Tokens []string  `json:"tokens"`
	At     time.Time `json:"at"`
}) (any, error) {
	if q.At.IsZero() {
		q.At = s.Now()
	}
	out := make([]verdict, 0, len(q.Tokens))
	for _, token := range q.Tokens {
		v := verdict{Asked: token}
		if i, ok := s.Lookup(token); ok {
			v = s.judge(token, i, q.At)
		}
		out = append(out, v)
	}
	return out, nil
}

func (s *Server) judge(asked string, i Issue, at time.Time) verdict {
	last, _ := s.LastIssuedOn(i.AppID, i.Chain)
	shown := i.public()
	return verdict{asked, true, s.Accepts(i.Token, at), last.Seq == i.Seq, &shown}
}
