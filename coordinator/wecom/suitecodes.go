package wecom

import (
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
)

// Errcodes of suites that the package handles specially.
const (
	codeBadAuthCode      = 40078
	codeBadPermanentCode = 40084
	codeOtherCorp        = 40091
)

// ClassifySuite is Classify for an errcode that an endpoint for suites answered:
// get_suite_token, get_permanent_code or get_corp_token.
func ClassifySuite(code int) wechat.Class {
	if class, known := lookUp(SuiteCodes(), code); known {
		return class
	}
	return Classify(code)
}

// classifyCustomApp is Classify for an errcode that gettoken answered for a custom app.
// Its secret is a permanent code: one that WeCom does not know has been replaced, or the
// corp has removed the app. It is not sent again, because several wrong secrets block the
// source address for all corps.
func classifyCustomApp(code int) wechat.Class {
	switch code {
	case codeBadCredential, codeOtherCorp, codeBadPermanentCode:
		return wechat.Class{
			Code: code, Kind: coordinator.FailedGrant, Meaning: "the permanent code is not valid any more, or the app is disabled",
			Hint: "let the provider's console issue a new secret of the app (重新获取 secret)",
		}
	}
	return Classify(code)
}

// SuiteCodes returns the class of every errcode that is particular to the endpoints for
// suites, sorted by code.
func SuiteCodes() []wechat.Class {
	const (
		grant   = coordinator.FailedGrant
		parent  = coordinator.FailedParent
		refused = coordinator.FailedRefused

		changed  = "something between here and WeCom changes the request"
		rejected = "WeCom rejects the suite_access_token"
		gone     = "if it is to have it, the corp must install it again"
	)
	return []wechat.Class{ // sorted by code
		{Code: codeBadToken, Kind: parent, Meaning: rejected},
		{Code: 40058, Kind: refused, Meaning: "a code is too long", Hint: changed},
		{Code: codeBadAuthCode, Kind: grant, Meaning: "the auth_code is unknown, used or expired",
			Hint: "let the corp install the suite again"},
		{Code: 40080, Kind: refused, RetryIn: wrongSecretRetry, Meaning: "the suite's secret is wrong",
			Hint: "set the secret that the suite's page in the provider's console shows"},
		{Code: codeBadProvider, Kind: parent, Meaning: rejected},
		{Code: 40083, Kind: refused, RetryIn: wrongSecretRetry, Meaning: "the suite_id is unknown",
			Hint: "check suite_id with the suite's page in the provider's console"},
		{Code: codeBadPermanentCode, Kind: grant, Meaning: "the corp has removed the suite, or the permanent code is another suite's", Hint: gone},
		{Code: 40085, Kind: grant, Meaning: "the suite_ticket is unknown or has expired",
			Hint: "WeCom pushes the next one within 10 minutes; if none comes, check the callback URL in the provider's console"},
		{Code: 41021, Kind: refused, Meaning: "the suite_id is missing", Hint: changed},
		{Code: 41022, Kind: parent, Meaning: "the suite_access_token is missing"},
		{Code: 41023, Kind: refused, Meaning: "the suite_ticket is missing", Hint: changed},
		{Code: 41024, Kind: refused, RetryIn: wrongSecretRetry, Meaning: "the suite's secret is missing", Hint: changed},
		{Code: 41025, Kind: refused, Meaning: "the permanent code is missing", Hint: changed},
		{Code: codeExpired, Kind: parent, Meaning: rejected},
		{Code: codeSuiteExpired, Kind: parent, Meaning: "the suite_access_token has expired"},
		{Code: 48003, Kind: refused, Meaning: "the suite is not valid", Hint: "see the suite's page in the provider's console"},
		{Code: 48004, Kind: grant, Meaning: "the corp's authorisation of the suite is not valid", Hint: gone},
		{Code: codeUntrusted, Kind: refused, Here: true, Meaning: "this address is not on the provider's IP whitelist",
			Hint: "add the address to the whitelist in the provider's console"},
	}
}
