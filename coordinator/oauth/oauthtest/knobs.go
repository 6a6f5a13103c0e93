package oauthtest

import (
	"fmt"
	"slices"
	"time"
)

// Knobs change how the issuer behaves. The zero value issues opaque bearer tokens for an
// hour, accepts every way of client authentication, and leaves earlier tokens alive.
type Knobs struct {
	// Auth are the accepted ways of client authentication: basic, post,
	// private_key_jwt, mtls. Empty: all.
	Auth []string `json:"auth"`

	Lifetime Duration `json:"lifetime"` // of tokens; zero: 1 h

	// ExpiresIn is the form of expires_in: number (or empty), string, float, missing,
	// null, zero, negative, text, huge.
	ExpiresIn string `json:"expires_in"`

	// Repeat is what a call does to the client's earlier tokens with the same scope:
	// keeps (or empty), same, kills. Overlap is how long killed ones live on.
	Repeat  string   `json:"repeat"`
	Overlap Duration `json:"overlap"`

	TokenLength  int      `json:"token_length"`  // of opaque tokens; zero: 40
	JWT          bool     `json:"jwt"`           // tokens are JWTs; those of mtls are bound to the certificate
	TokenType    string   `json:"token_type"`    // empty: Bearer; "-": none
	RefreshToken bool     `json:"refresh_token"` // a refresh token comes with each token
	InstanceURL  string   `json:"instance_url"`  // attributes of tokens; empty: none
	APIDomain    string   `json:"api_domain"`    //
	Latency      Duration `json:"latency"`       // before each answer
	Echo         bool     `json:"echo"`          // descriptions of errors repeat the whole request
	MaxAssertion Duration `json:"max_assertion"` // the longest life of a client's assertion; zero: 5 min
	ClockAhead   Duration `json:"clock_ahead"`   // how far the issuer's clock is ahead of this machine's

	Refresh RefreshKnobs `json:"refresh"`
	Consent ConsentKnobs `json:"consent"`
}

// problem says what is wrong with k, "" if nothing is.
func (k Knobs) problem() string {
	switch {
	case !slices.Contains([]string{"", "number", "string", "float", "missing", "null", "zero", "negative", "text", "huge"}, k.ExpiresIn):
		return fmt.Sprintf("expires_in: %q is unknown", k.ExpiresIn)
	case !slices.Contains([]string{"", "keeps", "same", "kills"}, k.Repeat):
		return fmt.Sprintf("repeat: %q is unknown", k.Repeat)
	case k.TokenLength < 0 || k.TokenLength > 1<<20:
		return fmt.Sprintf("token_length: %d is not 0 to 1048576", k.TokenLength)
	}
	return k.Refresh.problem()
}

// expiresIn returns the member for a life, nil if there is none.
func (k Knobs) expiresIn(life time.Duration) any {
	seconds := int64(life / time.Second)
	switch k.ExpiresIn {
	case "string":
		return fmt.Sprint(seconds)
	case "float":
		return float64(seconds) + 0.5
	case "null", "missing":
		return nil
	case "zero":
		return 0
	case "negative":
		return -1
	case "text":
		return "one hour"
	case "huge":
		return int64(1e12)
	}
	return seconds
}

// Duration is a time.Duration that is "90s" in JSON.
type Duration time.Duration

// MarshalText returns d as time.Duration prints it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText accepts what time.ParseDuration does.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}
