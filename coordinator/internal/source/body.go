package source

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
)

// What a body may begin with.
const (
	GzipMagic     = "\x1f\x8b"
	ByteOrderMark = "\xef\xbb\xbf"
)

// Plain returns the first limit bytes of a body, which a relay may have re-encoded: without
// gzip that was not requested, and then as TrimMark leaves them. Of damaged gzip it returns
// the readable part. tooLong is not nil if there is more, be it space: a caller returns it
// if the text has no complete answer, because the end of one may be missing.
func Plain(body []byte, limit int) (text []byte, tooLong error) {
	if bytes.HasPrefix(body, []byte(GzipMagic)) {
		if r, err := gzip.NewReader(bytes.NewReader(body)); err == nil {
			body, _ = io.ReadAll(io.LimitReader(r, int64(limit)+1))
		}
	}
	if len(body) > limit {
		body, tooLong = body[:limit], fmt.Errorf("more than %d bytes", limit)
	}
	return TrimMark(body), tooLong
}

// TrimMark returns body without a byte order mark and without space around it.
func TrimMark(body []byte) []byte {
	return bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimSpace(body), []byte(ByteOrderMark)))
}
