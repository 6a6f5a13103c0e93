package wechat

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"

	"github.com/zhongkong/zhongkong/coordinator/httpsource"
)

// Error is an errcode that WeChat answered.
type Error struct {
	Code    int
	Message string // errmsg made fit for a log: one line, at most 300 characters, without secret and token
	RID     string // WeChat's id of the request, for its console; "" if none
	Status  int    // the HTTP status, nearly always 200

	// Address is the source address of the request as WeChat saw it, "" except with
	// 40164 and 61004. It is the address to put on the IP whitelist.
	Address string
}

// Error returns the code and WeChat's message.
func (e *Error) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("errcode %d", e.Code)
	}
	return fmt.Sprintf("errcode %d: %s", e.Code, e.Message)
}

// SeenAddress returns the Address of an *Error in err's tree, if it has one.
func SeenAddress(err error) (string, bool) {
	if e, ok := errors.AsType[*Error](err); ok && e.Address != "" {
		return e.Address, true
	}
	return "", false
}

func newError(code int, message string, status int) *Error {
	e := &Error{Code: code, Message: httpsource.OneLine(message), Status: status}
	if m := ridPattern().FindStringSubmatch(message); m != nil {
		e.RID = m[1]
	}
	if code == codeNotListed || code == codeNotRegistered {
		e.Address = seenAddress(message)
	}
	return e
}

// seenAddress finds the address in the errmsg of a 40164, whose format has changed
// over the years: "invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist rid: ..". That
// of a 61004 is "access clientip is not registered requestIP: 1.2.3.4 rid: ..".
func seenAddress(message string) string {
	m := addressPattern().FindStringSubmatch(message)
	for _, candidate := range m[min(1, len(m)):] {
		if a, err := netip.ParseAddr(candidate); err == nil {
			return a.Unmap().String()
		}
	}
	return ""
}

func addressPattern() *regexp.Regexp {
	return regexp.MustCompile(`invalid ip (\S+?)(?: ipv6 (\S+?))?, not in whitelist|requestIP: (\S+)`)
}

func ridPattern() *regexp.Regexp {
	return regexp.MustCompile(`\brid: ([0-9a-fA-F]+-[0-9a-fA-F]+-[0-9a-fA-F]+)`)
}
