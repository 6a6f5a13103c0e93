package auth

import (
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"slices"
	"strings"
)

const (
	maxName     = 128  // bytes in a user's name
	maxPassword = 1024 // bytes in a password
)

// Credentials are a name and a password as they were sent, not verified yet. They
// print as "[credentials]".
type Credentials struct{ Name, Password string }

// tooLong reports whether no user has such a name or password, so that nothing is guessed
// with them.
func (c Credentials) tooLong() bool { return len(c.Name) > maxName || len(c.Password) > maxPassword }

// String returns "[credentials]".
func (Credentials) String() string { return "[credentials]" }

// Format prints String for every verb.
func (c Credentials) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue is String, for log/slog.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalText is String, for encoders.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// maxEncoded is the length of the longest credentials in base64.
const maxEncoded = (maxName + 1 + maxPassword + 2) / 3 * 4

// FromAuthorization parses the value of an Authorization header: HTTP Basic, or
// Bearer with a secret (see FromSecret). It returns false if the header holds no
// credentials.
func FromAuthorization(header string) (Credentials, bool) {
	scheme, rest, ok := strings.Cut(header, " ")
	if !ok {
		return Credentials{}, false
	}
	rest = strings.Trim(rest, " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return FromSecret(rest)
	case strings.EqualFold(scheme, "Basic"):
		return fromBasic(rest)
	default:
		return Credentials{}, false
	}
}

func fromBasic(encoded string) (Credentials, bool) {
	var space [maxEncoded]byte
	if len(encoded) > len(space) {
		return Credentials{}, false
	}
	n, err := base64.StdEncoding.Decode(space[:], []byte(encoded))
	if err != nil {
		return Credentials{}, false
	}
	return separated(string(space[:n]), ":") // the only separator of RFC 7617
}

// separators are the characters that end the name in a secret. WeChat's SDKs also
// put the secret into cache keys and file names, where a colon is not always
// allowed. A tilde is, and it needs no escaping in a URL.
const separators = ":~"

// FromSecret parses NAME:PASSWORD or NAME~PASSWORD, the form of the secret
// parameter under /cgi-bin/. The first colon or tilde ends the name; a password
// may contain both.
func FromSecret(secret string) (Credentials, bool) { return separated(secret, separators) }

func separated(secret, by string) (Credentials, bool) {
	at := strings.IndexAny(secret, by)
	if at <= 0 || at == len(secret)-1 {
		return Credentials{}, false
	}
	return Credentials{secret[:at], secret[at+1:]}, true
}

// FromForm reads the form fields of /GetToken: name or UserName, password or
// Password. It returns false if a field is missing, or is given twice in either
// spelling: two programs might read different values.
func FromForm(form url.Values) (Credentials, bool) {
	names := slices.Concat(form["name"], form["UserName"])
	passwords := slices.Concat(form["password"], form["Password"])
	if len(names) != 1 || len(passwords) != 1 || names[0] == "" || passwords[0] == "" {
		return Credentials{}, false
	}
	return Credentials{names[0], passwords[0]}, true
}
