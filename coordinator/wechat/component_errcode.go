package wechat

import (
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// ClassifyComponent is Classify for an errcode that api_component_token answered. A verify
// ticket that is rejected is the grant of the account (FailedGrant): the next push brings
// another.
func ClassifyComponent(code int) Class {
	return classify(ComponentCodes(), code, "api_component_token is")
}

// ClassifyAuthorizer is Classify for an errcode that api_authorizer_token, api_query_auth
// or api_get_authorizer_list answered. FailedParent is the component_access_token that the
// call was made with, FailedGrant the authorization.
func ClassifyAuthorizer(code int) Class {
	return classify(AuthorizerCodes(), code, "interfaces for authorizers are")
}

const (
	hintAddress = "add the address to the IP whitelist of the third-party platform in WeChat's open platform"
	hintSecret  = "set the AppSecret of the third-party platform, not that of an account"
	hintQuota   = "find out what else calls the platform's interfaces; component/clear_quota/v2 resets the quota"
	hintRequest = "something between here and WeChat changes the request"
)

// ComponentCodes returns the class of every known errcode of api_component_token, sorted
// by code.
func ComponentCodes() []Class {
	const (
		busy    = coordinator.FailedBusy
		later   = coordinator.FailedLater
		refused = coordinator.FailedRefused
		grant   = coordinator.FailedGrant
	)
	return []Class{ // sorted by code
		{Code: codeSystemBusy, Kind: busy, Meaning: "WeChat is busy"},
		{Code: codeBadCredential, Kind: refused, Meaning: "the AppSecret is wrong", Hint: hintSecret},
		{Code: 40013, Kind: refused, Meaning: "the AppID of the platform is unknown", Hint: "check the AppID; it is case-sensitive"},
		{Code: 40125, Kind: refused, Meaning: "the AppSecret is wrong", Hint: hintSecret},
		{Code: 41002, Kind: refused, Meaning: "the AppID is missing", Hint: hintRequest},
		{Code: 41004, Kind: refused, Meaning: "the AppSecret is missing", Hint: hintRequest},
		{Code: 43002, Kind: refused, Meaning: "the request must be a POST", Hint: hintRequest},
		{Code: codeDailyQuota, Kind: later, UntilMidnight: true, Meaning: "the daily quota is used up", Hint: hintQuota},
		{Code: 45011, Kind: later, RetryIn: time.Minute, Meaning: "the quota of this minute is used up"},
		{Code: 47001, Kind: refused, Meaning: "the request cannot be parsed", Hint: hintRequest},
		{Code: 48001, Kind: refused, Meaning: "the platform may not use this interface", Hint: "check its state in WeChat's open platform"},
		{Code: codeNotRegistered, Kind: refused, Here: true, Meaning: "this address is not registered for the platform", Hint: hintAddress},
		{Code: 61005, Kind: grant, Meaning: "the verify ticket has expired", Hint: "the next push brings another, within 10 minutes"},
		{Code: 61006, Kind: grant, Meaning: "the verify ticket is invalid", Hint: "the next push brings another, within 10 minutes"},
		{Code: 61011, Kind: refused, Meaning: "the platform is unknown", Hint: "check the platform's AppID and AppSecret"},
	}
}

// AuthorizerCodes returns the class of every known errcode of the interfaces for
// authorizers, sorted by code.
func AuthorizerCodes() []Class {
	const (
		busy    = coordinator.FailedBusy
		later   = coordinator.FailedLater
		refused = coordinator.FailedRefused
		parent  = coordinator.FailedParent
		grant   = coordinator.FailedGrant

		again = "the account's administrator must authorize the platform again"
	)
	return []Class{ // sorted by code
		{Code: codeSystemBusy, Kind: busy, Meaning: "WeChat is busy"},
		{Code: codeBadCredential, Kind: parent, Meaning: "WeChat rejects the component_access_token"},
		{Code: 40013, Kind: refused, Meaning: "an AppID is unknown", Hint: "check the platform's AppID; it is case-sensitive"},
		{Code: codeBadToken, Kind: parent, Meaning: "WeChat rejects the component_access_token"},
		{Code: 41001, Kind: refused, Meaning: "the component_access_token is missing", Hint: hintRequest},
		{Code: codeExpired, Kind: parent, Meaning: "the component_access_token has expired"},
		{Code: 42006, Kind: parent, Meaning: "the component_access_token has expired"},
		{Code: 43002, Kind: refused, Meaning: "the request must be a POST", Hint: hintRequest},
		{Code: codeDailyQuota, Kind: later, UntilMidnight: true, Meaning: "the daily quota is used up", Hint: hintQuota},
		{Code: 45011, Kind: later, RetryIn: time.Minute, Meaning: "the quota of this minute is used up"},
		{Code: 47001, Kind: refused, Meaning: "the request cannot be parsed", Hint: hintRequest},
		{Code: 48001, Kind: refused, Meaning: "the platform may not use this interface", Hint: "check its state in WeChat's open platform"},
		{Code: codeNotAuthorized, Kind: grant, Meaning: "the account no longer authorizes the platform", Hint: again},
		{Code: codeNotRegistered, Kind: refused, Here: true, Meaning: "this address is not registered for the platform", Hint: hintAddress},
		{Code: 61007, Kind: refused, Meaning: "the account has not granted this interface to the platform",
			Hint: "the account's administrator must grant it"},
		{Code: codeBadAuthCode, Kind: grant, Meaning: "the authorization_code is invalid or was used", Hint: again},
		{Code: codeOldAuthCode, Kind: grant, Meaning: "the authorization_code has expired", Hint: again},
		{Code: 61011, Kind: refused, Meaning: "the platform is unknown", Hint: "check the platform's AppID"},
		{Code: 61014, Kind: parent, Meaning: "WeChat does not take the token for a component_access_token"},
		{Code: codeBadRefreshToken, Kind: grant, Meaning: "the refresh token is invalid", Hint: again},
	}
}
