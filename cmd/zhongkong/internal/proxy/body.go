package proxy

import (
	"bytes"
	"io"
	"net/http"
	"time"
)

// maxRepeatable is the longest body kept in memory for a second call.
const maxRepeatable = 256 << 10

// prepare reads the body of a request ahead if it can be sent twice, and reports
// whether it can. See the package's comment.
func prepare(out *http.Request, readAhead bool) (bool, error) {
	switch {
	case out.Body == nil || out.Body == http.NoBody:
		return true, nil
	case len(out.Trailer) > 0 && !readAhead:
		out.ContentLength = -1 // trailers go with chunks only
		return false, nil
	case out.ContentLength > maxRepeatable, out.ContentLength < 0 && !readAhead:
		return false, nil
	}
	var text []byte
	var err error
	if out.ContentLength >= 0 {
		text = make([]byte, out.ContentLength)
		_, err = io.ReadFull(out.Body, text)
	} else {
		text, err = io.ReadAll(io.LimitReader(out.Body, maxRepeatable+1))
	}
	if err != nil {
		return false, err
	}
	if len(text) > maxRepeatable {
		out.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(text), out.Body), out.Body}
		return false, nil
	}
	out.Header.Del("Expect") // the client has sent what it would have waited for
	setBody(out, text)
	return true, nil
}

// readUnproved reads the body of a request without a caller into memory. It is short, and
// has one deadline: it takes no slot until it is here.
func readUnproved(w http.ResponseWriter, req *http.Request) error {
	switch {
	case req.ContentLength == 0:
		return nil
	case req.ContentLength > maxUnprovedBody:
		return &http.MaxBytesError{Limit: maxUnprovedBody}
	}
	text, err := readShort(w, req, maxUnprovedBody)
	if err != nil {
		return err
	}
	setBody(req, text)
	return nil
}

// readShort reads a body that is not longer than most. All of it has to come within
// clientStall.
func readShort(w http.ResponseWriter, req *http.Request, most int64) ([]byte, error) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(clientStall)) // recorders have none
	text, err := io.ReadAll(http.MaxBytesReader(w, req.Body, most))
	if err == nil {
		_ = control.SetReadDeadline(time.Time{}) // one left in place would end the request's context
	}
	return text, err
}

// setBody gives a request a body that can be sent again.
func setBody(out *http.Request, text []byte) {
	out.ContentLength = int64(len(text))
	out.TransferEncoding = nil
	out.Trailer = nil // goes with chunks only
	out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil }
	out.Body, _ = out.GetBody()
}
