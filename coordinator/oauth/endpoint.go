package oauth

import (
	"fmt"
	"net/url"

	"github.com/zhongkong/zhongkong/coordinator/internal/source"
)

// checkURL reports what is wrong with an address that secrets are sent to. Its errors
// do not quote the address, which may hold a password.
func checkURL(field, address string) error {
	u, err := url.Parse(address)
	switch {
	case address == "":
		return fmt.Errorf("%s: it is missing", field)
	case err != nil:
		return fmt.Errorf("%s: it cannot be parsed", field)
	case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return fmt.Errorf("%s: it must begin with https:// and a host", field)
	case u.User != nil || u.Fragment != "":
		return fmt.Errorf("%s: it must have neither user nor fragment", field)
	case u.Scheme == "http" && !source.IsLocal(u.Hostname()):
		return fmt.Errorf("%s: it would send the credential unencrypted to %s: use https", field, u.Hostname())
	}
	return nil
}

// place names an endpoint in messages: without the query, which may hold secrets.
func place(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "the token endpoint"
	}
	return u.Host + u.EscapedPath()
}
