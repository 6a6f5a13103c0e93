package source

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
)

// maxPeek is the largest answer that is read to find an issuer's code. Larger ones are
// passed on unread.
const maxPeek = 8 << 10

// Peek returns the body of an answer that is passed on if it may be a JSON object of at most
// 8 KiB, perhaps compressed; nil if not. It blocks until as much of the body has arrived as
// this takes, and replaces resp.Body by one that can still be read from its start. inMemory
// says that reading that body will not block.
func Peek(resp *http.Response) (body []byte, inMemory bool) {
	if resp.ContentLength > maxPeek || !mayBeJSON(resp.Header.Get("Content-Type")) {
		return nil, false
	}
	begin, err := peekObject(resp.Body, resp.ContentLength)
	joined := &rejoined{Reader: bytes.NewReader(begin), Closer: resp.Body}
	inMemory = errors.Is(err, io.EOF)
	if !inMemory {
		joined.Reader = io.MultiReader(joined.Reader, failing{err}, resp.Body)
	}
	resp.Body = joined
	if !inMemory {
		return nil, false
	}
	return begin, true
}

// mayBeJSON reports whether an answer of this content type may be an errcode. WeChat
// sends JSON as text/plain as well. Binary types are not read.
func mayBeJSON(contentType string) bool {
	media, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	media = strings.TrimSpace(media)
	return media == "" || strings.HasPrefix(media, "text/") ||
		strings.HasSuffix(media, "json") || strings.HasSuffix(media, "javascript")
}

// peekObject reads r as long as the data may be a short JSON object, compressed or
// not. The error is io.EOF if it read everything, nil if there may be more. length is
// that of the answer, below 0 if it is not known.
func peekObject(r io.Reader, length int64) ([]byte, error) {
	const usual = 1024
	if length < 0 {
		length = usual
	}
	buf := make([]byte, 0, length+1) // and room to meet the end
	for len(buf) < maxPeek {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, usual)
		}
		n, err := r.Read(buf[len(buf):min(cap(buf), maxPeek)])
		buf = buf[:len(buf)+n]
		if err != nil {
			return buf, err
		}
		if !mayBeObject(buf) {
			return buf, nil
		}
	}
	return buf, nil
}

// mayBeObject reports whether an answer with this beginning may be an object.
func mayBeObject(begin []byte) bool {
	rest := TrimMark(begin)
	if len(rest) == 0 || rest[0] == '{' || bytes.HasPrefix(begin, []byte(GzipMagic)) {
		return true
	}
	part := bytes.TrimSpace(begin) // perhaps only this of a mark has arrived
	return bytes.HasPrefix([]byte(GzipMagic), part) || bytes.HasPrefix([]byte(ByteOrderMark), part)
}

// rejoined is a body whose beginning has been read.
type rejoined struct {
	io.Reader
	io.Closer
}

// failing returns the error that peeking met. Without one it is at its end, so that
// the body follows.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err == nil {
		return 0, io.EOF
	}
	return 0, f.err
}
