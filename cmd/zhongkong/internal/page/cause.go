package page

import (
	"errors"
	"strings"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
	"github.com/zhongkong/zhongkong/redisstore"
)

// cause is why something cannot be used: words of the page, and what only the
// error knows.
type cause struct {
	Key    string // of the words; what to do has the same, with ".advice"
	Detail string // names and the system's own words; "": none
}

// storeCause says why Redis cannot be used.
func storeCause(err error) cause {
	denied := errors.Is(err, coordinator.ErrDenied) || errors.Is(err, redisstore.ErrDenied)
	switch {
	case denied && errors.Is(err, coordinator.ErrUnreachable):
		return cause{"store.password", ""}
	case denied:
		return cause{"store.rights", systemWords(err)}
	}
	return cause{"store.away", systemWords(err)}
}

// recordCause says why what Redis has of an account cannot be used.
func recordCause(err error) *cause {
	var data *redisstore.DataError
	switch {
	case errors.Is(err, coordinator.ErrSealed):
		return &cause{"record.sealed", ""}
	case errors.As(err, &data) && data.Field != "":
		return &cause{"record.data", data.Key + " " + data.Field}
	case errors.As(err, &data):
		return &cause{"record.data", data.Key}
	}
	return &cause{"record.other", systemWords(err)}
}

// systemWords returns the innermost part of an error: "dial tcp 10.0.0.5:6379:
// connect: connection refused". What we say around it the page says itself.
func systemWords(err error) string {
	text := err.Error()
	for _, ours := range []error{coordinator.ErrUnreachable, coordinator.ErrDenied, redisstore.ErrDenied} {
		if _, inner, found := strings.Cut(text, ours.Error()+": "); found {
			text = inner
		}
	}
	text, _, _ = strings.Cut(text, "; ") // our advice
	return text
}

// issuersWords returns a failure's message without the advice that we added,
// and without what we said where the issuer said nothing.
func issuersWords(code int, message string) string {
	if code == 0 {
		return message
	}
	class := wechat.Classify(code)
	if class.Hint != "" {
		message = strings.TrimSuffix(message, "; "+class.Hint)
	}
	if message == class.Meaning {
		return ""
	}
	return message
}

// transportCause is the key of what to do about a call to the issuer that
// brought no code, "" if nothing is known of its message.
func transportCause(message string) string {
	for _, known := range []struct{ key, parts string }{
		{"tls", "x509:|certificate|tls:"},
		{"dns", "no such host|server misbehaving"},
		{"refused", "connection refused"},
		{"route", "network is unreachable|no route to host"},
		{"timeout", "deadline exceeded|timeout|timed out"},
		{"broken", "reset by peer|EOF|broken pipe|connection broken"},
		{"relay", "answered |HTTP status"},
	} {
		for part := range strings.SplitSeq(known.parts, "|") {
			if strings.Contains(message, part) {
				return "advice." + known.key
			}
		}
	}
	return ""
}
