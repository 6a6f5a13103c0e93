package source

import (
	"errors"
	"fmt"
	"time"
)

const (
	// MaxToken bounds what is stored and served as a token, in bytes. Issuers ask to reserve
	// up to 4 KB; JWTs with long lists of rights have 16 KB.
	MaxToken = 32 << 10

	// CautiousLife is the assumed life of a token that came without the one that the issuer
	// states. The token is used because it was issued, and may have ended the one before.
	// Refreshed at half this life, the day's quota of calls suffices.
	CautiousLife = 10 * time.Minute
)

// CheckToken returns why a token cannot be stored and served, nil if it can or is "". The
// error begins with name and does not quote the token.
func CheckToken(name, token string) error {
	switch {
	case len(token) > MaxToken:
		return fmt.Errorf("%s of %d characters", name, len(token))
	case !Printable(token):
		return errors.New(name + " with blanks, control or non-ASCII characters")
	}
	return nil
}

// Printable reports whether s is visible ASCII throughout, as every token, secret and
// identifier of an issuer is.
func Printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
