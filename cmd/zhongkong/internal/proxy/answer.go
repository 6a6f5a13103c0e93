package proxy

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/zhongkong/zhongkong/coordinator/wechat"
)

// maxPeek bounds what is read of an answer to see whether it rejects the token.
const maxPeek = 8 << 10

// verdict is what an answer says of the token that the call was made with.
type verdict int

const (
	accepted verdict = iota
	doubtful         // 401, which may have another cause
	rejected
)

// judge leaves resp as if nothing had been read.
func (r *route) judge(resp *http.Response) verdict {
	if !r.WeChat {
		switch {
		case resp.StatusCode != http.StatusUnauthorized:
			return accepted
		case slices.ContainsFunc(resp.Header.Values("Www-Authenticate"), func(s string) bool { return strings.Contains(s, "invalid_token") }):
			return rejected
		}
		return doubtful
	}
	if resp.ContentLength > maxPeek || !mayBeErrcode(first(resp.Header["Content-Type"])) {
		return accepted
	}
	begin, err := peekObject(resp.Body, resp.ContentLength)
	joined := &rejoined{Reader: bytes.NewReader(begin), Closer: resp.Body, whole: errors.Is(err, io.EOF)}
	switch {
	case joined.whole:
	case err != nil:
		joined.Reader = io.MultiReader(joined.Reader, failing{err})
	default:
		joined.Reader = io.MultiReader(joined.Reader, resp.Body)
	}
	resp.Body = joined
	if joined.whole && wechat.IsTokenRejected(errcode(begin)) {
		return rejected
	}
	return accepted
}

// mayBeErrcode reports whether an errcode may come under this content type:
// WeChat sends JSON as text/plain, too.
func mayBeErrcode(contentType string) bool {
	media := mediaType(contentType)
	return media == "" || media == "application/json" || media == "text/plain" || media == "text/html" ||
		strings.HasSuffix(media, "javascript") || strings.HasSuffix(media, "+json") || media == "text/json"
}

func mediaType(contentType string) string {
	media, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(media))
}

// peekObject reads while what comes may be a short JSON object, perhaps
// compressed. The error is io.EOF when it read all of it, nil when there may be
// more. length is the answer's, if it is known.
func peekObject(r io.Reader, length int64) ([]byte, error) {
	const usual = 1024
	if length < 0 {
		length = usual
	}
	buf := make([]byte, 0, length+1) // room for the end, too
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

func mayBeObject(begin []byte) bool {
	if begin = withoutMark(begin); len(begin) == 0 {
		return true
	}
	return begin[0] == '{' || begin[0] == gzipMagic[0] && (len(begin) == 1 || begin[1] == gzipMagic[1])
}

const (
	gzipMagic     = "\x1f\x8b"
	byteOrderMark = "\xef\xbb\xbf"
)

func withoutMark(text []byte) []byte {
	return bytes.TrimLeft(bytes.TrimPrefix(text, []byte(byteOrderMark)), " \t\r\n")
}

// errcode returns the errcode of an answer, 0 if it has none. Relays in front of
// WeChat write it as a string or with a fraction, and write after the object.
func errcode(answer []byte) int {
	if bytes.HasPrefix(answer, []byte(gzipMagic)) {
		z, err := gzip.NewReader(bytes.NewReader(answer))
		if err != nil {
			return 0
		}
		answer, _ = io.ReadAll(io.LimitReader(z, 8*maxPeek)) // what is cut is not read
	}
	if !bytes.Contains(answer, []byte("errcode")) { // as in most
		return 0
	}
	var said struct {
		Code json.RawMessage `json:"errcode"`
	}
	if json.NewDecoder(bytes.NewReader(withoutMark(answer))).Decode(&said) != nil {
		return 0
	}
	code, err := strconv.ParseFloat(strings.Trim(string(said.Code), `" `), 64)
	if err != nil || code != float64(int(code)) {
		return 0
	}
	return int(code)
}

// failing gives the error that came while peeking to the one who reads on.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
