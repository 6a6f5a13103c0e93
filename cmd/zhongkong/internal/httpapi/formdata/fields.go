// Package formdata reads the query strings and bodies that old clients and
// unmodified SDKs send. It accepts more than the standards allow: clients paste
// passwords without escaping them, and name the wrong Content-Type or none.
package formdata

import (
	"errors"
	"net/url"
	"slices"
	"strings"
)

// Fields are the fields of a query string or an urlencoded form, each value as
// it was sent. url.ParseQuery would drop a value that holds a ; or a % that
// escapes nothing, and passwords hold both.
type Fields map[string][]string

var errFieldName = errors.New("the name of a field is not well-formed")

// Parse splits a query string or the body of a form at each &. It fails on a
// name with a malformed escape, never on a value.
func Parse(query string) (Fields, error) {
	f := make(Fields)
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if pair == "" {
			continue
		}
		name, err := url.QueryUnescape(name)
		if err != nil {
			return f, errFieldName
		}
		f[name] = append(f[name], value)
	}
	return f, nil
}

// Get returns the first value of a field, decoded; "" if there is none.
func (f Fields) Get(name string) string {
	if values := f[name]; len(values) > 0 {
		return decode(values[0])
	}
	return ""
}

// decode returns a value without its escapes, or unchanged if they are
// malformed: then it was not escaped.
func decode(sent string) string {
	if decoded, err := url.QueryUnescape(sent); err == nil {
		return decoded
	}
	return sent
}

// Decodings returns what the sent form of a password can mean, the likeliest
// first: the decoded value, and the value as it is if it was pasted without
// escaping. A client that pastes does not escape a colon either, so a value that
// holds one is read that way first.
func Decodings(sent string) []string {
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
