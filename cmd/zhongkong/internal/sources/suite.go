package sources

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat/msgcrypt"
	"github.com/zhongkong/zhongkong/coordinator/wecom"
)

// The kinds of WeCom's suites. The last two are of accounts that appear by themselves.
const (
	WeComSuite     = string(wecom.SuiteToken)
	WeComSuiteCorp = string(wecom.SuiteCorp)
	WeComCustomApp = string(wecom.CustomApp)
)

// Members is what a kind has whose accounts others live on, which appear by themselves.
type Members struct {
	// Kind returns the kind of the others.
	Kind func(v Values) string

	// Named reports whether a member, or a ticket of one, may have this name.
	Named func(v Values, name string) bool

	// Fields are those of a member with this name.
	Fields func(v Values, name string) map[string]string

	// Is reports whether a name in the list of those that live on the account is that of
	// an account; nil: all are.
	Is func(name string) bool
}

// Listed returns the members of an account among the names that live on its grant.
func (m *Members) Listed(names []string) []string {
	if m.Is == nil {
		return names
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !m.Is(name) })
}

// pushedFields are the fields of accounts to which an issuer pushes, and which have
// members.
func pushedFields() []Field {
	return []Field{
		{Key: "callback_token", Usage: "the Token of the callback URL, in the issuer's console", Form: Secret, Required: true},
		{Key: "encoding_aes_key", Usage: "its EncodingAESKey", Form: Secret, Required: true},
		{Key: "previous_encoding_aes_key", Usage: "the EncodingAESKey before the last change", Form: Secret},
		{Key: authorizersField, Usage: `the authorizers, or corps, that get an account: their ids, or "*" for all (default)`, Form: NamesOrAll},
	}
}

const authorizersField = "authorizers"

// Authorizers returns the ids that get an account; nil: all.
func Authorizers(v Values) []string {
	ids := v.List[authorizersField]
	if slices.Contains(ids, "*") {
		return nil
	}
	return ids
}

func weComSuites() []Kind {
	return []Kind{{
		Name: WeComSuite, Usage: "WeCom's suite_access_token of a suite: a third-party app, or a template of custom apps (suite_id dk…); " +
			"each corp that has it gets an account SUITEID.CORPID",
		Fields: append([]Field{
			{Key: "suite_id", Usage: "the SuiteID (default the name)"},
			{Key: "secret", Form: Secret, Required: true},
			{Key: "corpid", Usage: "the CorpID of the provider"},
		}, pushedFields()...),
		APIBase: wecom.DefaultBaseURL,
		Make:    makeSuite,
		Trial:   trySuite,
		Chain:   func(v Values) string { return SuiteID(v) + " " + v.APIBase },
		Hint:    hintBy(wecom.ClassifySuite),
		Members: &Members{
			Kind:  suiteMember,
			Named: func(v Values, name string) bool { return strings.HasPrefix(name, SuiteID(v)+".") },
			Fields: func(v Values, name string) map[string]string {
				return map[string]string{"corpid": strings.TrimPrefix(name, SuiteID(v)+".")}
			},
			Is: func(name string) bool { return !strings.Contains(name, ".~") }, // which is an auth_code
		},
		Put: func(v Values) (string, string) { return "query suite_access_token", v.APIBase },

		RejectsToken: wecom.IsProviderTokenRejected, UnknownToken: providerUnknown,
	}}
}

func makeSuite(v Values) (coordinator.Source, error) {
	s, err := wecom.Config{Kind: wecom.SuiteToken, SuiteID: SuiteID(v), Secret: v.Text["secret"], BaseURL: v.APIBase}.Source()
	if err = errors.Join(err, checkCallback(v, SuiteID(v))); err != nil {
		return nil, err
	}
	return s, nil
}

// trySuite returns a source whose Fetch presents a suite_ticket that WeCom does not know.
// WeCom says so if it takes the suite_id, the secret and this address.
func trySuite(v Values) (coordinator.Source, error) {
	s, err := wecom.Config{Kind: wecom.SuiteToken, SuiteID: SuiteID(v), Secret: v.Text["secret"], BaseURL: v.APIBase}.Source()
	if err != nil {
		return nil, err
	}
	return coordinator.SourceFunc(func(ctx context.Context, req coordinator.FetchRequest) (coordinator.FetchResult, error) {
		req.Grant = coordinator.GrantToken{Token: coordinator.NewToken("zhongkong-doctor")}
		_, err := s.Fetch(ctx, req)
		if failed := (*coordinator.FetchError)(nil); errors.As(err, &failed) && failed.Kind == coordinator.FailedGrant {
			return coordinator.FetchResult{}, nil
		}
		return coordinator.FetchResult{}, err
	}), nil
}

// checkCallback reports what is wrong with the keys of a callback URL.
func checkCallback(v Values, receiver string) error {
	_, err := msgcrypt.Config{
		Token: v.Text["callback_token"], EncodingAESKey: v.Text["encoding_aes_key"], PreviousKey: v.Text["previous_encoding_aes_key"],
		Receivers: []string{receiver},
	}.Codec()
	return err
}

// SuiteID returns the id of an account's suite.
func SuiteID(v Values) string { return cmp.Or(v.Text["suite_id"], v.Name) }

func suiteMember(v Values) string {
	if wecom.IsCustom(SuiteID(v)) {
		return WeComCustomApp
	}
	return WeComSuiteCorp
}

// weComMembers are the kinds of the accounts that appear by themselves.
func weComMembers() []Kind {
	kind := func(kind wecom.Kind) Kind {
		return Kind{
			Name: string(kind), Fields: []Field{{Key: "corpid", Required: true}}, APIBase: wecom.DefaultBaseURL, Make: makeWeCom(kind), Hint: hintBy(wecom.ClassifySuite),
			Tickets: weComTickets,
			Probe:   probeWeCom,
			Put:     func(v Values) (string, string) { return "query access_token", v.APIBase },

			RejectsToken: wecom.IsTokenRejected, UnknownToken: weComUnknown,
		}
	}
	return []Kind{kind(wecom.SuiteCorp), kind(wecom.CustomApp)}
}
