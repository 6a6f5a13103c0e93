package wechattest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/internal/simulator"
)

// controlAccount is an account in the answer of /sandbox/state, without its secret
// and tokens.
type controlAccount struct {
	AppID      string          `json:"appid"`
	Product    Product         `json:"product"`
	Whitelist  []string        `json:"whitelist"`
	Frozen     bool            `json:"frozen"`
	Banned     int             `json:"banned"`
	Risk       map[string]int  `json:"risk"`
	UsedToday  map[string]int  `json:"used_today"`
	Clears     int             `json:"clears_this_month"`
	LastSeq    map[Chain]int   `json:"last_seq"`
	TokenEnds  map[Chain]stamp `json:"token_ends"`
	ForcedDay  int             `json:"forced_today"`
	DailyToken int             `json:"daily_token"`
}

// stamp is a time that is written in JSON with microseconds, in UTC.
type stamp time.Time

// MarshalText implements encoding.TextMarshaler.
func (t stamp) MarshalText() ([]byte, error) {
	if time.Time(t).IsZero() {
		return nil, nil
	}
	return []byte(time.Time(t).UTC().Format("2006-01-02T15:04:05.000000Z")), nil
}

func (s *Server) controlState(*http.Request) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.nowLocked()
	accounts := make([]controlAccount, 0, len(s.accounts))
	for _, id := range slices.Sorted(maps.Keys(s.accounts)) {
		accounts = append(accounts, s.accounts[id].state(s, now))
	}
	return map[string]any{
		"now":         stamp(now),
		"seed":        strconv.FormatUint(s.seed, 10), // a string, because many languages read numbers as float64
		"accounts":    accounts,
		"knobs":       s.knobs,
		"faults":      s.faultsLocked(),
		"hosts_down":  slices.AppendSeq([]string{}, maps.Keys(s.down)),
		"token_calls": s.lastCall,
		"issued":      s.lastSeq,
	}, nil
}

func (a *account) state(s *Server, now time.Time) controlAccount {
	a.usage.turn(now)
	out := controlAccount{
		AppID: a.AppID, Product: a.Product, Whitelist: a.Whitelist, Frozen: a.frozen, Banned: a.banned,
		Risk: a.risk, UsedToday: maps.Clone(a.usage.daily), Clears: a.usage.clears,
		LastSeq: make(map[Chain]int), TokenEnds: make(map[Chain]stamp),
		ForcedDay: a.stable.forcedToday(now), DailyToken: s.dailyToken(a),
	}
	for _, c := range slices.Concat([]Chain{ClassicChain, StableChain}, slices.Collect(maps.Keys(a.tickets))) {
		if i := a.chain(c).current(now); i != nil {
			out.LastSeq[c], out.TokenEnds[c] = i.Seq, stamp(i.DiesAt)
		}
	}
	return out
}

func (s *Server) controlAdd(_ *http.Request, q struct {
	AppID      string   `json:"appid"`
	Secret     string   `json:"secret"`
	Product    Product  `json:"product"`
	Whitelist  []string `json:"whitelist"`
	DailyToken int      `json:"daily_token"`
}) (any, error) {
	return nil, s.AddAccount(Account(q))
}

// controlChange changes the settings of an account that the request names. An
// invalid whitelist or risk changes nothing.
func (s *Server) controlChange(req *http.Request, q struct {
	Whitelist json.RawMessage `json:"whitelist"` // null turns it off
	Frozen    *bool           `json:"frozen"`
	Banned    *int            `json:"banned"`
	Risk      map[string]int  `json:"risk"`
}) (any, error) {
	id := req.PathValue("appid")
	var list []string
	if q.Whitelist != nil {
		if err := json.Unmarshal(q.Whitelist, &list); err != nil {
			return nil, fmt.Errorf("the whitelist: %w", err)
		}
		if err := s.SetWhitelist(id, list); err != nil {
			return nil, err
		}
	}
	for address, code := range q.Risk {
		if err := s.SetRisk(id, address, code); err != nil {
			return nil, err
		}
	}
	return nil, s.change(id, func(a *account) error {
		if q.Frozen != nil {
			a.frozen = *q.Frozen
		}
		if q.Banned != nil {
			a.banned = *q.Banned
		}
		return nil
	})
}

func (s *Server) controlRotate(req *http.Request, q struct {
	Secret string `json:"secret"` // empty: a random one
}) (any, error) {
	id := req.PathValue("appid")
	if q.Secret != "" {
		return nil, s.SetSecret(id, q.Secret)
	}
	secret, err := s.RotateSecret(id)
	return map[string]string{"secret": secret}, err
}

// chainQuery is a body that names a chain, by default the classic one.
type chainQuery struct {
	Chain Chain `json:"chain"`
}

func (q chainQuery) chain() (Chain, error) {
	c := cmp.Or(q.Chain, ClassicChain)
	if chains := []Chain{ClassicChain, StableChain, ComponentChain, AuthorizerChain, JSAPIChain, CardChain, AppChain}; !slices.Contains(chains, c) {
		return "", fmt.Errorf("the chain must be one of %q, not %q", chains, c)
	}
	return c, nil
}

func (s *Server) controlKill(req *http.Request, q chainQuery) (any, error) {
	c, err := q.chain()
	if err != nil {
		return nil, err
	}
	killed, ok := s.KillEarly(req.PathValue("appid"), c)
	if !ok {
		return nil, simulator.NotFound("no account %s with a live token on the chain %s", req.PathValue("appid"), c)
	}
	return killed.public(), nil
}

func (s *Server) controlRogue(req *http.Request, q chainQuery) (any, error) {
	c, err := q.chain()
	if err != nil {
		return nil, err
	}
	i, err := s.Rogue(req.PathValue("appid"), c)
	return i.public(), err
}
