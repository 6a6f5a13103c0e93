package wechattest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Era selects the wording of WeChat's errors, which has changed over the years.
type Era string

// The eras.
const (
	EraCurrent  Era = "current"   // with an advertisement for stable_token, and a rid
	EraRID2020  Era = "rid-2020"  // with a rid
	EraHint2017 Era = "hint-2017" // with a hint
)

// Choices of some knobs.
const (
	SecretFirst = "secret-first" // the secret is checked before the address
	IPFirst     = "ip-first"

	ExpiredFirst    = "expired-first" // a token both expired and superseded: 42001
	SupersededFirst = "superseded-first"

	TicketFixed      = "fixed" // a ticket's expires_in is always its whole lifetime
	TicketDecreasing = "decreasing"

	// AllGenerations as GraceGenerations: every superseded token stays valid for
	// Grace.
	AllGenerations = -1
)

// Knobs are the server's settings. There are no defaults for zero values; start from
// DefaultKnobs.
type Knobs struct {
	TokenTTL         time.Duration // lifetime of a token
	Grace            time.Duration // how long a superseded token stays valid
	GraceGenerations int           // how many superseded tokens are valid at once; AllGenerations: no limit
	EarlyRoll        time.Duration // stable_token: remaining lifetime at which the next token is issued; at most half the lifetime

	ForceMinInterval       time.Duration // stable_token: forced refreshes closer together are not carried out
	ForceDaily             int           // stable_token: forced refreshes a day
	ForceQuotaBlocksNormal bool          // stable_token: when these are used up, normal calls get 45009 as well

	DailyToken     int // calls a day to /cgi-bin/token
	DailyTokenTest int // the same for a test account
	DailyStable    int
	DailyTicket    int
	DailyOther     int // of each other interface
	MinuteStable   int // calls a minute to /cgi-bin/stable_token
	ClearsPerMonth int // quota resets a month, by all interfaces together

	Era         Era
	ContentType string     // of every JSON answer
	Relay       []Recoding // what a relay does to every JSON answer
	TokenLength int        // at least 32
	TokenPrefix string

	PropagationDelay time.Duration // for this long a new token gets 40001
	WhitelistDelay   time.Duration // until an edit of the whitelist takes effect
	Latency          time.Duration // delay of every answer
	LatencyJitter    time.Duration // maximum of a random addition to Latency

	False40001Rate float64 // fraction of business calls that get 40001 although the token is valid
	MinusOneRate   float64 // fraction of all calls that get -1

	ChunkedPost412 bool   // a POST without Content-Length gets an empty 412
	CheckOrder     string // SecretFirst or IPFirst
	DeadOrder      string // ExpiredFirst or SupersededFirst

	TicketTTL          time.Duration // lifetime of a ticket
	TicketExpiry       string        // TicketFixed or TicketDecreasing
	TicketOverlap      time.Duration // how long a ticket stays valid after it expired or was replaced
	TicketFollowsToken bool          // a new token makes the next call get another ticket
	TicketTypeCode     int           // errcode for an unknown type of ticket

	ComponentGrace      time.Duration // how long a superseded component_access_token stays valid
	AuthorizerGrace     time.Duration // the same for an authorizer_access_token
	EventMilliseconds   bool          // the times in events and in api_get_authorizer_list are in ms
	RefreshTokenRotates bool          // api_authorizer_token answers another refresh token, and the old one ends after Grace
	VerifyTicketTTL     time.Duration // lifetime of a verify ticket
	AuthCodeTTL         time.Duration // of an authorization_code
	PreAuthCodeTTL      time.Duration // of a pre_auth_code
	DailyComponent      int           // calls a day to each interface of platforms
	ComponentSecretCode int           // errcode for a platform's wrong secret

	PushEvery      time.Duration // interval of the verify tickets
	PushTimeout    time.Duration // until when a push must be answered
	PushRetries    int           // how often a push that was not answered is repeated
	PushRetryAfter time.Duration
}

// grace is how long a superseded token, or ticket, of a chain stays valid.
func (k Knobs) grace(c Chain) time.Duration {
	switch {
	case c == ComponentChain:
		return k.ComponentGrace
	case c == AuthorizerChain:
		return k.AuthorizerGrace
	case c.isTicket():
		return k.TicketOverlap
	}
	return k.Grace
}

// generations is how many superseded tokens, or tickets, of a chain are valid at once.
func (k Knobs) generations(c Chain) int {
	if c.isTicket() {
		return AllGenerations
	}
	return k.GraceGenerations
}

// DefaultKnobs returns the behaviour of WeChat as documented, or else the likely one.
func DefaultKnobs() Knobs {
	return Knobs{
		TokenTTL:         7200 * time.Second,
		Grace:            300 * time.Second,
		GraceGenerations: 1,
		EarlyRoll:        300 * time.Second,
		ForceMinInterval: 30 * time.Second,
		ForceDaily:       20,
		DailyToken:       2000,
		DailyTokenTest:   200,
		DailyStable:      500_000,
		DailyTicket:      10_000,
		DailyOther:       5_000_000,
		MinuteStable:     10_000,
		ClearsPerMonth:   10,
		Era:              EraCurrent,
		ContentType:      "application/json; encoding=utf-8",
		TokenLength:      136,
		TokenPrefix:      "90_",
		ChunkedPost412:   true,
		CheckOrder:       SecretFirst,
		DeadOrder:        ExpiredFirst,
		TicketTTL:        7200 * time.Second,
		TicketExpiry:     TicketFixed,
		TicketTypeCode:   codeBadType,

		ComponentGrace:      300 * time.Second,
		AuthorizerGrace:     300 * time.Second,
		VerifyTicketTTL:     12 * time.Hour,
		AuthCodeTTL:         time.Hour,
		PreAuthCodeTTL:      600 * time.Second,
		DailyComponent:      10_000,
		ComponentSecretCode: codeNoComponent,
		PushEvery:           600 * time.Second,
		PushTimeout:         5 * time.Second,
		PushRetries:         3,
		PushRetryAfter:      5 * time.Second,
	}
}

// Validate returns an error about the first knob with an invalid value.
func (k Knobs) Validate() error {
	for _, knob := range k.table() {
		if err := knob.check(); err != nil {
			return fmt.Errorf("knob %s: %w", knob.name, err)
		}
	}
	return nil
}

// MarshalJSON writes the knobs by the names that UnmarshalJSON reads, durations in the
// form "2h0m0s".
func (k Knobs) MarshalJSON() ([]byte, error) {
	values := make(map[string]any)
	for _, knob := range k.table() {
		values[knob.name] = knob.at
		switch at := knob.at.(type) {
		case *time.Duration:
			values[knob.name] = at.String()
		case *[]Recoding:
			values[knob.name] = append([]Recoding{}, *at...) // [] if there are none
		}
	}
	return json.Marshal(values)
}

// UnmarshalJSON changes the knobs that data names. A duration is a string ("90s") or a
// number of seconds. An unknown name is an error, and then no knob changes.
func (k *Knobs) UnmarshalJSON(data []byte) error {
	var values map[string]json.RawMessage
	if err := json.Unmarshal(data, &values); err != nil {
		return fmt.Errorf("the knobs are not a JSON object: %w", err)
	}
	changed := *k
	table := changed.table()
	for name, raw := range values {
		i := slices.IndexFunc(table, func(k knob) bool { return k.name == name })
		if i < 0 {
			var names []string
			for _, k := range table {
				names = append(names, k.name)
			}
			return fmt.Errorf("unknown knob %q; there are: %s", name, strings.Join(names, ", "))
		}
		if err := table[i].set(raw); err != nil {
			return fmt.Errorf("knob %s: %w", name, err)
		}
	}
	*k = changed
	return nil
}

// knob is one setting by its name in JSON.
type knob struct {
	name  string
	at    any          // a pointer to the value
	check func() error // of the value
}

// set decodes a value into the knob.
func (k knob) set(raw json.RawMessage) (err error) {
	switch at := k.at.(type) {
	case *time.Duration:
		*at, err = parseDuration(raw)
	case *[]Recoding:
		*at = nil // the elements are shared with the knobs as they were
		err = json.Unmarshal(raw, at)
	default:
		err = json.Unmarshal(raw, at)
	}
	if err != nil {
		return fmt.Errorf("%s is not a valid value: %w", raw, err)
	}
	return k.check()
}

func (k *Knobs) table() []knob {
	return []knob{
		atLeast("token_ttl", &k.TokenTTL, time.Second),
		atLeast("grace", &k.Grace, 0),
		atLeast("grace_generations", &k.GraceGenerations, AllGenerations),
		atLeast("early_roll", &k.EarlyRoll, 0),
		atLeast("force_min_interval", &k.ForceMinInterval, 0),
		atLeast("force_daily", &k.ForceDaily, 0),
		free("force_quota_blocks_normal", &k.ForceQuotaBlocksNormal),
		atLeast("daily_token", &k.DailyToken, 0),
		atLeast("daily_token_test", &k.DailyTokenTest, 0),
		atLeast("daily_stable", &k.DailyStable, 0),
		atLeast("daily_ticket", &k.DailyTicket, 0),
		atLeast("daily_other", &k.DailyOther, 0),
		atLeast("minute_stable", &k.MinuteStable, 0),
		atLeast("clears_per_month", &k.ClearsPerMonth, 0),
		oneOf("errmsg_era", &k.Era, EraCurrent, EraRID2020, EraHint2017),
		free("content_type", &k.ContentType),
		someOf("relay", &k.Relay, recodings()...),
		atLeast("token_length", &k.TokenLength, 32),
		free("token_prefix", &k.TokenPrefix),
		atLeast("propagation_delay", &k.PropagationDelay, 0),
		atLeast("whitelist_delay", &k.WhitelistDelay, 0),
		atLeast("latency", &k.Latency, 0),
		atLeast("latency_jitter", &k.LatencyJitter, 0),
		share("false_40001_rate", &k.False40001Rate),
		share("minus_one_rate", &k.MinusOneRate),
		free("chunked_post_412", &k.ChunkedPost412),
		oneOf("check_order", &k.CheckOrder, SecretFirst, IPFirst),
		oneOf("dead_order", &k.DeadOrder, ExpiredFirst, SupersededFirst),
		atLeast("ticket_ttl", &k.TicketTTL, time.Second),
		oneOf("ticket_expiry", &k.TicketExpiry, TicketFixed, TicketDecreasing),
		atLeast("ticket_overlap", &k.TicketOverlap, 0),
		free("ticket_follows_token", &k.TicketFollowsToken),
		atLeast("ticket_type_code", &k.TicketTypeCode, 1),
		atLeast("component_grace", &k.ComponentGrace, 0),
		atLeast("authorizer_grace", &k.AuthorizerGrace, 0),
		free("event_milliseconds", &k.EventMilliseconds),
		free("refresh_token_rotates", &k.RefreshTokenRotates),
		atLeast("verify_ticket_ttl", &k.VerifyTicketTTL, time.Second),
		atLeast("auth_code_ttl", &k.AuthCodeTTL, time.Second),
		atLeast("pre_auth_code_ttl", &k.PreAuthCodeTTL, time.Second),
		atLeast("daily_component", &k.DailyComponent, 0),
		atLeast("component_secret_code", &k.ComponentSecretCode, 1),
		atLeast("push_every", &k.PushEvery, time.Second),
		atLeast("push_timeout", &k.PushTimeout, time.Millisecond),
		atLeast("push_retries", &k.PushRetries, 0),
		atLeast("push_retry_after", &k.PushRetryAfter, time.Millisecond),
	}
}

// free is a knob for which every value of its type is valid.
func free[T any](name string, at *T) knob { return knob{name, at, func() error { return nil }} }

func atLeast[N int | time.Duration](name string, at *N, least N) knob {
	return knob{name, at, func() error {
		if *at < least {
			return fmt.Errorf("%v is less than %v", *at, least)
		}
		return nil
	}}
}

// share is a fraction of something.
func share(name string, at *float64) knob {
	return knob{name, at, func() error {
		if *at < 0 || *at > 1 {
			return fmt.Errorf("%v is not between 0 and 1", *at)
		}
		return nil
	}}
}

func oneOf[S ~string](name string, at *S, choices ...S) knob {
	return knob{name, at, func() error {
		if !slices.Contains(choices, *at) {
			return fmt.Errorf("%q is not one of %q", *at, choices)
		}
		return nil
	}}
}

func someOf[S ~string](name string, at *[]S, choices ...S) knob {
	return knob{name, at, func() error {
		for _, s := range *at {
			if !slices.Contains(choices, s) {
				return fmt.Errorf("%q is not one of %q", s, choices)
			}
		}
		return nil
	}}
}

// parseDuration reads "90s" or 90.
func parseDuration(raw json.RawMessage) (time.Duration, error) {
	var seconds float64
	if err := json.Unmarshal(raw, &seconds); err == nil {
		return time.Duration(seconds * float64(time.Second)), nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return 0, fmt.Errorf(`%s is not a duration: write "90s" or a number of seconds`, raw)
	}
	return time.ParseDuration(s)
}
