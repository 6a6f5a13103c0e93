package sources

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wecom"
)

// The kinds of WeCom's suites. The last two are of accounts that appear by themselves.
const (
	WeComSuite     = string(wecom.SuiteToken)
	WeComSuiteCorp = string(wecom.SuiteCorp)
	WeComCustomApp = string(wecom.CustomApp)
)

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
			Named: func(v Values, name string) bool { return strings.HasPrefix(name, corpMember(v, "")) },
			Name:  corpMember,
			Fields: func(v Values, name string) map[string]string {
				return map[string]string{"corpid": strings.TrimPrefix(name, corpMember(v, ""))}
			},
			Is: func(name string) bool { return !strings.Contains(name, ".~") }, // which is an auth_code
		},
		Put:     func(v Values) (string, string) { return "query suite_access_token", v.APIBase },
		PutAlso: "access_token",

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

// SuiteID returns the id of an account's suite.
func SuiteID(v Values) string { return cmp.Or(v.Text["suite_id"], v.Name) }

func corpMember(v Values, corpID string) string { return SuiteID(v) + "." + corpID }

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
