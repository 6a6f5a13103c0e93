package httpsource

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// MaxBody bounds what a source should read of an answer. A token answer has a few
// hundred bytes, or 16 KB with a long token; what does not begin within these is none.
const MaxBody = 64 << 10

// Response is an issuer's answer.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Kind classifies an answer that states neither a token nor an issuer's code.
// Redirects, which are not followed, and client errors come from a gateway that did
// not pass the request on: FailedBusy; a 429: FailedLater. All else: FailedUnknown.
func (r *Response) Kind() coordinator.FailureKind {
	switch {
	case r.Status == http.StatusTooManyRequests:
		return coordinator.FailedLater
	case r.Status/100 == 3, r.Status/100 == 4 && !r.GaveUp():
		return coordinator.FailedBusy
	default:
		return coordinator.FailedUnknown
	}
}

// GaveUp reports a status (408, 499) with which a gateway gave up waiting: the issuer
// may have received the request.
func (r *Response) GaveUp() bool {
	const clientClosed = 499
	return r.Status == http.StatusRequestTimeout || r.Status == clientClosed
}

// RetryAfter is the wait that a 429 asks for: a minute if it names no number of
// seconds, an hour at most, 0 for any other status.
func (r *Response) RetryAfter() time.Duration {
	if r.Status != http.StatusTooManyRequests {
		return 0
	}
	seconds, err := strconv.Atoi(r.Header.Get("Retry-After")) // of a greater one it returns the greatest int
	if err != nil && !errors.Is(err, strconv.ErrRange) || seconds <= 0 {
		return time.Minute
	}
	return time.Duration(min(seconds, int(time.Hour/time.Second))) * time.Second
}

// Now is the time by the issuer's clock, or by this machine's if the answer has no
// Date.
func (r *Response) Now() time.Time {
	if t, err := http.ParseTime(r.Header.Get("Date")); err == nil {
		return t
	}
	return time.Now()
}
