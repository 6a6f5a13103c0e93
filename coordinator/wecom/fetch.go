package wecom

import (
	"net/url"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
)

// endpoint is how a kind is asked for.
type endpoint struct {
	path     string
	member   string // of the answer, which has the value
	classify func(code int) wechat.Class
	ofParent string                 // what it needs the parent's token as; "": the kind is no child
	grant    coordinator.GrantRules // what it presents besides
}

func (k Kind) endpoint() endpoint {
	pushed := coordinator.GrantRules{Needed: true, Replay: coordinator.ReplayFree, Received: true}
	durable := coordinator.GrantRules{Needed: true, Replay: coordinator.ReplayFree}
	switch k {
	case Provider:
		return endpoint{path: "/cgi-bin/service/get_provider_token", member: "provider_access_token", classify: Classify}
	case JSAPITicket:
		return endpoint{path: "/cgi-bin/get_jsapi_ticket", member: "ticket", classify: ClassifyTicket, ofParent: "access_token"}
	case AgentTicket:
		return endpoint{path: "/cgi-bin/ticket/get", member: "ticket", classify: ClassifyTicket, ofParent: "access_token"}
	case SuiteToken:
		return endpoint{path: "/cgi-bin/service/get_suite_token", member: "suite_access_token", classify: ClassifySuite, grant: pushed}
	case SuiteCorp:
		return endpoint{
			path: "/cgi-bin/service/get_corp_token", member: "access_token", classify: ClassifySuite, ofParent: "suite_access_token", grant: durable,
		}
	case CustomApp:
		return endpoint{path: "/cgi-bin/gettoken", member: "access_token", classify: classifyCustomApp, grant: durable}
	default:
		return endpoint{path: "/cgi-bin/gettoken", member: "access_token", classify: Classify}
	}
}

// request returns what is asked for a kind.
func (s *Source) request(req coordinator.FetchRequest) request {
	q := request{
		endpoint: s.kind.endpoint(), query: s.kind.query(req.Parent.Token), sendBefore: req.SendBefore,
		secrets: []string{s.secret, req.Current.Reveal(), req.Parent.Token.Reveal(), req.Grant.Token.Reveal()},
	}
	switch grant := req.Grant.Token.Reveal(); s.kind {
	case Provider:
		q.body = map[string]string{"corpid": s.id, "provider_secret": s.secret}
	case SuiteToken:
		q.body = map[string]string{"suite_id": s.id, "suite_secret": s.secret, "suite_ticket": grant}
	case SuiteCorp:
		q.body = map[string]string{"auth_corpid": s.id, "permanent_code": grant}
	case CustomApp:
		q.query = url.Values{"corpid": {s.id}, "corpsecret": {grant}}
	case App:
		q.query = url.Values{"corpid": {s.id}, "corpsecret": {s.secret}}
	}
	return q
}

// query returns the query of a child, nil for a kind that is none.
func (k Kind) query(parent coordinator.Token) url.Values {
	e := k.endpoint()
	if e.ofParent == "" {
		return nil
	}
	query := url.Values{e.ofParent: {parent.Reveal()}}
	if k == AgentTicket {
		query.Set("type", "agent_config")
	}
	return query
}

// result plans the next request for the end of a value that has less than a period left:
// asked before, WeCom answers the same value. The record of a value that is seen first is
// withdrawn before that end, so WeCom is asked before the withdrawal. It repeats the value,
// whose record then lasts beyond the next request: see [coordinator.RepeatSame].
func (s *Source) result(a answer, current coordinator.Token) coordinator.FetchResult {
	const after = time.Second // expires_in is rounded down
	r := coordinator.FetchResult{Token: coordinator.NewToken(a.value), Lifetime: a.life, Calls: 1}
	switch {
	case a.life == 0:
		r.Lifetime, r.Doubt = source.CautiousLife, "a value without a plausible expires_in"
	case a.life > s.every():
	case r.Token.Equal(current):
		r.RefreshIn = a.life + after
	default:
		r.RefreshIn = a.life - 2*coordinator.Margin(a.life)
	}
	return r
}

// refusal remembers that WeCom refused the credential. The store does so for all
// processes, but of one credential and not for a refresh that is forced. Two processes
// with different wrong secrets would send theirs by turns, and a service that forces a
// refresh whenever it has no token would send one a minute.
type refusal struct {
	mu    sync.Mutex // guards what follows
	last  *coordinator.FetchError
	until time.Time
}

// standing returns the refusal while the credential must not be sent again.
func (r *refusal) standing() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	left := time.Until(r.until)
	if r.last == nil || left <= 0 {
		return nil
	}
	again := *r.last
	again.RetryIn, again.Calls = left, 0
	return &again
}

// note takes in how a call ended.
func (r *refusal) note(err *coordinator.FetchError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = nil
	if err != nil && err.Kind == coordinator.FailedRefused && err.RetryIn > 0 {
		r.last, r.until = err, time.Now().Add(err.RetryIn)
	}
}
