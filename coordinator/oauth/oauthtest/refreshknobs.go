package oauthtest

import (
	"fmt"
	"slices"
	"time"
)

// RefreshKnobs change what the issuer does with refresh tokens. With the zero value each
// presentation uses the token up and brings its successor, a token that is used up is
// refused, and none ends.
type RefreshKnobs struct {
	// Rotation is rotates (or empty), fixed (the same token comes again and stays
	// good) or silent (it stays good, and none comes). A token that is younger than
	// RotateAfter is treated as fixed.
	Rotation    string   `json:"rotation"`
	RotateAfter Duration `json:"rotate_after"`

	// Replay is how long a token that is used up is accepted: never (or empty), free
	// (always) or a duration. The duration begins by ReplayFrom: presented (or empty,
	// the first presentation), used (the first use of the access token that came) or
	// successor (the first presentation of the refresh token that came). ReplayBrings is
	// same (or empty, the same pair again) or sibling (a new pair).
	Replay       string `json:"replay"`
	ReplayFrom   string `json:"replay_from"`
	ReplayBrings string `json:"replay_brings"`

	// Replayable is any (or empty: each token in its window) or previous (only one
	// whose successors are not used up). Siblings is all (or empty: all are valid) or
	// newest (an issued token takes the place of all others of the family).
	Replayable string `json:"replayable"`
	Siblings   string `json:"siblings"`

	// Reuse is what presenting a used-up token does: refuses (or empty), kills (the
	// family's refresh tokens) or kills_all (its access tokens as well).
	Reuse string `json:"reuse"`

	Idle Duration `json:"idle"` // the life of a token that is not presented; zero: no end
	Hard Duration `json:"hard"` // the life of a family, from the consent; zero: no end

	// Earliest is how old the family's newest access token must be: before, the answer
	// is access_denied, and nothing is used up.
	Earliest Duration `json:"earliest"`

	// ExpiresInName is the member of the answer that tells the refresh token's life:
	// refresh_token_expires_in or x_refresh_token_expires_in; empty: none.
	ExpiresInName string `json:"expires_in_name"`

	// Dialect is how the issuer refuses a refresh token: rfc6749 (or empty: 400
	// invalid_grant), atlassian (403 unauthorized_client or invalid_grant), databricks and
	// x (400 invalid_request), exact (401 unauthorized_client, 400 invalid_request for one
	// that is too old), github (200 bad_refresh_token), slack (200 with ok and
	// invalid_refresh_token) or fitbit (a list of errors that repeats the token). Of those
	// whose word is that of something else only the description names the token.
	Dialect string `json:"dialect"`
}

// window returns how long a token that is used up is accepted.
func (k RefreshKnobs) window() (d time.Duration, free bool) {
	d, _ = time.ParseDuration(k.Replay) // never and empty are zero
	return d, k.Replay == "free"
}

// problem says what is wrong with k, "" if nothing is.
func (k RefreshKnobs) problem() string {
	for _, c := range []struct {
		name, value string
		known       []string
	}{
		{"rotation", k.Rotation, []string{"rotates", "fixed", "silent"}},
		{"replay_from", k.ReplayFrom, []string{"presented", "used", "successor"}},
		{"replay_brings", k.ReplayBrings, []string{"same", "sibling"}},
		{"replayable", k.Replayable, []string{"any", "previous"}},
		{"siblings", k.Siblings, []string{"all", "newest"}},
		{"reuse", k.Reuse, []string{"refuses", "kills", "kills_all"}},
		{"expires_in_name", k.ExpiresInName, []string{"refresh_token_expires_in", "x_refresh_token_expires_in"}},
		{"dialect", k.Dialect, []string{"rfc6749", "atlassian", "databricks", "exact", "fitbit", "github", "slack", "x"}},
	} {
		if c.value != "" && !slices.Contains(c.known, c.value) {
			return fmt.Sprintf("refresh: %s: %q is unknown", c.name, c.value)
		}
	}
	if k.Replay == "" || k.Replay == "never" || k.Replay == "free" {
		return ""
	}
	if d, err := time.ParseDuration(k.Replay); err != nil || d <= 0 {
		return fmt.Sprintf("refresh: replay: %q is not never, free or a duration", k.Replay)
	}
	return ""
}

// ConsentKnobs change what the person does who is asked for consent. With the zero value
// she consents at once at the authorization endpoint, and at the device's when its
// verification address is called.
type ConsentKnobs struct {
	Denies     bool     `json:"denies"`
	After      Duration `json:"after"`       // device: she answers so long after the question by herself; zero: she does not
	WrongState bool     `json:"wrong_state"` // the redirect carries another state than the one that was given
	Life       Duration `json:"life"`        // of codes; zero: 1 min, of device codes 10 min
	Interval   Duration `json:"interval"`    // device: between two questions; zero: 5 s
}
