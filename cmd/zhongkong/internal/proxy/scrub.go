package proxy

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// secrets are what must not reach a client, in the forms in which an upstream
// would repeat them.
type secrets []string

// shortestSecret keeps words of ordinary answers from being taken for secrets.
const shortestSecret = 4

func secretsOf(values ...string) secrets {
	var all secrets
	for _, value := range values {
		if len(value) < shortestSecret {
			continue
		}
		for _, form := range []string{value, url.QueryEscape(value), url.PathEscape(value), strings.ReplaceAll(value, "/", `\/`)} {
			if !slices.Contains(all, form) {
				all = append(all, form)
			}
		}
	}
	return all
}

// hide overwrites secrets in a text.
func (s secrets) hide(text string) string {
	for _, secret := range s {
		if strings.Contains(text, secret) {
			text = strings.ReplaceAll(text, secret, strings.Repeat("*", len(secret)))
		}
	}
	return text
}

// hideIn overwrites secrets in the values of a header or trailer.
func (s secrets) hideIn(values []string) {
	for i, value := range values {
		values[i] = s.hide(value)
	}
}

// dropNames takes those out of a header or trailer whose names hold a secret. Names have
// no case, and net/http has made them canonical.
func (s secrets) dropNames(h http.Header) {
	for name := range h {
		for _, secret := range s {
			if len(name) >= len(secret) && strings.Contains(strings.ToLower(name), strings.ToLower(secret)) {
				delete(h, name)
				break
			}
		}
	}
}

// masked overwrites secrets in what it reads with as many asterisks, so that the
// length of a body stays the same. It keeps back only what may be the beginning
// of a secret, and overwrites that, too, if the body is cut there.
type masked struct {
	from    io.Reader
	words   secrets
	longest int
	chunk   int // read at a time

	// endsWithConnection says that nothing tells the end of the body from a cut.
	endsWithConnection bool

	buf   []byte // what was read, masked
	ready int    // of buf that can be given out
	err   error  // after buf
}

// newMasked masks a body of the given length, below 0 if it is not known.
func newMasked(from io.Reader, words secrets, length int64) *masked {
	const most = 16 << 10
	m := &masked{from: from, words: words, chunk: most}
	if length >= 0 && length < most {
		m.chunk = int(length) + 1 // and the end
	}
	for _, word := range words {
		m.longest = max(m.longest, len(word))
	}
	return m
}

func (m *masked) Read(p []byte) (int, error) {
	for m.ready == 0 {
		if m.err != nil {
			return 0, m.err
		}
		m.fill()
	}
	n := copy(p, m.buf[:m.ready])
	m.buf = m.buf[:copy(m.buf, m.buf[n:])]
	m.ready -= n
	return n, nil
}

func (m *masked) fill() {
	m.buf = slices.Grow(m.buf, m.chunk)
	n, err := m.from.Read(m.buf[len(m.buf) : len(m.buf)+m.chunk])
	m.buf = m.buf[:len(m.buf)+n]
	m.err = err
	for _, word := range m.words {
		overwrite(m.buf, word)
	}
	m.ready = len(m.buf)
	begun := m.begun()
	switch {
	case err == nil:
		m.ready -= begun
	case !errors.Is(err, io.EOF), m.endsWithConnection && begun >= shortestSecret:
		for i := m.ready - begun; i < m.ready; i++ {
			m.buf[i] = '*'
		}
	}
}

func overwrite(text []byte, word string) {
	for {
		at := bytes.Index(text, []byte(word))
		if at < 0 {
			return
		}
		for i := range len(word) {
			text[at+i] = '*'
		}
		text = text[at+len(word):]
	}
}

// begun returns how many bytes at the end may be the beginning of a secret.
func (m *masked) begun() int {
	for n := min(m.longest-1, len(m.buf)); n > 0; n-- {
		end := m.buf[len(m.buf)-n:]
		for _, word := range m.words {
			if n < len(word) && end[0] == word[0] && string(end) == word[:n] {
				return n
			}
		}
	}
	return 0
}

// isText reports whether a body can be searched for a secret.
func isText(h http.Header) bool {
	if encoding := h.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return false
	}
	media, _, _ := strings.Cut(strings.ToLower(h.Get("Content-Type")), ";")
	media = strings.TrimSpace(media)
	switch major, _, _ := strings.Cut(media, "/"); major {
	case "image", "audio", "video", "font":
		return false
	}
	return media != "application/octet-stream" && media != "application/zip" && media != "application/pdf"
}

// location rewrites where a redirect leads: to the route if it leads to the
// upstream, and without the parameter that is the token's.
func (r *route) location(value string, from *url.URL, prefix string) string {
	target, err := from.Parse(value)
	if err != nil {
		return value
	}
	target.RawQuery = r.Put.removed(target.RawQuery)
	if rest, ok := strings.CutPrefix(target.EscapedPath(), strings.TrimRight(r.To.EscapedPath(), "/")); ok &&
		target.Scheme == r.To.Scheme && strings.EqualFold(target.Host, r.To.Host) && (rest == "" || rest[0] == '/') {
		here := url.URL{RawQuery: target.RawQuery, Fragment: target.Fragment}
		return prefix + "/" + strings.TrimLeft(rest, "/") + here.String()
	}
	return target.String()
}
