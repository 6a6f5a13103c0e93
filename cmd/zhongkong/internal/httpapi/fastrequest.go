package httpapi

import (
	"bytes"
	"strings"
)

// tokenRequest is what a fastConn needs of a request.
type tokenRequest struct {
	account       string
	authorization string
	id            string // that the client gave; "": none
}

// parseTokenRequest parses GET /v1/tokens/{name} in its plainest form. data must be
// the whole of one request, without a body, a query or an escape. Headers are in printable
// ASCII, and one that means something here is not repeated. False says nothing about the
// request: net/http decides. So what is accepted here, every parser of HTTP reads in the
// same way.
func parseTokenRequest(data []byte) (r tokenRequest, ok bool) {
	rest, ok := bytes.CutPrefix(data, []byte("GET /v1/tokens/"))
	if !ok {
		return r, false
	}
	account, rest, ok := bytes.Cut(rest, []byte(" HTTP/1.1\r\n"))
	if !ok || !consists(account, inName) {
		return r, false
	}
	r.account = string(account)
	var seen seenHeaders
	for {
		var line []byte
		if line, rest, ok = bytes.Cut(rest, []byte("\r\n")); !ok {
			return r, false
		}
		if len(line) == 0 {
			return r, len(rest) == 0 && seen.host && seen.authorization
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !r.header(name, bytes.Trim(value, " "), &seen) {
			return r, false
		}
	}
}

// seenHeaders are the headers that a request has had, of those that matter.
type seenHeaders struct{ host, authorization, id bool }

// header takes a header. It returns false if net/http has to decide about the request.
func (r *tokenRequest) header(name, value []byte, seen *seenHeaders) bool {
	var space [40]byte
	if len(name) > len(space) || !consists(name, inToken) || !consists(value, printable) {
		return false
	}
	for i, b := range name {
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		space[i] = b
	}
	before := *seen
	switch name := string(space[:len(name)]); name {
	case "host":
		seen.host = true
		return !before.host && consists(value, inHost)
	case "authorization":
		r.authorization, seen.authorization = string(value), true
		return !before.authorization
	case "x-request-id":
		r.id, seen.id = string(value), true
		return !before.id
	case "connection":
		return strings.EqualFold(string(value), "keep-alive")
	case "content-type":
		return true // clients send it without a body, too
	case "expect", "http2-settings", "keep-alive", "origin", "sec-fetch-site", "te", "trailer", "transfer-encoding", "upgrade":
		return false
	default:
		// A header that the receiver does not know is ignored (RFC 9110, 5.1). Others of
		// these are about a body, a condition or the connection.
		return !strings.HasPrefix(name, "content-") && !strings.HasPrefix(name, "if-") && !strings.HasPrefix(name, "proxy-")
	}
}

// class says of each byte which values it may be in.
type class uint8

const (
	inName class = 1 << iota
	inHost
	inToken
	printable
)

var classes = func() (table [256]class) {
	for b := ' '; b <= '~'; b++ {
		table[b] |= printable
		letter := 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
		if letter || strings.ContainsRune("-._~:@", b) {
			table[b] |= inName
		}
		if letter || strings.ContainsRune("-._:[]", b) {
			table[b] |= inHost
		}
		if letter || strings.ContainsRune("!#$%&'*+-.^_`|~", b) { // RFC 9110, 5.6.2
			table[b] |= inToken
		}
	}
	return table
}()

// consists reports whether text consists of bytes of a class. No text but a printable
// one may be empty.
func consists(text []byte, of class) bool {
	for _, b := range text {
		if classes[b]&of == 0 {
			return false
		}
	}
	return len(text) > 0 || of == printable
}
