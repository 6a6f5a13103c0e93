package httpapi

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
)

// fields are those of a query string or a form, each value as it was sent. They
// are read more leniently than url.ParseQuery does: clients that are made for
// AppSecrets, which are hexadecimal, paste a password into a URL as it is, and a
// value must not be lost because of a ; or a % in it.
type fields map[string][]string

var errMalformed = errors.New("the name of a field is not well-formed")

// parseFields splits a query string or the body of a form at its &.
func parseFields(query string) (fields, error) {
	f := make(fields)
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if pair == "" {
			continue
		}
		name, err := url.QueryUnescape(name)
		if err != nil {
			return f, errMalformed
		}
		f[name] = append(f[name], value)
	}
	return f, nil
}

// get returns the first value of a field, decoded.
func (f fields) get(name string) string {
	if values := f[name]; len(values) > 0 {
		return decode(values[0])
	}
	return ""
}

// decode returns what a value says if it was escaped, and the value as it is if
// it cannot have been.
func decode(sent string) string {
	if decoded, err := url.QueryUnescape(sent); err == nil {
		return decoded
	}
	return sent
}

// readings returns what a value may mean that holds a password: decoded, or
// pasted without escaping, with a + that is a + and a % that is a %. Who pastes
// leaves a colon as it is, too; so what has one is read that way first.
func readings(sent string) []string {
	all := []string{decode(sent)}
	if strings.Contains(sent, "+") {
		plus := decode(strings.ReplaceAll(sent, "+", "%2B"))
		if strings.Contains(sent, ":") {
			all = slices.Insert(all, 0, plus)
		} else {
			all = append(all, plus)
		}
	}
	if strings.Contains(sent, "%") {
		all = append(all, sent)
	}
	return slices.Compact(all)
}

// secretReadings are the credentials that a secret may mean.
func secretReadings(texts []string) []auth.Credentials {
	var all []auth.Credentials
	for _, text := range texts {
		if c, ok := auth.FromSecret(text); ok {
			all = append(all, c)
		}
	}
	return all
}
