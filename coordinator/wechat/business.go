package wechat

import "time"

// BusinessClass is what an errcode of WeChat's business interfaces means for
// the token a call was made with. The same number can mean another thing at
// the token endpoints, for which there is Classify.
type BusinessClass struct {
	Code int

	// TokenRejected: report the token, and repeat the call with the next.
	TokenRejected bool

	RetryIn       time.Duration // repeat the call as it is after this
	UntilMidnight bool          // after the next midnight, UTC+8

	Meaning string
	Hint    string
}

// ClassifyBusiness returns the class of an errcode that a business interface
// answered. Of a code that does not concern tokens, quotas or permissions it
// has nothing but the code.
func ClassifyBusiness(code int) BusinessClass {
	c := BusinessClass{Code: code, TokenRejected: IsTokenRejected(code)}
	switch code {
	case codeSystemBusy:
		c.Meaning, c.RetryIn = "WeChat is busy", time.Second
	case codeBadCredential, codeBadToken:
		c.Meaning = "the token was superseded, or is of another account"
		c.Hint = "if it keeps happening, somebody else fetches tokens for this account"
	case codeExpired:
		c.Meaning = "the token is past its end"
	case 41001:
		c.Meaning, c.Hint = "the token is missing", "it belongs in the URL's query, not in the body"
	case 42007:
		c.Meaning, c.Hint = "the user withdrew what was granted", "the user must authorise again; another token of the account changes nothing"
	case 42006:
		c.Meaning = "the component's token is past its end"
	case codeDailyQuota:
		c.Meaning, c.UntilMidnight = "the daily quota of this interface is used up", true
	case 45011:
		c.Meaning, c.RetryIn = "the quota of this minute is used up", time.Minute
	case 48001:
		c.Meaning, c.Hint = "the account may not use this interface", "check the account's kind and its permissions in the WeChat console"
	case 48004:
		c.Meaning, c.Hint = "the interface is barred for a violation of WeChat's rules", "see the messages in the WeChat console"
	case 61007:
		c.Meaning = "the account did not grant this interface to the third-party platform"
	}
	return c
}
