package httpsource

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Issuer describes an issuer of tokens as data: what to send it, where its answer has
// the token, and what its codes mean. It is the content of a preset, and what a
// configuration file says of an issuer for which there is none.
//
// Request.URL, the values of Request.Headers and Request.Fields, and Sign.Text are
// templates: {name} stands for the parameter of that name, or for one of
//
//	{timestamp}     the time in seconds since 1970
//	{timestamp_ms}  the same in milliseconds
//	{sign}          what Request.Sign makes (not in Sign.Text)
//	{parent_token}  the current token of the account that the account depends on
//
// Fields of answers are named by paths such as "data.access_token".
type Issuer struct {
	Title         string `json:"title"`         // what it issues, for people
	Documentation string `json:"documentation"` // the URL of the issuer's page
	Comment       string `json:"comment,omitempty"`

	Parameters []Parameter `json:"parameters"`
	Request    Request     `json:"request"`
	Answer     Answer      `json:"answer"`

	// Codes says what the issuer's codes mean. A code that is not among them settles
	// a call as well: nothing was issued, try again.
	Codes []Class `json:"codes,omitempty"`

	// Repeat is what a call does to the token before: "kills" (after Overlap, or at once),
	// "same" or "keeps"; see coordinator.Repeat.
	Repeat  string   `json:"repeat"`
	Overlap Duration `json:"overlap,omitempty"`

	// Rollover is the rest of its life at which a call brings the next token although
	// Repeat is "same". Zero: when the token has ended.
	Rollover Duration `json:"rollover,omitempty"`

	Limits       Limits   `json:"limits,omitzero"`
	RefreshEvery Duration `json:"refresh_every,omitempty"` // zero: an hour

	// Use is how business calls carry the token.
	Use Use `json:"use,omitzero"`

	// Probe is a business call without side effects that tells whether a token is
	// valid. Its URL is a template; "": there is none.
	Probe Probe `json:"probe,omitzero"`
}

// Parameter is what an account must say besides the issuer's description.
type Parameter struct {
	Name    string `json:"name"`              // lower-case letters, digits and _
	Secret  bool   `json:"secret,omitempty"`  // never shown
	Default string `json:"default,omitempty"` // "": the account must name a value
	Meaning string `json:"meaning,omitempty"` // in one phrase
}

// Request is the call for a token.
type Request struct {
	Method  string            `json:"method"` // GET or POST
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers,omitempty"`

	// Body says how Fields are sent: "query", "form" (urlencoded), "json" (one object
	// of strings), or "none".
	Body   string            `json:"body"`
	Fields map[string]string `json:"fields,omitempty"`

	// Numbers are the names of those Fields that a JSON body has as numbers.
	Numbers []string `json:"numbers,omitempty"`

	Sign Sign `json:"sign,omitzero"`
}

// Sign is a digest of a text, in lower-case hexadecimal.
type Sign struct {
	Algorithm string `json:"algorithm"` // sha256 or md5
	Text      string `json:"text"`
}

// Answer tells where the issuer's answer has what.
type Answer struct {
	Token string `json:"token"`
	Life  Life   `json:"life"`

	// Code is the field with the issuer's code. An answer in which it is absent, or one
	// of Success, is no failure. SubCode is a more exact code that goes before Code
	// where it is present.
	Code    string  `json:"code,omitempty"`
	SubCode string  `json:"sub_code,omitempty"`
	Success []Value `json:"success,omitempty"`
	Message string  `json:"message,omitempty"`

	// Attributes are fields that a token's readers get besides the token, by the name
	// under which they get them.
	Attributes map[string]string `json:"attributes,omitempty"`
}

// Value is a scalar of an answer as text. A description may have it as a string, a
// number or true or false.
type Value string

// UnmarshalJSON accepts a scalar.
func (v *Value) UnmarshalJSON(data []byte) error {
	var scalar any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&scalar); err != nil {
		return err
	}
	text := textOf(scalar)
	if text == "" {
		return fmt.Errorf("%s is neither a text nor a number", data)
	}
	*v = Value(text)
	return nil
}

// Life is how long a token lives: one of Field and Default is set.
type Life struct {
	Field string `json:"field,omitempty"`

	// Unit is what Field counts, as a number or a string: "seconds" (the default), or
	// "at_seconds" or "at_ms" for the time of the end, since 1970.
	Unit string `json:"unit,omitempty"`

	// Default is the life where the answer has no such field.
	Default Duration `json:"default,omitempty"`
}

// Class is what a code means. One of Code, Status and Page selects the answers that it
// is about.
type Class struct {
	Code   coordinator.Code `json:"code,omitempty"`
	Status int              `json:"status,omitempty"` // the HTTP status of an answer without a code
	Page   bool             `json:"page,omitempty"`   // a page of HTML instead of JSON, except with a 5xx

	// Kind is "refused", "later", "busy", or "parent": the issuer rejects the token of
	// the account that this one depends on.
	Kind    coordinator.FailureKind `json:"kind"`
	RetryIn Duration                `json:"retry_in,omitempty"` // the wait that the issuer imposes; zero: it does not say
	Meaning string                  `json:"meaning"`
	Hint    string                  `json:"hint,omitempty"` // what to do
}

// Limits are the issuer's, as coordinator.Limits has them.
type Limits struct {
	PerDay      int      `json:"per_day,omitempty"` // calls in a window, which is a day unless Window says otherwise
	Window      Duration `json:"window,omitempty"`
	Reserve     int      `json:"reserve,omitempty"` // zero: a tenth of PerDay
	MinInterval Duration `json:"min_interval,omitempty"`
}

// Use is how business calls carry a token, and how their answers reject it.
type Use struct {
	Put    string `json:"put"`              // "bearer", "query NAME" or "header NAME"
	Scheme string `json:"scheme,omitempty"` // stands before the token in a header
	Base   string `json:"base,omitempty"`   // the URL below which the business calls are

	// Code is the field of an answer that has the code; "": Answer.Code.
	Code             string             `json:"code,omitempty"`
	RejectedCodes    []coordinator.Code `json:"rejected_codes,omitempty"`
	RejectedStatuses []int              `json:"rejected_statuses,omitempty"`
}

// Probe is a call that tells whether a token is valid.
type Probe struct {
	Method string `json:"method"`
	URL    string `json:"url"`
}

// Duration is a time.Duration that is written as text: "90s", "2h", "720h".
type Duration time.Duration

// Duration returns d as a time.Duration.
func (d Duration) Duration() time.Duration { return time.Duration(d) }

// MarshalText returns d as time.Duration prints it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText accepts what time.ParseDuration does.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf(`%q is no duration: write it as "90s", "5m" or "2h"`, text)
	}
	*d = Duration(parsed)
	return nil
}

// DecodeIssuer reads a description in JSON and validates it. A field that it does not
// know is an error.
func DecodeIssuer(data []byte) (*Issuer, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	i := new(Issuer)
	if err := d.Decode(i); err != nil {
		return nil, fmt.Errorf("httpsource: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("httpsource: there is something after the description")
	}
	if err := i.Validate(); err != nil {
		return nil, err
	}
	return i, nil
}

// NeedsParent reports whether the request carries the token of another account.
func (i *Issuer) NeedsParent() bool {
	for _, t := range i.Request.templates() {
		if names, _ := templateNames(t.text); slices.Contains(names, parentToken) {
			return true
		}
	}
	return false
}

// ClassOf returns what a code of the issuer means; ok is false if Codes has none.
func (i *Issuer) ClassOf(code coordinator.Code) (class Class, ok bool) {
	for _, c := range i.Codes {
		if c.Code != "" && c.Code == code {
			return c, true
		}
	}
	return Class{}, false
}

// Description returns what the coordinator must know of the issuer.
func (i *Issuer) Description() coordinator.Description {
	d := coordinator.Description{
		RefreshEvery: time.Duration(i.RefreshEvery),
		Limits: coordinator.Limits{
			PerDay:      i.Limits.PerDay,
			Window:      time.Duration(i.Limits.Window),
			Reserve:     i.Limits.Reserve,
			MinInterval: time.Duration(i.Limits.MinInterval),
		},
	}
	if d.Limits.PerDay > 0 && d.Limits.Reserve == 0 {
		d.Limits.Reserve = min(max(1, d.Limits.PerDay/10), d.Limits.PerDay-1)
	}
	switch i.Repeat {
	case repeatSame:
		d.Repeat = coordinator.RepeatSame
		d.Limits.MinInterval = cmp.Or(d.Limits.MinInterval, sameInterval)
	case repeatKeeps:
		d.Repeat = coordinator.RepeatKeeps
	}
	return d
}

// sameInterval is the least time between demanded calls of an issuer that answers the
// same token: an earlier one would hardly bring another.
const sameInterval = 30 * time.Second

// What Issuer.Repeat may be.
const (
	repeatKills = "kills"
	repeatSame  = string(coordinator.RepeatSame)
	repeatKeeps = string(coordinator.RepeatKeeps)
)
