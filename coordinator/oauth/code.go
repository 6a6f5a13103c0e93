package oauth

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Class is what an issuer's refusal means for a client.
type Class struct {
	Code coordinator.Code
	Kind coordinator.FailureKind

	// RetryIn is the wait that the refusal imposes if the answer has no Retry-After.
	// Zero: it does not say.
	RetryIn time.Duration

	Meaning string // in one phrase
	Hint    string // what to do; "" if waiting is all there is to do
}

// Classify returns the class of an answer with the given error word, "" if there is
// none, and HTTP status. A word that is not among Codes is classified by the status; it
// also means that nothing was issued, unless the status is that of a gateway.
func Classify(code coordinator.Code, status int) Class {
	known := Codes()
	i, found := slices.BinarySearchFunc(known, code, func(c Class, code coordinator.Code) int {
		return strings.Compare(string(c.Code), string(code))
	})
	switch {
	case status == http.StatusTooManyRequests && (!found || known[i].Kind == coordinator.FailedRefused):
		class := classifyStatus(status)
		class.Code = code
		return class
	case found:
		return known[i]
	}
	class := classifyStatus(status)
	class.Code = code
	if code != "" && status/100 == 2 { // some issuers refuse with status 200
		class = Class{Code: code, Kind: coordinator.FailedRefused, Meaning: "the issuer refuses the request"}
	}
	if code != "" && status/100 == 4 && class.Kind == coordinator.FailedBusy {
		class.Kind = coordinator.FailedRefused
	}
	if code != "" && class.Kind == coordinator.FailedRefused {
		class.Hint = "look the word up in the issuer's documentation"
	}
	return class
}

// classifyStatus returns the class of an answer without a known word.
func classifyStatus(status int) Class {
	switch {
	case status == http.StatusTooManyRequests:
		return Class{Kind: coordinator.FailedLater, RetryIn: time.Minute, Meaning: "the issuer limits the requests"}
	case status == http.StatusServiceUnavailable:
		return Class{Kind: coordinator.FailedBusy, Meaning: "the issuer is unavailable"}
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return Class{Kind: coordinator.FailedRefused, Meaning: "the issuer refuses the client",
			Hint: "check the client's id and credential, and whether this address may call the issuer"}
	case status == http.StatusRequestTimeout, status == 499: // a gateway gave up waiting
		return Class{Kind: coordinator.FailedUnknown, Meaning: "the request took too long"}
	case status/100 == 3:
		return Class{Kind: coordinator.FailedBusy, Meaning: "the issuer redirects",
			Hint: "redirects are not followed, because the credential would follow: set the address that it points to"}
	case status/100 == 4: // of a gateway, or the address is not that of a token endpoint
		return Class{Kind: coordinator.FailedBusy, Meaning: "the request was turned away",
			Hint: "check the address of the token endpoint"}
	}
	return Class{Kind: coordinator.FailedUnknown, Meaning: "the outcome is unknown"}
}

// Codes returns the class of every known word, sorted by word: those of RFC 6749, 7521,
// 7523, 8628, 8707 and 9449, and those that large issuers use for the same.
func Codes() []Class {
	const (
		busy    = coordinator.FailedBusy
		later   = coordinator.FailedLater
		none    = coordinator.FailedGrant
		refused = coordinator.FailedRefused
	)
	const dpop = "a token that is bound to a key cannot be shared: switch DPoP off for this client"
	return []Class{ // sorted by code
		{Code: "Access Denied", Kind: refused, Meaning: "the client may not have such a token",
			Hint: "give the client access to the scopes at the issuer"},
		{Code: "access_denied", Kind: refused, Meaning: "the client may not have such a token",
			Hint: "give the client access to the audience and the scopes at the issuer"},
		{Code: "bad_refresh_token", Kind: none, Meaning: noGrant},
		{Code: "fatal_error", Kind: coordinator.FailedUnknown, Meaning: "the issuer has failed"},
		{Code: "internal_error", Kind: coordinator.FailedUnknown, Meaning: "the issuer has failed"},
		{Code: "invalid_client", Kind: refused, Meaning: "the client's id or credential is wrong",
			Hint: "check client_id, the secret or key, and that the issuer expects this client_auth"},
		{Code: "invalid_dpop_proof", Kind: refused, Meaning: "the issuer wants a DPoP proof", Hint: dpop},
		{Code: "invalid_grant", Kind: refused, Meaning: "the assertion is not accepted",
			Hint: "check the key, issuer, subject and audience of the assertion, and this machine's clock"},
		{Code: "invalid_refresh_token", Kind: none, Meaning: noGrant},
		{Code: "invalid_request", Kind: refused, Meaning: "the request lacks a parameter or has a wrong one",
			Hint: "check scopes, audience and params against the issuer's documentation"},
		{Code: "invalid_scope", Kind: refused, Meaning: "a scope is unknown, or not for this client",
			Hint: "check scopes"},
		{Code: "invalid_target", Kind: refused, Meaning: "the audience or resource is unknown, or not for this client",
			Hint: "check audience and params"},
		{Code: "rate_limit_exceeded", Kind: later, RetryIn: time.Minute, Meaning: "the issuer limits the requests"},
		{Code: "ratelimited", Kind: later, RetryIn: time.Minute, Meaning: "the issuer limits the requests"},
		{Code: "request_timeout", Kind: coordinator.FailedUnknown, Meaning: "the request took too long"},
		{Code: "server_error", Kind: busy, Meaning: "the issuer has failed"},
		{Code: "service_unavailable", Kind: busy, Meaning: "the issuer is unavailable"},
		{Code: "slow_down", Kind: later, RetryIn: 5 * time.Second, Meaning: "the issuer is asked too often"},
		{Code: "temporarily_unavailable", Kind: busy, Meaning: "the issuer is overloaded or under maintenance"},
		{Code: "too_many_requests", Kind: later, RetryIn: time.Minute, Meaning: "the issuer limits the requests"},
		{Code: "unauthorized_client", Kind: refused, Meaning: "the client may not use this grant",
			Hint: "allow the grant for this client at the issuer"},
		{Code: "unsupported_grant_type", Kind: refused, Meaning: "the issuer does not know the grant",
			Hint: "check grant, and that token_url is that of the token endpoint"},
		{Code: "use_dpop_nonce", Kind: refused, Meaning: "the issuer wants a DPoP proof", Hint: dpop},
	}
}

// RejectedToken reports whether a resource server's answer says that it does not accept
// the bearer token, so that a newer one may succeed (RFC 6750, section 3.1): status 401,
// unless it names another error than invalid_token, such as insufficient_scope.
func RejectedToken(resp *http.Response) bool {
	if resp.StatusCode != http.StatusUnauthorized {
		return false
	}
	for _, challenge := range resp.Header.Values("WWW-Authenticate") {
		if word, ok := challengeError(challenge); ok {
			return word == "invalid_token"
		}
	}
	return true
}

// challengeError returns the error parameter of a WWW-Authenticate header.
func challengeError(challenge string) (string, bool) {
	lower := strings.ToLower(challenge)
	for at := 0; ; {
		i := strings.Index(lower[at:], "error=")
		if i < 0 {
			return "", false
		}
		at += i
		if at == 0 || strings.ContainsRune(" ,\t", rune(lower[at-1])) {
			word, _, _ := strings.Cut(lower[at+len("error="):], ",")
			return strings.Trim(strings.TrimSpace(word), `"`), true
		}
		at += len("error=")
	}
}
