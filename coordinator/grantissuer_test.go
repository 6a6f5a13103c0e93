package coordinator_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// grantIssuer rotates refresh tokens and kills a family when a token is presented that
// was used up, as issuers do.
type grantIssuer struct {
	rules    coordinator.GrantRules
	claims   coordinator.GrantRules // what its sources say that it does
	careless bool                   // its sources send after SendBefore
	siblings bool                   // a replay brings another token, not the same one
	leaves   bool                   // it never uses a token up, whatever its sources say
	life     time.Duration          // of an access token

	// What it says of a grant's life, from the answer on; 0: nothing.
	idle, ends time.Duration

	mu      sync.Mutex // guards what follows
	family  int        // the newest, of the newest consent
	n       int        // tokens issued
	access  int
	killed  bool
	grants  map[string]*issuedGrant
	arrived []arrival
	foreign int // requests of other clients
	next    []grantFault
	faults  func() grantFault // of calls that next says nothing about
}

type issuedGrant struct {
	name      string
	family    int
	used      time.Time // zero: not yet
	successor string
}

// arrival is a token that was sent, or may have been.
type arrival struct {
	token   string
	at      time.Time
	by      string
	probe   bool // its process called it the last resort
	reached bool // the issuer
	killed  bool // and killed the family for it
}

// grantFault is what becomes of one call.
type grantFault struct {
	latency     time.Duration
	requestLost bool                    // the issuer never sees it, and nobody knows
	answerLost  bool                    // the issuer has issued, and nobody knows
	kind        coordinator.FailureKind // surely nothing was used up
	hangs       bool                    // with answerLost: for longer than anybody waits
}

func newGrantIssuer(rules coordinator.GrantRules) *grantIssuer {
	return &grantIssuer{rules: rules, claims: rules, life: time.Hour, grants: make(map[string]*issuedGrant)}
}

// consent returns the first token of a new family; those before are dead.
func (i *grantIssuer) consent() coordinator.Token {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.family++
	i.killed = false
	return coordinator.NewToken(i.issue())
}

// issue needs mu.
func (i *grantIssuer) issue() string {
	i.n++
	name := fmt.Sprintf("r%d", i.n)
	i.grants[name] = &issuedGrant{name: name, family: i.family}
	return name
}

// kill has the issuer withdraw the family.
func (i *grantIssuer) kill() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.killed = true
}

// set changes what becomes of the calls.
func (i *grantIssuer) set(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f()
}

func (i *grantIssuer) fault(faults ...grantFault) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.next = append(i.next, faults...)
}

// accepts reports whether a token would be answered now.
func (i *grantIssuer) accepts(token string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	g := i.grants[token]
	return g != nil && g.family == i.family && !i.killed && (g.used.IsZero() || i.answersAgain(g))
}

// answersAgain needs mu.
func (i *grantIssuer) answersAgain(g *issuedGrant) bool {
	switch i.rules.Replay {
	case coordinator.ReplayFree:
		return true
	case coordinator.ReplayNever:
		return false
	}
	return time.Since(g.used) < i.rules.Replay && (i.siblings || i.grants[g.successor].used.IsZero())
}

// sent returns the tokens in the order in which they were sent.
func (i *grantIssuer) sent() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	var sent []string
	for _, a := range i.arrived {
		sent = append(sent, a.token)
	}
	return sent
}

// sentWithin reports whether a token was sent within the last d.
func (i *grantIssuer) sentWithin(d time.Duration) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	n := len(i.arrived)
	return n > 0 && time.Since(i.arrived[n-1].at) < d
}

// act is what the issuer does with a request; "" and false: invalid_grant.
func (i *grantIssuer) act(token string, a *arrival) (successor string, ok bool) {
	g := i.grants[token]
	a.reached = true
	switch {
	case g == nil || g.family != i.family || i.killed:
		return "", false
	case i.leaves, i.rules.Replay == coordinator.ReplayFree:
		return "", true
	case g.used.IsZero():
		g.used, g.successor = time.Now(), i.issue()
	case !i.answersAgain(g):
		i.killed, a.killed = true, true
		return "", false
	case i.siblings:
		return i.issue(), true
	}
	return g.successor, true
}

// grantSource is a process' way to the issuer.
type grantSource struct {
	issuer *grantIssuer
	gate   *gate
	name   string
	seen   *sightings
	client string
}

// Credential tells the clients apart.
func (s *grantSource) Credential() string { return s.client }

func (s *grantSource) Description() coordinator.Description {
	return coordinator.Description{Repeat: coordinator.RepeatKills, Grant: s.issuer.claims}
}

func (s *grantSource) Fetch(ctx context.Context, ask coordinator.FetchRequest) (coordinator.FetchResult, error) {
	if err := s.gate.enter("send"); err != nil {
		return coordinator.FetchResult{}, err
	}
	if ask.Grant.Token.IsZero() || !time.Now().Before(ask.SendBefore) && !s.issuer.careless {
		return coordinator.FetchResult{}, &coordinator.FetchError{Kind: coordinator.FailedBusy, Message: "not sent"}
	}
	if strings.HasPrefix(s.client, "wrong") {
		s.issuer.set(func() { s.issuer.foreign++ })
		return coordinator.FetchResult{}, &coordinator.FetchError{Kind: coordinator.FailedGrant, Code: "invalid_grant", Message: "of another client", Calls: 1}
	}
	result, err := s.issuer.exchange(ctx, s.name, s.seen.probing(), ask.Grant.Token.Reveal())
	if dead := s.gate.leave("send"); dead != nil {
		return coordinator.FetchResult{}, dead
	}
	return result, err
}

func (i *grantIssuer) exchange(ctx context.Context, by string, probe bool, token string) (coordinator.FetchResult, error) {
	fault, a := i.arrive(by, probe, token)
	if fault.kind != "" {
		return coordinator.FetchResult{}, &coordinator.FetchError{Kind: fault.kind, Message: "not now", Calls: 1}
	}
	unknown := &coordinator.FetchError{Kind: coordinator.FailedUnknown, Message: "no answer came", Calls: 1}
	if fault.requestLost {
		time.Sleep(fault.latency)
		return coordinator.FetchResult{}, unknown
	}
	time.Sleep(fault.latency / 2) // a request that was sent arrives, whatever becomes of ctx
	i.mu.Lock()
	successor, ok := i.act(token, a)
	i.access++
	access := fmt.Sprintf("a%d", i.access)
	i.mu.Unlock()
	if fault.hangs {
		<-ctx.Done()
		return coordinator.FetchResult{}, unknown
	}
	select {
	case <-time.After(fault.latency - fault.latency/2):
	case <-ctx.Done():
		return coordinator.FetchResult{}, unknown
	}
	switch {
	case fault.answerLost:
		return coordinator.FetchResult{}, unknown
	case !ok:
		return coordinator.FetchResult{}, &coordinator.FetchError{Kind: coordinator.FailedGrant, Code: "invalid_grant", Message: "invalid_grant", Calls: 1}
	}
	return coordinator.FetchResult{
		Token: coordinator.NewToken(access), Lifetime: i.life, Grant: coordinator.NewToken(successor), GrantIdle: i.idle, GrantEnds: i.ends, Calls: 1,
	}, nil
}

func (i *grantIssuer) arrive(by string, probe bool, token string) (grantFault, *arrival) {
	i.mu.Lock()
	defer i.mu.Unlock()
	fault := grantFault{latency: 100 * time.Millisecond}
	switch {
	case len(i.next) > 0:
		fault, i.next = i.next[0], i.next[1:]
	case i.faults != nil:
		fault = i.faults()
	}
	a := arrival{token: token, at: time.Now(), by: by, probe: probe}
	if fault.kind == "" {
		i.arrived = append(i.arrived, a)
		return fault, &i.arrived[len(i.arrived)-1]
	}
	return fault, &a
}
