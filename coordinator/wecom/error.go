package wecom

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"

	"github.com/zhongkong/zhongkong/coordinator/httpsource"
)

// Error is an errcode that WeCom answered.
type Error struct {
	Code    int
	Message string // errmsg made fit for a log: one line, at most 300 characters, without secret and token
	Hint    string // WeCom's id of the request, for https://open.work.weixin.qq.com/devtool/query; "" if none
	Status  int    // the HTTP status, nearly always 200

	// Address is the source address of the request as WeCom saw it, "" if it does not
	// say. With 60020 it is the address to add to the app's trusted IPs.
	Address string
}

// Error returns the code and WeCom's message.
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

// Rejected reports whether err holds an *Error whose errcode rejects the access_token,
// not the call, see IsTokenRejected.
func Rejected(err error) bool {
	var e *Error
	return errors.As(err, &e) && IsTokenRejected(e.Code)
}

// newError makes an error of an answer. message is scrubbed.
func newError(code int, message string, status int) *Error {
	e := &Error{Code: code, Message: httpsource.OneLine(message), Status: status}
	if m := hintPattern().FindStringSubmatch(message); m != nil {
		e.Hint = m[1]
	}
	if m := fromPattern().FindStringSubmatch(message); m != nil {
		if a, err := netip.ParseAddr(m[1]); err == nil {
			e.Address = a.Unmap().String()
		}
	}
	return e
}

func hintPattern() *regexp.Regexp { return regexp.MustCompile(`\bhint: \[([0-9A-Za-z_]+)\]`) }

func fromPattern() *regexp.Regexp { return regexp.MustCompile(`\bfrom ip: ([0-9A-Fa-f.:]+)`) }
