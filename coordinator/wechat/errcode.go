package wechat

import (
	"slices"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Class is what an errcode of the token endpoints, or of getticket, means for a client.
type Class struct {
	Code int
	Kind coordinator.FailureKind

	// RetryIn is the wait that WeChat imposes. Zero: it does not say.
	RetryIn time.Duration

	// UntilMidnight is set if the wait lasts until the next midnight, UTC+8, when
	// WeChat resets the daily quota.
	UntilMidnight bool

	// Here is set if the address that the call came from is refused, not the account.
	Here bool

	Meaning string // in one phrase
	Hint    string // what to do; "" if waiting is all there is to do
}

// Codes that the package handles specially.
const (
	codeSystemBusy    = -1
	codeBadCredential = 40001
	codeBadToken      = 40014
	codeExpired       = 42001
	codeNotListed     = 40164
	codeDailyQuota    = 45009

	codeNotAuthorized   = 61003
	codeNotRegistered   = 61004
	codeBadAuthCode     = 61009
	codeOldAuthCode     = 61010
	codeBadRefreshToken = 61023
)

// Classify returns the class of an errcode that a token endpoint answered. A code
// that is not among Codes also means that nothing was issued: its class is to try
// again.
func Classify(code int) Class { return classify(Codes(), code, "token endpoints are") }

func classify(known []Class, code int, endpoint string) Class {
	i, found := slices.BinarySearchFunc(known, code, func(c Class, code int) int { return c.Code - code })
	if !found {
		return Class{
			Code:    code,
			Kind:    coordinator.FailedBusy,
			Meaning: "an errcode that the " + endpoint + " not known to return",
			Hint:    "look it up in WeChat's documentation",
		}
	}
	return known[i]
}

// ClassOf is Classify for a code as a [coordinator.FetchError] and what is stored of
// it have it.
func ClassOf(code coordinator.Code) Class {
	number, _ := code.Number()
	return Classify(number)
}

// Codes returns the class of every known errcode of the token endpoints, sorted by
// code: those of WeChat's past and present lists for getAccessToken and
// getStableAccessToken, and others that clients have reported.
func Codes() []Class {
	const (
		busy    = coordinator.FailedBusy
		later   = coordinator.FailedLater
		refused = coordinator.FailedRefused

		confirm = "the administrator must confirm this address in WeChat, or add it to the IP whitelist"
	)
	return []Class{ // sorted by code
		{Code: codeSystemBusy, Kind: busy, Meaning: "WeChat is busy"},
		{Code: codeBadCredential, Kind: refused, Meaning: "the AppSecret is wrong",
			Hint: "set the AppSecret that the WeChat console generated last"},
		{Code: 40002, Kind: refused, Meaning: "the grant_type is wrong",
			Hint: "something between here and WeChat changes the request"},
		{Code: 40013, Kind: refused, Meaning: "the AppID is unknown",
			Hint: "check the AppID; it is case-sensitive"},
		{Code: 40125, Kind: refused, Meaning: "the AppSecret is wrong",
			Hint: "set the AppSecret that the WeChat console generated last"},
		{Code: codeNotListed, Kind: refused, Here: true, Meaning: "this address is not on the account's IP whitelist",
			Hint: "add the address to the IP whitelist in the WeChat console; it takes effect within 10 minutes"},
		{Code: 40243, Kind: refused, Meaning: "the AppSecret is frozen",
			Hint: "unfreeze the AppSecret in the WeChat console"},
		{Code: 41002, Kind: refused, Meaning: "the AppID is missing",
			Hint: "set the AppID; if it is set, something between here and WeChat changes the request"},
		{Code: 41004, Kind: refused, Meaning: "the AppSecret is missing",
			Hint: "set the AppSecret; if it is set, something between here and WeChat changes the request"},
		{Code: 43002, Kind: refused, Meaning: "the request must be a POST",
			Hint: "something between here and WeChat changes the request"},
		{Code: 43003, Kind: refused, Meaning: "the request must come by HTTPS",
			Hint: "use https in the API base URL"},
		{Code: codeDailyQuota, Kind: later, UntilMidnight: true, Meaning: "the daily quota is used up",
			Hint: "find out what else fetches tokens; clear_quota/v2 resets the quota, ten times a month"},
		{Code: 45011, Kind: later, RetryIn: time.Minute, Meaning: "the quota of this minute is used up"},
		{Code: 47001, Kind: refused, Meaning: "the request cannot be parsed",
			Hint: "something between here and WeChat changes the request"},
		{Code: 48001, Kind: refused, Meaning: "the account may not use this interface",
			Hint: "check the account's kind and its permissions in the WeChat console"},
		{Code: 48004, Kind: refused, Meaning: "the interface is barred for a violation of WeChat's rules",
			Hint: "see the messages in the WeChat console"},
		{Code: 48017, Kind: refused, Meaning: "this access address of WeChat was retired",
			Hint: "use WeChat's host name instead of a pinned address"},
		{Code: 50004, Kind: refused, Meaning: "the account may not get tokens, perhaps as a punishment",
			Hint: "see the messages in the WeChat console"},
		{Code: 50007, Kind: refused, Meaning: "the account is frozen",
			Hint: "see the messages in the WeChat console"},
		{Code: 61004, Kind: refused, Here: true, Meaning: "this address is not registered for the account",
			Hint: "add the address to the IP whitelist in the WeChat console"},
		{Code: 61024, Kind: refused, Meaning: "the AppID is that of a third-party platform",
			Hint: "such an account gets its tokens by api_component_token, which this source does not do"},
		{Code: 89501, Kind: refused, Here: true, Meaning: "this address awaits the administrator's confirmation", Hint: confirm},
		{Code: 89502, Kind: refused, Here: true, Meaning: "this address awaits the administrator's confirmation", Hint: confirm},
		{Code: 89503, Kind: refused, Here: true, Meaning: "a call from this address needs the administrator's confirmation", Hint: confirm},
		{Code: 89504, Kind: refused, Here: true, Meaning: "this address awaits the administrator's confirmation", Hint: confirm},
		{Code: 89505, Kind: refused, Here: true, Meaning: "this address awaits the administrator's confirmation", Hint: confirm},
		{Code: 89506, Kind: refused, Here: true, RetryIn: 24 * time.Hour,
			Meaning: "the administrator refused this address repeatedly: locked for 24 hours", Hint: confirm},
		{Code: 89507, Kind: refused, Here: true, RetryIn: time.Hour,
			Meaning: "the administrator refused this address: locked for an hour", Hint: confirm},
	}
}

// IsTokenRejected reports whether a business call that was answered with this
// errcode may succeed with a newer token: 40001 (superseded, or never valid),
// 40014 (the same, by WeChat's tables) and 42001 (expired). 42007 does not belong
// to them: it asks a user to authorise again.
func IsTokenRejected(code int) bool {
	return code == codeBadCredential || code == codeBadToken || code == codeExpired
}
