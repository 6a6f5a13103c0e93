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

	TicketFixed      = "fixed" // a ticket's expires_in is always 7200
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
	TicketExpiry   string // TicketFixed or TicketDecreasing
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
		TicketExpiry:     TicketFixed,
	}
}

// Validate returns an error about the first knob with an invalid value.
func (k Knobs) Validate() error {
	for _, knob := range knobTable() {
		// The setters of the JSON form check the value.
		raw, err := json.Marshal(knob.get(&k))
		if err == nil {
			err = knob.set(&k, raw)
		}
		if err != nil {
			return fmt.Errorf("knob %s: %w", knob.name, err)
		}
	}
	return nil
}

// MarshalJSON writes the knobs by the names that UnmarshalJSON reads, durations in the
// form "2h0m0s".
func (k Knobs) MarshalJSON() ([]byte, error) {
	values := make(map[string]any)
	for _, knob := range knobTable() {
		values[knob.name] = knob.get(&k)
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
	table := knobTable()
	for name, raw := range values {
		i := slices.IndexFunc(table, func(k knob) bool { return k.name == name })
		if i < 0 {
			return fmt.Errorf("unknown knob %q; there are: %s", name, knobNames(table))
		}
		if err := table[i].set(&changed, raw); err != nil {
			return fmt.Errorf("knob %s: %w", name, err)
		}
	}
	*k = changed
	return nil
}

// knob is one setting by its name in JSON.
type knob struct {
	name string
	get  func(*Knobs) any
	set  func(*Knobs, json.RawMessage) error
}

func knobNames(table []knob) string {
	names := make([]string, len(table))
	for i, k := range table {
		names[i] = k.name
	}
	return strings.Join(names, ", ")
}

func knobTable() []knob {
	return []knob{
		lasting("token_ttl", time.Second, func(k *Knobs) *time.Duration { return &k.TokenTTL }),
		lasting("grace", 0, func(k *Knobs) *time.Duration { return &k.Grace }),
		whole("grace_generations", AllGenerations, func(k *Knobs) *int { return &k.GraceGenerations }),
		lasting("early_roll", 0, func(k *Knobs) *time.Duration { return &k.EarlyRoll }),
		lasting("force_min_interval", 0, func(k *Knobs) *time.Duration { return &k.ForceMinInterval }),
		whole("force_daily", 0, func(k *Knobs) *int { return &k.ForceDaily }),
		onOff("force_quota_blocks_normal", func(k *Knobs) *bool { return &k.ForceQuotaBlocksNormal }),
		whole("daily_token", 0, func(k *Knobs) *int { return &k.DailyToken }),
		whole("daily_token_test", 0, func(k *Knobs) *int { return &k.DailyTokenTest }),
		whole("daily_stable", 0, func(k *Knobs) *int { return &k.DailyStable }),
		whole("daily_ticket", 0, func(k *Knobs) *int { return &k.DailyTicket }),
		whole("daily_other", 0, func(k *Knobs) *int { return &k.DailyOther }),
		whole("minute_stable", 0, func(k *Knobs) *int { return &k.MinuteStable }),
		whole("clears_per_month", 0, func(k *Knobs) *int { return &k.ClearsPerMonth }),
		oneOf("errmsg_era", func(k *Knobs) *Era { return &k.Era }, EraCurrent, EraRID2020, EraHint2017),
		text("content_type", func(k *Knobs) *string { return &k.ContentType }),
		someOf("relay", func(k *Knobs) *[]Recoding { return &k.Relay }, recodings()...),
		whole("token_length", 32, func(k *Knobs) *int { return &k.TokenLength }),
		text("token_prefix", func(k *Knobs) *string { return &k.TokenPrefix }),
		lasting("propagation_delay", 0, func(k *Knobs) *time.Duration { return &k.PropagationDelay }),
		lasting("whitelist_delay", 0, func(k *Knobs) *time.Duration { return &k.WhitelistDelay }),
		lasting("latency", 0, func(k *Knobs) *time.Duration { return &k.Latency }),
		lasting("latency_jitter", 0, func(k *Knobs) *time.Duration { return &k.LatencyJitter }),
		share("false_40001_rate", func(k *Knobs) *float64 { return &k.False40001Rate }),
		share("minus_one_rate", func(k *Knobs) *float64 { return &k.MinusOneRate }),
		onOff("chunked_post_412", func(k *Knobs) *bool { return &k.ChunkedPost412 }),
		oneOf("check_order", func(k *Knobs) *string { return &k.CheckOrder }, SecretFirst, IPFirst),
		oneOf("dead_order", func(k *Knobs) *string { return &k.DeadOrder }, ExpiredFirst, SupersededFirst),
		oneOf("ticket_expiry", func(k *Knobs) *string { return &k.TicketExpiry }, TicketFixed, TicketDecreasing),
	}
}

func lasting(name string, least time.Duration, at func(*Knobs) *time.Duration) knob {
	return knob{
		name: name,
		get:  func(k *Knobs) any { return at(k).String() },
		set: func(k *Knobs, raw json.RawMessage) error {
			d, err := parseDuration(raw)
			if err == nil && d < least {
				err = fmt.Errorf("%v is less than %v", d, least)
			}
			if err == nil {
				*at(k) = d
			}
			return err
		},
	}
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

func whole(name string, least int, at func(*Knobs) *int) knob {
	return knob{
		name: name,
		get:  func(k *Knobs) any { return *at(k) },
		set: func(k *Knobs, raw json.RawMessage) error {
			var n int
			if err := json.Unmarshal(raw, &n); err != nil {
				return fmt.Errorf("%s is not a whole number", raw)
			}
			if n < least {
				return fmt.Errorf("%d is less than %d", n, least)
			}
			*at(k) = n
			return nil
		},
	}
}

func share(name string, at func(*Knobs) *float64) knob {
	return knob{
		name: name,
		get:  func(k *Knobs) any { return *at(k) },
		set: func(k *Knobs, raw json.RawMessage) error {
			var f float64
			if err := json.Unmarshal(raw, &f); err != nil || f < 0 || f > 1 {
				return fmt.Errorf("%s is not a number between 0 and 1", raw)
			}
			*at(k) = f
			return nil
		},
	}
}

func onOff(name string, at func(*Knobs) *bool) knob {
	return knob{
		name: name,
		get:  func(k *Knobs) any { return *at(k) },
		set: func(k *Knobs, raw json.RawMessage) error {
			var b bool
			if err := json.Unmarshal(raw, &b); err != nil {
				return fmt.Errorf("%s is neither true nor false", raw)
			}
			*at(k) = b
			return nil
		},
	}
}

func text(name string, at func(*Knobs) *string) knob {
	return knob{
		name: name,
		get:  func(k *Knobs) any { return *at(k) },
		set: func(k *Knobs, raw json.RawMessage) error {
			var s string
			if err := json.Unmarshal(raw, &s); err != nil {
				return fmt.Errorf("%s is not a string", raw)
			}
			*at(k) = s
			return nil
		},
	}
}

func oneOf[S ~string](name string, at func(*Knobs) *S, choices ...S) knob {
	return knob{
		name: name,
		get:  func(k *Knobs) any { return *at(k) },
		set: func(k *Knobs, raw json.RawMessage) error {
			var s S
			if err := json.Unmarshal(raw, &s); err != nil || !slices.Contains(choices, s) {
				return fmt.Errorf("%s is not one of %q", raw, choices)
			}
			*at(k) = s
			return nil
		},
	}
}

func someOf[S ~string](name string, at func(*Knobs) *[]S, choices ...S) knob {
	return knob{
		name: name,
		get:  func(k *Knobs) any { return append([]S{}, *at(k)...) },
		set: func(k *Knobs, raw json.RawMessage) error {
			var some []S
			if err := json.Unmarshal(raw, &some); err != nil {
				return fmt.Errorf("%s is not a list of %q", raw, choices)
			}
			for _, s := range some {
				if !slices.Contains(choices, s) {
					return fmt.Errorf("%q is not one of %q", s, choices)
				}
			}
			*at(k) = some
			return nil
		},
	}
}
