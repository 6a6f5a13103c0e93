package page

import (
	"errors"
	"strings"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/sources"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
	"github.com/zhongkong/zhongkong/redisstore"
)

type cause struct {
	Key    string // of the text; the advice has the same key with ".advice"
	Detail string // names, and the operating system's words; "": none
}

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

// systemWords returns the innermost part of an error, such as "dial tcp 10.0.0.5:6379:
// connect: connection refused". The page has its own words for the rest.
func systemWords(err error) string {
	text := err.Error()
	for _, ours := range []error{coordinator.ErrUnreachable, coordinator.ErrDenied, redisstore.ErrDenied} {
		if _, inner, found := strings.Cut(text, ours.Error()+": "); found {
			text = inner
		}
	}
	text, _, _ = strings.Cut(text, "; ") // remove the advice
	return text
}

// issuersWords returns the issuer's own words in a failure's message: without the advice
// that Zhongkong added, and without its text for an answer that has none.
func issuersWords(source string, code coordinator.Code, message string) string {
	if code == "" {
		return message
	}
	if !ofWeChat(source) {
		if hint := sources.Hint(source, code); hint != "" {
			message = strings.TrimSuffix(message, "; "+hint)
		}
		return message
	}
	class := wechat.ClassOf(code)
	if class.Hint != "" {
		message = strings.TrimSuffix(message, "; "+class.Hint)
	}
	if message == class.Meaning {
		return ""
	}
	return message
}

// ofWeChat reports whether a source's codes are those of an Official Account.
func ofWeChat(source string) bool {
	switch source {
	case "", sources.Token, sources.StableToken, sources.JSAPITicket, sources.WXCardTicket:
		return true
	}
	return false
}

// transportCause returns the key of the advice for a call to the issuer that got no
// code; "": there is none for this message.
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
