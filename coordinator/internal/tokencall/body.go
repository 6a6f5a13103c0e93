package tokencall

import (
	"bytes"
	"io"
	"net/http"
)

// maxRepeatable is the largest body that is kept in memory for a second call.
const maxRepeatable = 256 << 10

// bodies supplies a request's body, a second time as well if that is possible.
type bodies struct {
	first  io.ReadCloser                 // nil: the request has none
	repeat func() (io.ReadCloser, error) // nil: not possible
}

// newBodies takes ownership of req.Body. The caller closes first; newBodies closes
// req.Body itself when it returns an error or reads all of it.
func newBodies(req *http.Request) (bodies, error) {
	switch {
	case req.Body == nil || req.Body == http.NoBody:
		return bodies{repeat: func() (io.ReadCloser, error) { return nil, nil }}, nil
	case req.GetBody != nil:
		return bodies{first: req.Body, repeat: req.GetBody}, nil
	case req.ContentLength > maxRepeatable:
		return bodies{first: req.Body}, nil
	}
	read, err := io.ReadAll(io.LimitReader(req.Body, maxRepeatable+1))
	if err != nil {
		closeBody(req)
		return bodies{}, err
	}
	if len(read) > maxRepeatable {
		return bodies{first: rejoined{io.MultiReader(bytes.NewReader(read), req.Body), req.Body}}, nil
	}
	closeBody(req)
	// The length is known now. It matters because WeChat's gateway refuses chunked
	// requests.
	again := func() (io.ReadCloser, error) {
		return knownLength{io.NopCloser(bytes.NewReader(read)), int64(len(read))}, nil
	}
	first, _ := again()
	return bodies{first: first, repeat: again}, nil
}

// knownLength is a body held in memory.
type knownLength struct {
	io.ReadCloser
	length int64
}

// rejoined is a body whose beginning has been read.
type rejoined struct {
	io.Reader
	io.Closer
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}
