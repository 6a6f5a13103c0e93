package oauth

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
)

// Profile is what is known of an issuer: where it is, and what it does with refresh
// tokens. Profiles are data, profiles.json.
type Profile struct {
	Name          string `json:"name"` // what a configuration file calls it
	Title         string `json:"title"`
	Documentation string `json:"documentation"` // where what it says of refresh tokens is from
	Comment       string `json:"comment"`

	// The endpoints; "": they depend on the tenant.
	TokenURL  string `json:"token_url"`
	AuthURL   string `json:"auth_url"`
	DeviceURL string `json:"device_url"`

	ClientAuth ClientAuth        `json:"client_auth"` // "": basic
	AuthParams map[string]string `json:"auth_params"` // of the authorization request: without them no refresh token comes
	Lifetime   Duration          `json:"lifetime"`    // of access tokens, if the answer does not say

	// Replay is what presenting a refresh token again does: never (it is refused, or the
	// grant revoked), free (it is not used up) or for how long it is answered again.
	// Tenant is set if each tenant, or client, can have another one: then this is the
	// issuer's default, and Config.Replay says what is set there.
	Replay string `json:"replay"`
	Tenant bool   `json:"tenant"`

	// Brings is what comes then: same (the same pair) or sibling (another one); "": not
	// known. Siblings and Replayable are newest and previous if only the newest of several
	// siblings is valid, or only a token whose successor was not presented yet.
	Brings     string `json:"brings"`
	Siblings   string `json:"siblings"`
	Replayable string `json:"replayable"`

	// Reuse is what presenting a token that is used up revokes: nothing (""), kills (the
	// grant) or kills_all (its access tokens as well).
	Reuse string `json:"reuse"`

	Idle     Duration `json:"idle"`     // the life of a grant that is not used; zero: not known
	Ends     Duration `json:"ends"`     // its life from the consent on, however it is used
	Earliest Duration `json:"earliest"` // how old an access token must be before it is refreshed

	// ExpiresInIsEnd is set if refresh_token_expires_in counts to the end of the grant,
	// not to the end of a token that is not used.
	ExpiresInIsEnd bool `json:"expires_in_is_end"`

	// GrantCodes are error words, besides the usual ones, by which the issuer says that it
	// does not accept a refresh token.
	GrantCodes []coordinator.Code `json:"grant_codes"`

	Limits struct {
		PerDay int      `json:"per_day"` // requests within Window
		Window Duration `json:"window"`  // zero: a day
	} `json:"limits"`
}

// Duration is a time.Duration that is "90s" in JSON.
type Duration = httpsource.Duration

// maxReplay is far above the longest window of an issuer that is known, 30 minutes.
const maxReplay = 24 * time.Hour

// ParseReplay reads what presenting a used-up refresh token does: never, free or a
// duration of at most a day. Empty is never.
func ParseReplay(text string) (time.Duration, error) {
	switch text {
	case "", "never":
		return coordinator.ReplayNever, nil
	case "free":
		return coordinator.ReplayFree, nil
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil || d <= 0:
		return 0, fmt.Errorf("replay: %q must be never, free or for how long a used-up refresh token is answered, such as 30s", text)
	case d > maxReplay:
		return 0, fmt.Errorf("replay: %q is more than %v: if the issuer uses no refresh token up, set free", text, maxReplay)
	}
	return d, nil
}

//go:embed profiles.json
var profilesJSON []byte

// Profiles returns all profiles, sorted by name. They must not be changed.
func Profiles() []Profile { return loadProfiles() }

// ProfileNamed returns one of Profiles.
func ProfileNamed(name string) (Profile, bool) {
	all := loadProfiles()
	i, found := slices.BinarySearchFunc(all, name, func(p Profile, name string) int { return strings.Compare(p.Name, name) })
	if !found {
		return Profile{}, false
	}
	return all[i], true
}

// loadProfiles decodes the file once. It is part of the program: a wrong one is a mistake
// in the program, which its tests find.
var loadProfiles = sync.OnceValue(func() []Profile {
	d := json.NewDecoder(bytes.NewReader(profilesJSON))
	d.DisallowUnknownFields()
	var all []Profile
	if err := d.Decode(&all); err != nil {
		panic("profiles.json: " + err.Error())
	}
	slices.SortFunc(all, func(a, b Profile) int { return strings.Compare(a.Name, b.Name) })
	return all
})

// profileNames lists them for messages.
func profileNames() string {
	var names []string
	for _, p := range Profiles() {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}
