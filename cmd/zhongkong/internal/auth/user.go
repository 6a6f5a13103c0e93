package auth

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

const udpKeySize = 32 // bytes

// AllAccounts in User.Accounts stands for all accounts, including those that are
// added later.
const AllAccounts = "*"

// User is the configuration of one user. It prints as its name alone.
type User struct {
	Name string

	// PasswordHashes are what Hash made of its passwords, or what NewKey returned for
	// its keys, at most MaxPasswords.
	// Each of them is valid, so that a password can be replaced without a gap.
	// Empty: no password is correct, and the user can only send datagrams.
	PasswordHashes []string

	// Password is the password itself in place of PasswordHashes, for trying out
	// and for keys generated for one run. The Authenticator does not keep it.
	Password string

	// Accounts are the names of the accounts whose tokens it may have, or
	// AllAccounts.
	Accounts []string

	// Refresh allows it to force a refresh of these accounts.
	Refresh bool

	// Grant allows it to put in the grants of these accounts.
	Grant bool

	// UDPKey is the key of its datagrams, 32 bytes. Nil: it sends none.
	UDPKey []byte

	// Told bounds the lifetime that it is told a token has.
	Told Told

	// Phantom gives it phantoms in place of tokens.
	Phantom bool
}

// Told bounds for how long a caller is told that it may use a token before it
// asks again.
type Told struct {
	// Max is the longest time. 0: until the token will have been replaced.
	Max time.Duration

	// Min is the shortest time while the token is valid, for clients that
	// subtract a margin and fail if nothing is left. 0: no minimum.
	Min time.Duration
}

// Bound returns planned within the bounds.
func (t Told) Bound(planned time.Duration) time.Duration {
	if t.Max > 0 {
		planned = min(planned, t.Max)
	}
	return max(planned, t.Min)
}

// ParseUser parses "NAME:PASSWORD". The user has all accounts and the refresh
// right. The error does not repeat the password.
func ParseUser(s string) (User, error) {
	name, password, ok := strings.Cut(s, ":")
	if !ok {
		return User{}, errors.New("a user is NAME:PASSWORD; there is no colon")
	}
	u := User{Name: name, Password: password, Accounts: []string{AllAccounts}, Refresh: true}
	if password == "" {
		return User{}, fmt.Errorf("user %q: there is no password after the colon", name)
	}
	if err := Check(u); err != nil {
		return User{}, fmt.Errorf("user %q: %w", name, err)
	}
	return u, nil
}

// EphemeralUser returns the user for a run without configured users: zhongkong,
// with a random key, all accounts and the refresh right.
func EphemeralUser() User {
	key := base64.RawURLEncoding.EncodeToString(random(24))
	return User{Name: "zhongkong", Password: key, Accounts: []string{AllAccounts}, Refresh: true}
}

// String returns the name: a User holds secrets.
func (u User) String() string { return u.Name }

// Format prints String for every verb.
func (u User) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, u.Name) }

// LogValue is String, for log/slog.
func (u User) LogValue() slog.Value { return slog.StringValue(u.Name) }

// MarshalText is String, for encoders.
func (u User) MarshalText() ([]byte, error) { return []byte(u.Name), nil }

// configured is a hash as it was parsed.
type configured struct {
	hash *digest // nil for the hash of a key
	key  keySum
}

// validate checks u and parses its hashes. The error begins with the field's name.
func (u User) validate() ([]configured, error) {
	if err := checkName(u.Name); err != nil {
		return nil, fmt.Errorf("name: %w", err)
	}
	switch {
	case len(u.PasswordHashes) > 0 && u.Password != "":
		return nil, errors.New("password: is given both as a hash and as it is")
	case len(u.PasswordHashes) == 0 && u.Password == "" && u.UDPKey == nil:
		return nil, errors.New("password: is missing: put the line that `zhongkong passwd` prints")
	case len(u.Password) > maxPassword:
		return nil, fmt.Errorf("password: has %d bytes, at most %d", len(u.Password), maxPassword)
	case u.UDPKey != nil && len(u.UDPKey) != udpKeySize:
		return nil, fmt.Errorf("udp_key: has %d bytes, must have %d: make one with `zhongkong keygen`", len(u.UDPKey), udpKeySize)
	case len(u.Accounts) == 0:
		return nil, errors.New(`accounts: is empty: list accounts, or "*" for all`)
	}
	if i := slices.Index(u.Accounts, ""); i >= 0 {
		return nil, fmt.Errorf("accounts[%d]: is empty", i)
	}
	return parseHashes(u.PasswordHashes)
}

func parseHashes(texts []string) ([]configured, error) {
	if len(texts) > MaxPasswords {
		return nil, fmt.Errorf("password: has %d hashes, at most %d: remove those of passwords that are no longer used", len(texts), MaxPasswords)
	}
	var all []configured
	for i, text := range texts {
		field := "password"
		if len(texts) > 1 {
			field = fmt.Sprintf("password[%d]", i)
		}
		var one configured
		var err error
		if isKeyHash(text) {
			one.key, err = parseKeyHash(text)
		} else {
			one.hash, err = parseHash(text)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", field, err)
		}
		if slices.Contains(texts[:i], text) {
			return nil, fmt.Errorf("%s: is given twice: remove one of the two", field)
		}
		all = append(all, one)
	}
	return all, nil
}

// Check returns the error that New would return because of u. It begins with the
// field's name.
func Check(u User) error {
	_, err := u.validate()
	return err
}

// checkName rejects names that HTTP Basic cannot carry or a log cannot show.
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
