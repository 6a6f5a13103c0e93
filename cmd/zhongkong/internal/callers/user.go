package callers

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	maxName     = 128  // bytes in a user's name
	maxPassword = 1024 // bytes in a password
	udpKeySize  = 32
)

// Everything in User.Accounts stands for all accounts, also ones that are
// added later.
const Everything = "*"

// User is somebody who may call. It prints as its name alone.
type User struct {
	Name string

	// PasswordHash is what Hash made of the password. Empty: no password is
	// right, the user sends datagrams only.
	PasswordHash string

	// Password is the password itself in place of PasswordHash, for trying
	// out and for keys made up for one run. The Gate does not keep it.
	Password string

	// Accounts are the names of those it may have the token of; Everything
	// stands for all.
	Accounts []string

	// Refresh says whether it may force a refresh of them.
	Refresh bool

	// UDPKey is the key of its datagrams, 32 bytes. Nil: it sends none.
	UDPKey []byte

	// Told bounds for how long the user is told that it may keep a token.
	Told Told
}

// Told bounds for how long somebody is told that he may keep a token without
// asking again.
type Told struct {
	// Most is the longest time. 0: until the token will have been replaced.
	Most time.Duration

	// Least is the shortest one while the token lives, for clients that take
	// something off and fail if nothing is left. 0: as short as it is.
	Least time.Duration
}

// Bound returns planned within the bounds.
func (t Told) Bound(planned time.Duration) time.Duration {
	if t.Most > 0 {
		planned = min(planned, t.Most)
	}
	return max(planned, t.Least)
}

// ParseUser reads "NAME:PASSWORD": all accounts and the refresh right. Its
// error does not repeat the password.
func ParseUser(s string) (User, error) {
	name, password, ok := strings.Cut(s, ":")
	if !ok {
		return User{}, errors.New("a user is NAME:PASSWORD; there is no colon")
	}
	u := User{Name: name, Password: password, Accounts: []string{Everything}, Refresh: true}
	if password == "" {
		return User{}, fmt.Errorf("user %q: there is no password after the colon", name)
	}
	if _, err := newUser(u); err != nil {
		return User{}, fmt.Errorf("user %q: %w", name, err)
	}
	return u, nil
}

// MadeUp returns the user for a run that was given none: zhongkong, with a
// random key.
func MadeUp() User {
	key := base64.RawURLEncoding.EncodeToString(random(24))
	return User{Name: "zhongkong", Password: key, Accounts: []string{Everything}, Refresh: true}
}

// String returns the name: a User holds secrets.
func (u User) String() string { return u.Name }

// GoString is String, for %#v.
func (u User) GoString() string { return u.Name }

// Format prints String for every verb.
func (u User) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, u.Name) }

// LogValue is String, for log/slog.
func (u User) LogValue() slog.Value { return slog.StringValue(u.Name) }

// MarshalText is String, for encoders.
func (u User) MarshalText() ([]byte, error) { return []byte(u.Name), nil }

// Caller is somebody who was let in. The zero Caller may do nothing.
type Caller struct{ user *user }

// Name returns the name of the user.
func (c Caller) Name() string {
	if c.user == nil {
		return ""
	}
	return c.user.name
}

// May reports whether the caller may have the account's token.
func (c Caller) May(account string) bool {
	if c.user == nil {
		return false
	}
	_, ok := c.user.accounts[account]
	return ok || c.user.all
}

// MayRefresh reports whether the caller may force a refresh of the account.
func (c Caller) MayRefresh(account string) bool {
	return c.May(account) && c.user.refresh
}

// Told returns for how long the caller may be told to keep a token.
func (c Caller) Told() Told {
	if c.user == nil {
		return Told{}
	}
	return c.user.told
}

// Revoked is closed when SetUsers takes the user away or changes anything of it:
// whatever the caller holds open has to end, and it may ask again. Nil, for the
// zero Caller.
func (c Caller) Revoked() <-chan struct{} {
	if c.user == nil {
		return nil
	}
	return c.user.revoked
}

// newUser checks u; its error begins with the field's name.
func newUser(u User) (*user, error) {
	if err := checkName(u.Name); err != nil {
		return nil, fmt.Errorf("name: %w", err)
	}
	made := &user{
		name: u.Name, written: u.PasswordHash, refresh: u.Refresh, udpKey: slices.Clone(u.UDPKey), told: u.Told,
		revoked: make(chan struct{}),
	}
	made.prove(nobodys())
	switch {
	case u.PasswordHash != "" && u.Password != "":
		return nil, errors.New("password: is given both as a hash and as it is")
	case u.PasswordHash == "" && u.Password == "" && u.UDPKey == nil:
		return nil, errors.New("password: is missing: put the line that `zhongkong passwd` prints")
	case len(u.Password) > maxPassword:
		return nil, fmt.Errorf("password: has %d bytes, at most %d", len(u.Password), maxPassword)
	case u.UDPKey != nil && len(u.UDPKey) != udpKeySize:
		return nil, fmt.Errorf("udp_key: has %d bytes, must have %d: make one with `zhongkong keygen`", len(u.UDPKey), udpKeySize)
	case len(u.Accounts) == 0:
		return nil, errors.New(`accounts: is empty: list accounts, or "*" for all`)
	}
	if u.PasswordHash != "" {
		h, err := parseHash(u.PasswordHash)
		if err != nil {
			return nil, fmt.Errorf("password: %w", err)
		}
		made.hash = h
	}
	made.accounts = make(map[string]struct{}, len(u.Accounts))
	for i, account := range u.Accounts {
		if account == "" {
			return nil, fmt.Errorf("accounts[%d]: is empty", i)
		}
		made.accounts[account] = struct{}{}
	}
	_, made.all = made.accounts[Everything]
	return made, nil
}

// Check says what New would refuse of a user; the error begins with the field's
// name.
func Check(u User) error {
	_, err := newUser(u)
	return err
}

// checkName refuses names that HTTP Basic cannot carry or a log cannot show.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("is missing: every user needs one")
	case len(name) > maxName:
		return fmt.Errorf("has %d bytes, at most %d", len(name), maxName)
	case strings.ContainsAny(name, separators):
		return errors.New("must not hold : or ~: they end the name in NAME:PASSWORD and NAME~PASSWORD")
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return errors.New("holds characters that cannot be printed")
	}
	return nil
}
