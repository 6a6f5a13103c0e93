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
// Bearer with a secret (see FromSecret). False: there is nothing in it that
// could be credentials.
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
	return separated(string(space[:n]), ":") // RFC 7617 knows no other
}

// separators end the name in a secret. WeChat's SDKs also use the secret as part
// of cache keys and of file names, in which a colon is not allowed everywhere; a
// tilde is, and in a URL it needs no escaping either.
const separators = ":~"

// FromSecret reads NAME:PASSWORD or NAME~PASSWORD, as the secret parameter under
// /cgi-bin/ has it. The first of the two characters ends the name: no name holds
// one of them, a password may hold both.
func FromSecret(secret string) (Credentials, bool) { return separated(secret, separators) }

func separated(secret, by string) (Credentials, bool) {
	at := strings.IndexAny(secret, by)
	if at <= 0 || at == len(secret)-1 {
		return Credentials{}, false
	}
	return Credentials{secret[:at], secret[at+1:]}, true
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
