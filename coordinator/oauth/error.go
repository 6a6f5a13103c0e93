package oauth

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
)

// Error is a refusal that an issuer answered.
type Error struct {
	Code        coordinator.Code // RFC 6749's error, "" if the issuer gave none; GitHub: the HTTP status
	Description string           // made fit for a log: one line, without secrets and tokens
	Status      int              // the HTTP status
}

// Error returns the code and the description.
func (e *Error) Error() string {
	text := fmt.Sprintf("HTTP status %d", e.Status)
	if e.Code != "" {
		text = string(e.Code)
	}
	if e.Description != "" {
		text += ": " + e.Description
	}
	return text
}

// error returns the answer's error, nil if it has none. Some issuers put an object in
// the place of RFC 6749's word.
func (m members) error(r reply) *Error {
	e := &Error{Status: r.Status}
	description := m.text("error_description")
	var nested members
	if word := m.text("error"); word != "" {
		e.Code = coordinator.Code(r.clean(word))
	} else if first := m.firstError(); first != nil { // Fitbit
		e.Code, description = coordinator.Code(r.clean(cmp.Or(first.text("errorType"), "error"))), first.text("message")
	} else if json.Unmarshal(m["error"], &nested) == nil && len(nested) > 0 {
		e.Code = coordinator.Code(r.clean(cmp.Or(nested.text("status"), nested.text("code"), "error")))
		description = cmp.Or(description, nested.text("message"))
	} else {
		return nil
	}
	e.Description = r.clean(cmp.Or(description, m.text("message")))
	if len(e.Code) > maxCode {
		e.Code = e.Code[:maxCode]
	}
	return e
}

// firstError returns the first of a list of errors, nil if there is none.
func (m members) firstError() members {
	var list []members
	if json.Unmarshal(m["errors"], &list) != nil || len(list) == 0 || list[0].text("errorType") == "" {
		return nil
	}
	return list[0]
}

// maxCode bounds the length of a code in the store and in metrics.
const maxCode = 64

// clean makes a foreign text fit for a log.
func (r reply) clean(text string) string {
	return httpsource.OneLine(httpsource.Scrub(text, r.message.secrets...))
}

// refused is the failure for an answer that says why nothing was granted.
func (r reply) refused(said *Error, class Class) *coordinator.FetchError {
	failure := &coordinator.FetchError{
		Kind: class.Kind, Code: said.Code, RetryIn: cmp.Or(r.retryAfter(), class.RetryIn), Calls: 1, Err: said,
		Message: r.endpoint + " answered: " + source.Advice(said.Description, class.Meaning, class.Hint) + r.clockHint(class),
	}
	if class.Kind == coordinator.FailedRefused {
		failure.RetryIn = 0 // only an operator helps, and then at once
	}
	return failure
}

// clockHint says how far this machine's clock is off if that may be why an assertion was
// refused.
func (r reply) clockHint(class Class) string {
	theirs, err := http.ParseTime(r.Header.Get("Date"))
	if err != nil || !r.message.proof || class.Kind != coordinator.FailedRefused {
		return ""
	}
	off := r.message.sent.Sub(theirs).Round(time.Second)
	if off.Abs() <= tolerated {
		return ""
	}
	return "; " + clockText(off)
}

// unreadable is the failure for an answer that has neither a token nor an error. what
// says what it has instead; nil: the HTTP status says enough. presents: the request
// presented a refresh token.
func (r reply) unreadable(what error, presents bool) *coordinator.FetchError {
	class := classifyStatus(r.Status)
	if presents {
		class = class.presented(r.Status)
	}
	said := &Error{Status: r.Status}
	if what != nil {
		said.Description = what.Error()
	}
	failure := r.refused(said, class)
	failure.Message = fmt.Sprintf("%s answered HTTP status %d", r.endpoint, r.Status)
	if what != nil {
		failure.Message += " and " + what.Error()
	}
	if class.Hint != "" {
		failure.Message += "; " + class.Hint
	}
	return failure
}
