package callers

import (
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Credentials are a name and a password as somebody sent them: nothing is
// proved. They print as "[credentials]".
type Credentials struct{ Name, Password string }

// String returns "[credentials]".
func (Credentials) String() string { return "[credentials]" }

// GoString is String, for %#v.
func (c Credentials) GoString() string { return c.String() }

// Format prints String for every verb.
func (c Credentials) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue is String, for log/slog.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalText is String, for encoders.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// maxEncoded is the length of the longest credentials in base64.
const maxEncoded = (maxName + 1 + maxPassword + 2) / 3 * 4

// FromAuthorization reads the value of an Authorization header: HTTP Basic, or
// Bearer NAME:PASSWORD. False: there is nothing in it that could be
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
	return FromSecret(string(space[:n]))
}

// FromSecret reads NAME:PASSWORD, as the secret parameter under /cgi-bin/ has
// it.
func FromSecret(secret string) (Credentials, bool) {
	name, password, ok := strings.Cut(secret, ":")
	if !ok || name == "" || password == "" {
		return Credentials{}, false
	}
	return Credentials{name, password}, true
}

// FromForm reads the fields of /GetToken: name or UserName, password or
// Password. A field that is given twice, in either spelling, is refused: two
// readers might take different ones.
func FromForm(form url.Values) (Credentials, bool) {
	names := slices.Concat(form["name"], form["UserName"])
	passwords := slices.Concat(form["password"], form["Password"])
	if len(names) != 1 || len(passwords) != 1 || names[0] == "" || passwords[0] == "" {
		return Credentials{}, false
	}
	return Credentials{names[0], passwords[0]}, true
}

// Addr returns the address of an http.Request's RemoteAddr. The zero Addr: it
// has none.
func Addr(remote string) netip.Addr {
	addrPort, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return addrPort.Addr()
}
