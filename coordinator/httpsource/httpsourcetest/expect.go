package httpsourcetest

import (
	"crypto/md5" //nolint:gosec // the issuers' choice
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// expectation is a Wire's Request, taken apart.
type expectation struct {
	method  string
	url     string // template, without query
	query   map[string]string
	headers map[string]string
	body    string
}

func parseRequest(text string) expectation {
	head, body, _ := strings.Cut(text, "\n\n")
	lines := strings.Split(head, "\n")
	method, target, _ := strings.Cut(lines[0], " ")
	address, query, _ := strings.Cut(target, "?")
	e := expectation{method: method, url: address, query: pairs(query), headers: make(map[string]string), body: body}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		e.headers[name] = value
	}
	return e
}

// path returns the path of the URL.
func (e expectation) path(values map[string]string) string {
	_, rest, _ := strings.Cut(e.url, "://")
	_, path, _ := strings.Cut(rest, "/")
	return "/" + fill(path, values)
}

// verdict is what an issuer thinks of a request.
type verdict struct {
	complaint string // the client does not speak the issuer's language
	refused   bool   // a credential is wrong
	parent    bool   // the parent's token is not valid
}

// judge compares a request with the expectation. values are the account's.
func (e expectation) judge(r *http.Request, values map[string]string, now time.Time, parentLives func(string) bool) verdict {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return verdict{complaint: "the body cannot be read"}
	}
	said := &hearing{values: make(map[string]string), parentLives: parentLives}
	maps.Copy(said.values, values)
	said.takeTime(r.URL.RawQuery+" "+string(body), now)
	if r.Method != e.method {
		said.complain("the method is %s, want %s", r.Method, e.method)
	}
	for name, template := range e.headers {
		said.field("header "+name, template, r.Header.Get(name))
	}
	said.fields("query", e.query, pairs(r.URL.RawQuery))
	switch {
	case e.body == "":
		if len(body) > 0 {
			said.complain("there is a body, want none")
		}
	case strings.HasPrefix(e.body, "{"):
		said.fields("body", members(unquoted().ReplaceAllString(e.body, `:"#$1"`)), members(string(body)))
	default:
		said.fields("body", pairs(e.body), pairs(string(body)))
	}
	return said.verdict
}

// unquoted finds placeholders that stand for numbers in JSON.
func unquoted() *regexp.Regexp { return regexp.MustCompile(`:(\{\w+\})`) }

// hearing collects the verdict on one request.
type hearing struct {
	verdict
	values      map[string]string
	parentLives func(string) bool
}

func (h *hearing) complain(format string, args ...any) {
	if h.complaint == "" {
		h.complaint = fmt.Sprintf(format, args...)
	}
}

// takeTime finds the caller's time in what it sent. One that is 10 minutes off counts
// as a wrong credential.
func (h *hearing) takeTime(sent string, now time.Time) {
	h.values["timestamp_ms"] = "none"
	for _, found := range regexp.MustCompile(`\b\d{12,13}\b`).FindAllString(sent, -1) {
		ms, err := strconv.ParseInt(found, 10, 64)
		if err == nil && now.Sub(time.UnixMilli(ms)).Abs() <= 10*time.Minute {
			h.values["timestamp_ms"] = found
		}
	}
}

func (h *hearing) fields(where string, templates, sent map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(templates)) {
		value, ok := sent[name]
		if !ok {
			h.complain("the %s has no %s", where, name)
		}
		h.field(where+" "+name, templates[name], value)
	}
	for _, name := range slices.Sorted(maps.Keys(sent)) {
		if _, ok := templates[name]; !ok {
			h.complain("the %s has %s, which is not documented", where, name)
		}
	}
}

// field compares one value. Where a parameter decides, a difference is a wrong
// credential; elsewhere it is a complaint. A value that begins with # is a number.
func (h *hearing) field(what, template, value string) {
	if strings.HasPrefix(template, "#") != strings.HasPrefix(value, "#") {
		h.complain("%s must be a number if it is documented as one, and else a string", what)
		return
	}
	before, after, isParent := strings.Cut(template, "{parent_token}")
	if isParent {
		token, begins := strings.CutPrefix(value, before)
		token, ends := strings.CutSuffix(token, after)
		if !begins || !ends {
			h.complain("%s must look like %q", what, template)
		}
		h.parent = h.parentLives == nil || !h.parentLives(token)
		return
	}
	switch want := fill(template, h.values); {
	case value == want:
	case want == template:
		h.complain("%s is %q, want %q", what, value, want)
	default:
		h.refused = true
	}
}

// pairs reads a query or an urlencoded form.
func pairs(text string) map[string]string {
	values, _ := url.ParseQuery(text)
	flat := make(map[string]string, len(values))
	for name, all := range values {
		flat[name] = strings.Join(all, ",")
	}
	return flat
}

// members reads a JSON object of scalars. Numbers begin with #.
func members(text string) map[string]string {
	var object map[string]any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if d.Decode(&object) != nil {
		return nil
	}
	flat := make(map[string]string, len(object))
	for name, value := range object {
		if number, ok := value.(json.Number); ok {
			value = "#" + number.String()
		}
		flat[name] = fmt.Sprint(value)
	}
	return flat
}

// fill replaces placeholders by values and digests of values. What it does not know
// stays.
func fill(text string, values map[string]string) string {
	return regexp.MustCompile(`\{[a-z0-9_ ]+\}`).ReplaceAllStringFunc(text, func(placeholder string) string {
		words := strings.Fields(strings.Trim(placeholder, "{}"))
		if len(words) == 1 {
			if value, ok := values[words[0]]; ok {
				return value
			}
			return placeholder
		}
		var all strings.Builder
		for _, word := range words[1:] {
			all.WriteString(values[word])
		}
		if words[0] == "md5" {
			sum := md5.Sum([]byte(all.String())) //nolint:gosec // as above
			return hex.EncodeToString(sum[:])
		}
		sum := sha256.Sum256([]byte(all.String()))
		return hex.EncodeToString(sum[:])
	})
}
