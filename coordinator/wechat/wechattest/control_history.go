package wechattest

import (
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
			out = append(out, controlCall{c, stamp(c.Started), stamp(c.Finished)})
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
