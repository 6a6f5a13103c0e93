package wechattest

import (
	"encoding/json"
	"regexp"
	"time"
)

const (
	ridLife = 7 * 24 * time.Hour
	maxRIDs = 10_000
)

// ridLog keeps requests by their rid, for rid/get. Guarded by Server.mu.
type ridLog struct {
	entries map[string]ridEntry
	order   []string // the oldest first
}

type ridEntry struct {
	appID  string
	at     time.Time
	path   string
	body   string
	answer string
	from   string
}

func newRIDLog() *ridLog { return &ridLog{entries: make(map[string]ridEntry)} }

// answered records a request. Of token calls it keeps neither the query nor the
// answer, which WeChat masks.
func (l *ridLog) answered(r *request, out reply) {
	e := ridEntry{appID: r.appID, at: r.now, path: r.path, from: r.from}
	if !r.recorded() {
		e.body, e.answer = string(r.body), string(out.body)
	}
	l.entries[r.rid] = e
	l.order = append(l.order, r.rid)
	if len(l.order) > maxRIDs {
		delete(l.entries, l.order[0])
		l.order = l.order[1:]
	}
}

func (s *Server) getRID(r *request, a *account) reply {
	var q struct {
		RID string `json:"rid"`
	}
	_ = json.Unmarshal(r.body, &q) // a body that is not JSON names no rid
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$`).MatchString(q.RID) {
		return s.refuse(r, codeBadRID)
	}
	e, ok := s.rids.entries[q.RID]
	switch {
	case !ok || r.now.Sub(e.at) > ridLife:
		return s.refuse(r, codeNoSuchRID)
	case e.appID != "" && e.appID != a.AppID:
		return s.refuse(r, codeForeignRID)
	}
	type request struct {
		InvokeTime int64  `json:"invoke_time"`
		Cost       int    `json:"cost_in_ms"`
		URL        string `json:"request_url"`
		Body       string `json:"request_body"`
		Response   string `json:"response_body"`
		ClientIP   string `json:"client_ip"`
	}
	return s.json(r, struct {
		errorBody
		Request request `json:"request"`
	}{errorBody{0, "ok"}, request{e.at.Unix(), 30, e.path, e.body, e.answer, e.from}})
}
