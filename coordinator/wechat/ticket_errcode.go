package wechat

import (
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// ClassifyTicket is Classify for an errcode that getticket answered. It differs for
// errcodes about the token: here it is the access_token that the call was made with
// (FailedParent), not the AppSecret.
func ClassifyTicket(code int) Class { return classify(TicketCodes(), code, "ticket endpoint is") }

// TicketCodes returns the class of every known errcode of getticket, sorted by code.
func TicketCodes() []Class {
	const (
		busy    = coordinator.FailedBusy
		later   = coordinator.FailedLater
		refused = coordinator.FailedRefused
		parent  = coordinator.FailedParent
	)
	return []Class{ // sorted by code
		{Code: codeSystemBusy, Kind: busy, Meaning: "WeChat is busy"},
		{Code: codeBadCredential, Kind: parent, Meaning: "WeChat rejects the access_token"},
		{Code: 40013, Kind: refused, Meaning: "the account is unknown", Hint: "check the AppID of the account whose ticket it is"},
		{Code: codeBadToken, Kind: parent, Meaning: "WeChat rejects the access_token"},
		{Code: 40097, Kind: refused, Meaning: "the type of ticket is unknown", Hint: hintRequest},
		{Code: codeNotListed, Kind: refused, Here: true, Meaning: "this address is not on the account's IP whitelist",
			Hint: "add the address to the IP whitelist in the WeChat console; it takes effect within 10 minutes"},
		{Code: 41001, Kind: refused, Meaning: "the access_token is missing", Hint: hintRequest},
		{Code: codeExpired, Kind: parent, Meaning: "the access_token has expired"},
		{Code: 43003, Kind: refused, Meaning: "the request must come by HTTPS", Hint: "use https in the API base URL"},
		{Code: codeDailyQuota, Kind: later, UntilMidnight: true, Meaning: "the daily quota is used up",
			Hint: "find out what else asks for tickets; clear_quota/v2 resets the quota, ten times a month"},
		{Code: 45011, Kind: later, RetryIn: time.Minute, Meaning: "the quota of this minute is used up"},
		{Code: 48001, Kind: refused, Meaning: "the account may not use this interface",
			Hint: "check the account's kind and its permissions in the WeChat console"},
		{Code: 48004, Kind: refused, Meaning: "the interface is barred for a violation of WeChat's rules",
			Hint: "see the messages in the WeChat console"},
		{Code: 50002, Kind: refused, Meaning: "the account is restricted", Hint: "see the messages in the WeChat console"},
		{Code: 50007, Kind: refused, Meaning: "the account is frozen", Hint: "see the messages in the WeChat console"},
		{Code: 61004, Kind: refused, Here: true, Meaning: "this address is not registered for the account",
			Hint: "add the address to the IP whitelist in the WeChat console"},
		{Code: 61007, Kind: refused, Meaning: "the account has not granted this interface to the platform",
			Hint: "the account's administrator must grant it"},
	}
}
