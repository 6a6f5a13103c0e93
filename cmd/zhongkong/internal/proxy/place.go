package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/header"
)

// Place is where an upstream expects the token. The zero Place is none.
type Place struct {
	kind placeKind
	name string // of the query parameter or the header
	also string // the name of the parameter at other endpoints; "": it is the same
}

// Or returns p, a query parameter, for an API some of whose endpoints know the parameter by
// another name: the token is where the client has put one.
func (p Place) Or(name string) Place {
	p.also = name
	return p
}

type placeKind int

const (
	nowhere placeKind = iota
	inQuery
	inBearer
	inHeader
)

const authorization = "Authorization"

// ParsePlace reads the put: field of a route: "bearer", "query NAME" or
// "header NAME".
func ParsePlace(text string) (Place, error) {
	kind, name, _ := strings.Cut(text, " ")
	name = strings.TrimSpace(name)
	switch {
	case kind == "bearer" && name == "":
		return Place{kind: inBearer, name: authorization}, nil
	case kind == "query" && name != "":
		return Place{kind: inQuery, name: name}, nil
	case kind == "header" && name != "":
		name = textproto.CanonicalMIMEHeaderKey(name)
		if !isFieldName(name) || isReserved(name) {
			return Place{}, fmt.Errorf("a token cannot be put into the header %q", name)
		}
		return Place{kind: inHeader, name: name}, nil
	}
	return Place{}, errors.New("must be bearer, query NAME or header NAME")
}

// isFieldName reports whether a name is a token of RFC 9110.
func isFieldName(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

// isReserved reports whether a header means something to the connection or to
// this server.
func isReserved(name string) bool {
	switch name {
	case authorization, "Host", "Cookie", "Content-Length", "Content-Type", "Transfer-Encoding", "Connection", "Te", "Trailer",
		"Upgrade", "Expect", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization":
		return true
	}
	return false
}

// take returns the token that a client put there, "" if it did not.
func (p Place) take(r *http.Request) string {
	switch p.kind {
	case inQuery:
		token := parameter(r.URL.RawQuery, p.name)
		if token == "" && p.also != "" {
			token = parameter(r.URL.RawQuery, p.also)
		}
		return token
	case inBearer:
		scheme, rest, ok := strings.Cut(header.First(r.Header[authorization]), " ")
		if ok && strings.EqualFold(scheme, "Bearer") {
			return strings.Trim(rest, " ")
		}
	case inHeader:
		return header.First(r.Header[p.name])
	}
	return ""
}

// put puts a token there, in the place of whatever there was.
func (p Place) put(out *http.Request, token string) {
	switch p.kind {
	case inQuery:
		name, query := p.name, out.URL.RawQuery
		if other := p.also; other != "" {
			if parameter(query, name) == "" && parameter(query, other) != "" {
				name, other = other, name
			}
			query = withoutParameters(query, other)
		}
		out.URL.RawQuery = withParameter(query, name, token)
	case inBearer:
		out.Header.Set(authorization, "Bearer "+token)
	case inHeader:
		out.Header.Set(p.name, token)
	}
}

// removed returns a query without the token in it.
func (p Place) removed(query string) string {
	if p.also != "" {
		return withoutParameters(query, p.name, p.also)
	}
	return withoutParameters(query, p.name)
}

// tokenParameters are those of WeChat's and WeCom's calls.
var tokenParameters = []string{"access_token", "component_access_token", "suite_access_token", "provider_access_token"}

// isBesideAnother reports whether a query has another token than the one put there: the
// upstream may have rejected that one, which is the client's own.
func (p Place) isBesideAnother(query string) bool {
	return slices.ContainsFunc(tokenParameters, func(name string) bool {
		return name != p.name && name != p.also && parameter(query, name) != ""
	})
}

// parameter returns the first value of a query parameter, "" if there is none.
func parameter(query, name string) string {
	for pair := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		if isParameter(key, name) {
			return unescaped(value)
		}
	}
	return ""
}

// withParameter puts a parameter at the end of a query, in the place of all
// others of that name.
func withParameter(query, name, value string) string {
	key, value := url.QueryEscape(name), url.QueryEscape(value)
	var b strings.Builder
	b.Grow(len(query) + len(key) + len(value) + 2)
	writeWithout(&b, query, name)
	if b.Len() > 0 {
		b.WriteByte('&')
	}
	b.WriteString(key)
	b.WriteByte('=')
	b.WriteString(value)
	return b.String()
}

// withoutParameters takes parameters out of a query and leaves the others as
// they were written.
func withoutParameters(query string, names ...string) string {
	if !mayHold(query, names) {
		return query // as it is for most
	}
	var b strings.Builder
	writeWithout(&b, query, names...)
	return b.String()
}

func mayHold(query string, names []string) bool {
	return strings.IndexByte(query, '%') >= 0 || strings.IndexByte(query, '+') >= 0 ||
		slices.ContainsFunc(names, func(name string) bool { return strings.Contains(query, name) })
}

func writeWithout(b *strings.Builder, query string, names ...string) {
	for pair := range strings.SplitSeq(query, "&") {
		key, _, _ := strings.Cut(pair, "=")
		if pair == "" || slices.ContainsFunc(names, func(name string) bool { return isParameter(key, name) }) {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(pair)
	}
}

// isParameter reports whether a key, as it was written, is this parameter.
func isParameter(key, name string) bool {
	return key == name || strings.ContainsAny(key, "%+") && unescaped(key) == name
}

// unescaped returns what a part of a query says, or itself if it cannot have
// been escaped.
func unescaped(text string) string {
	if plain, err := url.QueryUnescape(text); err == nil {
		return plain
	}
	return text
}
