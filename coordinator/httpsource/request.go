package httpsource

import (
	"context"
	"crypto/md5" //nolint:gosec // the issuer's choice; the digest protects nothing of ours
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// What Request.Body may be.
const (
	bodyQuery = "query"
	bodyForm  = "form"
	bodyJSON  = "json"
	bodyNone  = "none"
)

// What Sign.Algorithm may be.
const (
	signSHA256 = "sha256"
	signMD5    = "md5"
)

// What Use.Put begins with.
const (
	putBearer = "bearer"
	putQuery  = "query"
	putHeader = "header"
)

// errRequest is all that is said of a request that cannot be made: the cause would
// quote the URL, which may hold the secret.
var errRequest = errors.New("the request cannot be made: check the parameters")

// build makes the call for a token. base, if any, replaces the scheme and the host of
// the URL, and stands before its path.
func (r *Request) build(ctx context.Context, base *url.URL, values map[string]string) (*http.Request, error) {
	values[signature] = r.Sign.sum(expand(r.Sign.Text, values, asItIs))
	target, err := address(r.URL, base, values)
	if err != nil {
		return nil, err
	}
	fields := make(map[string]string, len(r.Fields))
	for name, template := range r.Fields {
		fields[name] = expand(template, values, asItIs)
	}
	var body io.Reader
	var contentType string
	switch r.Body {
	case bodyQuery:
		target.RawQuery = join(target.RawQuery, encode(fields))
	case bodyForm:
		body, contentType = strings.NewReader(encode(fields)), "application/x-www-form-urlencoded"
	case bodyJSON:
		text, err := r.object(fields)
		if err != nil {
			return nil, err
		}
		body, contentType = strings.NewReader(text), "application/json"
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, target.String(), body)
	if err != nil {
		return nil, errRequest
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for name, template := range r.Headers {
		req.Header.Set(name, expand(template, values, asItIs))
	}
	return req, nil
}

// object encodes fields as a JSON object.
func (r *Request) object(fields map[string]string) (string, error) {
	members := make(map[string]any, len(fields))
	for name, value := range fields {
		members[name] = value
	}
	for _, name := range r.Numbers {
		members[name] = json.Number(fields[name])
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(members); err != nil {
		return "", errRequest // a number that is none
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// address expands a URL's template.
func address(template string, base *url.URL, values map[string]string) (*url.URL, error) {
	path, query, hasQuery := strings.Cut(template, "?")
	text := expand(path, values, url.PathEscape)
	if hasQuery {
		text += "?" + expand(query, values, url.QueryEscape)
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil {
		return nil, errRequest
	}
	if base != nil {
		u.Scheme, u.Host = base.Scheme, base.Host
		raw := strings.TrimSuffix(base.EscapedPath(), "/") + u.EscapedPath()
		u.Path, u.RawPath = strings.TrimSuffix(base.Path, "/")+u.Path, raw
	}
	return u, nil
}

func encode(fields map[string]string) string {
	values := make(url.Values, len(fields))
	for name, value := range fields {
		values.Set(name, value)
	}
	return values.Encode()
}

// join joins two queries.
func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "&" + b
}

func (s Sign) sum(text string) string {
	switch s.Algorithm {
	case signSHA256:
		sum := sha256.Sum256([]byte(text))
		return hex.EncodeToString(sum[:])
	case signMD5:
		sum := md5.Sum([]byte(text)) //nolint:gosec // as above
		return hex.EncodeToString(sum[:])
	}
	return ""
}

// clockValues are the values of the templates that tell the time.
func clockValues(now time.Time) map[string]string {
	return map[string]string{
		timestamp:   strconv.FormatInt(now.Unix(), 10),
		timestampMS: strconv.FormatInt(now.UnixMilli(), 10),
	}
}

// place splits Put.
func (u Use) place() (how, name string) {
	how, name, _ = strings.Cut(u.Put, " ")
	return how, name
}

// Apply puts a token into a business call, in place of any other.
func (u Use) Apply(req *http.Request, token string) {
	switch how, name := u.place(); how {
	case putBearer:
		req.Header.Set("Authorization", "Bearer "+token)
	case putHeader:
		if u.Scheme != "" {
			token = u.Scheme + " " + token
		}
		req.Header.Set(name, token)
	case putQuery:
		query := req.URL.Query()
		query.Set(name, token)
		req.URL.RawQuery = query.Encode()
	}
}
