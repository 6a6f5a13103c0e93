package wecomtest

import (
	"errors"
	"time"
)

// Knobs set what is not known of WeCom, and what a test needs shorter. All counts are of
// calls in a window of the calendar; 0 turns a quota off.
type Knobs struct {
	TokenTTL    time.Duration // of tokens; 2 h
	TicketTTL   time.Duration // of tickets; 2 h
	TokenLength int           // in characters; WeCom asks to reserve 512

	// AlwaysWhole: expires_in is the whole life at each repeat, as some report. False: it
	// is what is left.
	AlwaysWhole bool

	// ExpiredAs is the errcode for an expired token: 42001 or 40014. Both are seen.
	ExpiredAs int

	// ResetKills: a new secret ends the tokens of the old one.
	ResetKills bool

	// TicketOverlap is how long a ticket is accepted after the next one has replaced it.
	TicketOverlap time.Duration

	// TicketFollowsToken: a new token of the app ends the tickets fetched with the old.
	TicketFollowsToken bool

	// TokensCheckIP: the endpoints for tokens refuse addresses that are not trusted, too.
	TokensCheckIP bool

	SuiteTicketEvery time.Duration // between two pushed suite_tickets; 10 min
	SuiteTicketTTL   time.Duration // of suite_tickets; 30 min
	SuiteTicketsKept int           // how many of the newest suite_tickets are accepted; 3
	AuthCodeTTL      time.Duration // of auth_codes; 10 min
	PushTimeout      time.Duration // within which a push must be answered; 1 s

	// SuiteErrcode: the answers for suites have errcode 0 if all is well.
	SuiteErrcode bool

	// ExchangeTokenDiffers: the token in the answer to get_permanent_code is another one
	// than the first that get_corp_token answers; both live.
	ExchangeTokenDiffers bool

	// AllowUsers is how many users the answer to get_permanent_code lists who may see the
	// app. A large corp's answer is long.
	AllowUsers int

	// WrongSecrets within an hour from one address block it for BlockFor, for all corps
	// and apps. WeCom says "several" and an hour.
	WrongSecrets int
	BlockFor     time.Duration

	// Quotas of each endpoint.
	CorpMinute, CorpHour, CorpDay int
	IPMinute, IPHour              int

	// Quotas of tickets, together with those above.
	TicketCorpHour, TicketAppHour int

	// TextNamesWindow: the errmsg of 45009 says whether the quota is of a minute, an hour
	// or a day.
	TextNamesWindow bool
}

// DefaultKnobs returns WeCom's documented or likely behaviour.
func DefaultKnobs() Knobs {
	return Knobs{
		TokenTTL: 2 * time.Hour, TicketTTL: 2 * time.Hour, TokenLength: 214,
		ExpiredAs: codeExpired, ResetKills: true,
		SuiteTicketEvery: 10 * time.Minute, SuiteTicketTTL: 30 * time.Minute, SuiteTicketsKept: 3,
		AuthCodeTTL: 10 * time.Minute, PushTimeout: time.Second,
		WrongSecrets: 5, BlockFor: time.Hour,
		CorpMinute: 10_000, CorpHour: 150_000, IPMinute: 20_000, IPHour: 600_000,
		TicketCorpHour: 400, TicketAppHour: 100,
	}
}

func (k Knobs) validate() error {
	switch {
	case k.TokenTTL < time.Second || k.TicketTTL < time.Second:
		return errors.New("wecomtest: TokenTTL and TicketTTL must be at least 1s")
	case k.TokenLength < 16 || k.TokenLength > 8192:
		return errors.New("wecomtest: TokenLength must be 16 to 8192")
	case k.SuiteTicketEvery < time.Second || k.SuiteTicketTTL < time.Second || k.AuthCodeTTL < time.Second:
		return errors.New("wecomtest: SuiteTicketEvery, SuiteTicketTTL and AuthCodeTTL must be at least 1s")
	case k.SuiteTicketsKept < 1:
		return errors.New("wecomtest: SuiteTicketsKept must be at least 1")
	case k.PushTimeout <= 0:
		return errors.New("wecomtest: PushTimeout must be positive")
	case k.ExpiredAs != codeExpired && k.ExpiredAs != codeBadToken:
		return errors.New("wecomtest: ExpiredAs must be 42001 or 40014")
	}
	return nil
}
