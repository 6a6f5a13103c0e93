package wecom

import (
	"slices"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
)

// Errcodes that the package handles specially.
const (
	codeBusy          = -1
	codeBadCredential = 40001
	codeBadToken      = 40014
	codeBadProvider   = 40082
	codeExpired       = 42001
	codeSuiteExpired  = 42009
	codeTooOften      = 45009
	codeUntrusted     = 60020
)

// wrongSecretRetry is how long a wrong secret is not sent again. Several within an hour
// make WeCom block the source address, for every app behind it: twice an hour
// leaves each app at most one in any hour.
const wrongSecretRetry = 2 * time.Hour

// blockedRetry is how long calls wait after a 45009 that does not say for how long WeCom
// blocks: a minute, an hour, as for wrong secrets, or until midnight. In a block of an
// hour that is three calls.
const blockedRetry = 20 * time.Minute

// Classify returns the class of an errcode that an endpoint for tokens or tickets
// answered. A code that is not among Codes also means that nothing was issued: its
// class is to try again. The same number can mean something else at an Official
// Account, see [wechat.Classify].
func Classify(code int) wechat.Class {
	class, known := lookUp(Codes(), code)
	if !known {
		return wechat.Class{
			Code:    code,
			Kind:    coordinator.FailedBusy,
			Meaning: "an errcode that the token endpoints are not known to return",
			Hint:    "look it up at https://open.work.weixin.qq.com/devtool/query",
		}
	}
	return class
}

// lookUp finds a code among known ones, which are sorted.
func lookUp(known []wechat.Class, code int) (class wechat.Class, found bool) {
	i, found := slices.BinarySearchFunc(known, code, func(c wechat.Class, code int) int { return c.Code - code })
	if found {
		class = known[i]
	}
	return class, found
}

// ClassifyTicket is Classify for an errcode that a ticket's endpoint answered. It differs
// for errcodes that reject the token: here it is the access_token that the call was made
// with (FailedParent), not the secret.
func ClassifyTicket(code int) wechat.Class {
	if IsTokenRejected(code) {
		return wechat.Class{Code: code, Kind: coordinator.FailedParent, Meaning: "WeCom rejects the access_token"}
	}
	return Classify(code)
}

// Codes returns the class of every known errcode of the endpoints for tokens, sorted by
// code. For what a ticket's endpoint answers about its parent's token see
// ClassifyTicket.
func Codes() []wechat.Class {
	const (
		busy    = coordinator.FailedBusy
		later   = coordinator.FailedLater
		refused = coordinator.FailedRefused

		changed = "something between here and WeCom changes the request"
		secret  = "set the secret that the app's page in the WeCom console shows; check that corpid and secret are of the same corp"
	)
	return []wechat.Class{ // sorted by code
		{Code: codeBusy, Kind: busy, Meaning: "WeCom is busy"},
		{Code: codeBadCredential, Kind: refused, RetryIn: wrongSecretRetry,
			Meaning: "the secret is wrong, or the app is disabled", Hint: secret},
		{Code: 40013, Kind: refused, RetryIn: wrongSecretRetry, Meaning: "the corpid is unknown",
			Hint: "check the corpid at the bottom of \"My Company\" in the WeCom console"},
		{Code: codeOtherCorp, Kind: refused, RetryIn: wrongSecretRetry, Meaning: "the secret is of another corp", Hint: secret},
		{Code: 40093, Kind: refused, Meaning: "the ticket cannot be had with this app's token",
			Hint: "name in \"of\" the account of the app that the pages are about"},
		{Code: 41001, Kind: refused, Meaning: "the access_token is missing", Hint: changed},
		{Code: 41002, Kind: refused, RetryIn: wrongSecretRetry, Meaning: "the corpid is missing", Hint: changed},
		{Code: 41004, Kind: refused, RetryIn: wrongSecretRetry, Meaning: "the secret is missing", Hint: changed},
		{Code: 43001, Kind: refused, Meaning: "the request must be a GET", Hint: changed},
		{Code: 43002, Kind: refused, Meaning: "the request must be a POST", Hint: changed},
		{Code: 43003, Kind: refused, Meaning: "the request must come by HTTPS", Hint: "use https in api_base"},
		{Code: codeTooOften, Kind: later, RetryIn: blockedRetry,
			Meaning: "too many calls, or wrong secrets from this address: WeCom blocks it, for every app behind it",
			Hint: "find what sends wrong secrets from this address; " +
				"https://open.work.weixin.qq.com/wwopen/devtool/checkCorpSpamBlock lifts the block"},
		{Code: 45033, Kind: busy, Meaning: "too many calls at once"},
		{Code: 47001, Kind: refused, Meaning: "the request cannot be parsed", Hint: changed},
		{Code: 48002, Kind: refused, Meaning: "the app may not use this interface",
			Hint: "check the app's permissions in the WeCom console"},
		{Code: 50003, Kind: refused, Meaning: "the app is disabled", Hint: "enable the app in the WeCom console"},
		{Code: codeUntrusted, Kind: refused, Here: true, Meaning: "this address is not among the app's trusted IPs",
			Hint: "add the address to the app's trusted IPs in the WeCom console; it takes effect within a minute"},
		{Code: 301002, Kind: refused, Meaning: "the token is of another app",
			Hint: "name in \"of\" the account of the same app"},
		{Code: 301005, Kind: refused, Meaning: "the app is out of its scope",
			Hint: "check the app's scope in the WeCom console"},
		{Code: 301007, Kind: refused, Meaning: "the corp is dissolved or banned", Hint: "see the messages in the WeCom console"},
	}
}

// IsTokenRejected reports whether a business call that was answered with this errcode
// may succeed with a newer access_token: 40014 (unknown, but also expired), 42001
// (expired) and 40001. 301002 does not belong to them: the token is that of another
// app. For a token of the kind Provider see IsProviderTokenRejected.
func IsTokenRejected(code int) bool {
	return code == codeBadCredential || code == codeBadToken || code == codeExpired
}

// IsProviderTokenRejected is IsTokenRejected for calls with a provider_access_token or a
// suite_access_token: 40014, 40082, 42001 and 42009.
func IsProviderTokenRejected(code int) bool {
	return code == codeBadToken || code == codeBadProvider || code == codeExpired || code == codeSuiteExpired
}
