// Package sources maps the value of an account's source: to the fields that it has
// and to what makes its coordinator.Source. It is the only place that knows every
// kind: configuration, reference page, doctor, sandbox and routes follow from it.
package sources

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
)

// Kind is one value of source:.
type Kind struct {
	Name  string
	Usage string // what its tokens are, for the reference page

	Fields []Field // besides those of every account

	// Of are the kinds of account that of: may name; none: it has no parent.
	// MayLackParent reports whether it does without one; nil: it does not.
	Of            []string
	MayLackParent func(v Values) bool

	// Tickets are the kinds of the accounts that a word in tickets: makes.
	Tickets map[string]string

	// Ticket says that the tokens are tickets, which a word in tickets: makes accounts of.
	Ticket bool

	// Members says that accounts of another kind live on one of this kind, and appear by
	// themselves. Nil: there are none.
	Members *Members

	// Signs says that the tokens are tickets with which JS-SDK signatures are made.
	Signs bool

	// APIBase is where the issuer is unless api_base says otherwise; "": api_base does
	// not apply, unless AnyBase is set.
	APIBase string
	AnyBase bool

	// NoSecret reports whether an account is refreshed although it has no secret: its grant
	// is one. Nil: none is.
	NoSecret func(v Values) bool

	// Make returns the source of an account. It makes no call.
	Make func(v Values) (coordinator.Source, error)

	// Chain identifies the tokens that a call replaces: two accounts with the same one
	// would end each other's. Nil, or "": no call ends another account's token.
	Chain func(v Values) string

	// Probe returns how to ask the issuer about a token; nil: there is no such call.
	Probe func(v Values) Probe

	// Trial returns a source whose Fetch ends no token, with which doctor tries the
	// account's secret; nil: Make's is one.
	Trial func(v Values) (coordinator.Source, error)

	// Hint returns what to do about a code of the issuer, "" if that is not known; nil:
	// its messages say it.
	Hint func(code coordinator.Code) string

	// Put is where the issuer's API expects the token, as in put: of a route, and API
	// the API's address; "": a route needs to: and put:.
	Put func(v Values) (put, api string)

	// PutAlso is another name of the query parameter of Put, which some endpoints of that
	// API expect; "": there is none.
	PutAlso string

	// RejectsToken reports whether an errcode rejects the token of a call to that API,
	// which answers as WeChat's does; nil: it does not. UnknownToken is the errcode with
	// which it refuses a token that it does not know.
	RejectsToken func(errcode int) bool
	UnknownToken int
}

// Errcodes with which APIs refuse a token that they do not know.
const (
	weChatUnknown   = 40001
	weComUnknown    = 40014
	providerUnknown = 40082 // also a suite's
)

// Probe asks an issuer whether it accepts a token, without a side effect. parent is the
// token of the account's parent. An error that wraps ErrRejected: it does not. Another
// error: that is not known.
type Probe func(ctx context.Context, token, parent coordinator.Token) error

// ErrRejected is wrapped by what a Probe returns of a token that the issuer rejects.
var ErrRejected = httpsource.ErrRejected

// rejecting returns probe with its rejections marked.
func rejecting(probe func(context.Context, coordinator.Token) error, rejected func(error) bool) Probe {
	return func(ctx context.Context, token, _ coordinator.Token) error {
		return marked(probe(ctx, token), rejected)
	}
}

func marked(err error, rejected func(error) bool) error {
	if err != nil && rejected(err) {
		return fmt.Errorf("%w: %w", ErrRejected, err)
	}
	return err
}

// Field is a field of an account that belongs to some kinds of source.
type Field struct {
	Key      string
	Usage    string
	Form     Form
	Required bool // by a process that refreshes
}

// Form is how a field is written.
type Form int

// The forms. A Secret NAME is written as NAME, NAME_file or NAME_env.
const (
	Text       Form = iota
	Secret          // one word
	Key             // a secret of several lines: PEM or JSON
	File            // the path of a file with a secret, which the source reads
	List            // of texts
	Map             // of texts
	Data            // any YAML, as JSON
	NamesOrAll      // a list of names, or "*" for all
)

// Values are what an account gives.
type Values struct {
	Name    string
	APIBase string
	Text    map[string]string // Text and Secret fields, revealed
	List    map[string][]string
	Map     map[string]map[string]string
	Data    map[string][]byte
}

// groups are the kinds by issuer. Those with presets are read when they are needed.
var groups = []func() []Kind{
	sync.OnceValue(weChat), sync.OnceValue(weChatPlatform), sync.OnceValue(weCom), sync.OnceValue(weComSuites), sync.OnceValue(oauth2), sync.OnceValue(byDescription),
}

// members are the kinds of accounts that appear by themselves; see Kind.Members.
var members = []func() []Kind{sync.OnceValue(weChatMembers), sync.OnceValue(weComMembers)}

// All returns every kind that a configuration may name, in the order of the reference
// page.
func All() []Kind {
	var all []Kind
	for _, group := range groups {
		all = append(all, group()...)
	}
	return all
}

// Find returns the kind with the given name.
func Find(name string) (Kind, bool) {
	for _, group := range slices.Concat(groups, members) {
		for _, k := range group() {
			if k.Name == name {
				return k, true
			}
		}
	}
	return Kind{}, false
}

// Hint returns what to do about a code of the issuer of a kind, "" if that is not known.
func Hint(name string, code coordinator.Code) string {
	if kind, ok := Find(name); ok && kind.Hint != nil {
		return kind.Hint(code)
	}
	return ""
}

// TicketKinds returns the kinds of ticket that tickets: of an account makes, by word: its
// own, or those of its members.
func (k Kind) TicketKinds(v Values) map[string]string {
	if k.Members == nil {
		return k.Tickets
	}
	member, _ := Find(k.Members.Kind(v))
	return member.Tickets
}

// SignsPages reports whether pages: applies: to tickets for the JS-SDK, and to accounts
// that have such tickets.
func (k Kind) SignsPages(v Values) bool {
	for _, name := range k.TicketKinds(v) {
		if ticket, ok := Find(name); ok && ticket.Signs {
			return true
		}
	}
	return k.Signs
}

// hintBy returns the Hint of an issuer whose errcodes this function classifies.
func hintBy(classify func(code int) wechat.Class) func(coordinator.Code) string {
	return func(code coordinator.Code) string {
		number, _ := code.Number()
		return classify(number).Hint
	}
}

// Names returns the names of all kinds.
func Names() []string {
	var names []string
	for _, k := range All() {
		names = append(names, k.Name)
	}
	return names
}

// Field returns the kind's field with the given key.
func (k Kind) Field(key string) (Field, bool) {
	i := slices.IndexFunc(k.Fields, func(f Field) bool { return f.Key == key })
	if i < 0 {
		return Field{}, false
	}
	return k.Fields[i], true
}

// IsSecret reports whether the field's value must not be shown.
func (f Field) IsSecret() bool { return f.Form == Secret || f.Form == Key }
