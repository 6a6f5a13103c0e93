package oauth

import (
	"context"
	"errors"
	"net/http"
	"time"

	"golang.org/x/oauth2"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
)

const (
	// reuse is how long after Token its result claims to live at most. It is below the
	// 10 s before the end at which x/oauth2 takes a token for expired, so that
	// ReuseTokenSource, oauth2.NewClient and whatever else goes by Token.Valid asks
	// again each time, and layers with a rule of their own keep a token that was
	// replaced for no longer than this.
	reuse = 9 * time.Second

	// tokenWait is how long Token waits for an account that has no token.
	tokenWait = 10 * time.Second
)

// TokenSource makes the account's token an [oauth2.TokenSource]. Its Token method returns
// the current token: from memory while the coordinator runs, otherwise it blocks until
// there is one, for at most 10 s and while ctx lasts.
//
// A token's Expiry is when the token ends, but at most 9 s ahead, so that no layer above
// goes on with a token that was replaced. Token.Valid is therefore false from the
// beginning; the token is usable all the same. It has no refresh token. The account's
// attributes are its Extra.
func TokenSource(ctx context.Context, account CurrentAccount) oauth2.TokenSource {
	return &accountTokens{ctx: ctx, account: account}
}

// CurrentAccount is what TokenSource needs of a *coordinator.Account.
type CurrentAccount interface {
	Current(ctx context.Context) (coordinator.Snapshot, error)
}

type accountTokens struct {
	ctx     context.Context // oauth2.TokenSource has none
	account CurrentAccount
}

// Token implements oauth2.TokenSource.
func (a *accountTokens) Token() (*oauth2.Token, error) {
	ctx, cancel := context.WithTimeout(a.ctx, tokenWait)
	defer cancel()
	s, err := a.account.Current(ctx)
	if err != nil {
		return nil, err
	}
	extra := make(map[string]any, len(s.Attributes))
	for name, value := range s.Attributes {
		extra[name] = value
	}
	return (&oauth2.Token{
		AccessToken: s.Token.Reveal(),
		TokenType:   s.Attributes["token_type"],
		Expiry:      time.Now().Add(min(s.TTL, reuse)),
	}).WithExtra(extra), nil
}

// FromTokenSource makes a source of what makes an [oauth2.TokenSource], which is called
// for each Fetch and must not return one that caches tokens between the calls. The
// TokenSource methods of clientcredentials.Config and jwt.Config are of that kind:
//
//	oauth.FromTokenSource(cfg.TokenSource)
//
// [oauth2.RetrieveError] is classified as the answers to a Source are; of any other error
// the outcome is unknown. The messages quote neither the answer nor its description, but
// the text of other errors, which therefore must not hold secrets.
//
// The context that source is called with ends with Fetch's. It carries an http.Client that
// follows no redirects, since x/oauth2 would send the secret along. A Token method that
// goes on after the context has ended is left behind, and the next Fetch waits for it.
//
// Set AuthStyle in a configuration of x/oauth2: otherwise it tries two ways of client
// authentication, which are two requests. Prefer Config where it does.
func FromTokenSource(source func(context.Context) oauth2.TokenSource) coordinator.Source {
	return &tokenSource{
		source: source,
		busy:   make(chan struct{}, 1),
		client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
}

type tokenSource struct {
	source func(context.Context) oauth2.TokenSource
	busy   chan struct{} // full while a Token method runs
	client *http.Client
}

var _ coordinator.Described = (*tokenSource)(nil)

// Description implements [coordinator.Described].
func (*tokenSource) Description() coordinator.Description {
	return describe(coordinator.RepeatKeeps)
}

// Fetch implements [coordinator.Source].
func (t *tokenSource) Fetch(ctx context.Context, req coordinator.FetchRequest) (coordinator.FetchResult, error) {
	select {
	case t.busy <- struct{}{}:
	case <-ctx.Done():
		return coordinator.FetchResult{}, &coordinator.FetchError{
			Kind: coordinator.FailedBusy, Message: "the TokenSource has not returned from the call before", Err: context.Cause(ctx),
		}
	}
	type outcome struct {
		token *oauth2.Token
		err   error
	}
	done := make(chan outcome, 1)
	go func() { // ends with Token, which the next Fetch waits for
		defer func() { <-t.busy }()
		token, err := t.source(context.WithValue(ctx, oauth2.HTTPClient, t.client)).Token()
		done <- outcome{token, err}
	}()
	select {
	case o := <-done:
		if o.err != nil {
			return coordinator.FetchResult{}, retrieveFailure(o.err, req.Current)
		}
		return retrieved(o.token, req)
	case <-ctx.Done():
		return coordinator.FetchResult{}, &coordinator.FetchError{
			Kind: coordinator.FailedUnknown, Message: "the TokenSource did not answer in time", Calls: 1, Err: context.Cause(ctx),
		}
	}
}

// retrieved reads a token. Its Expiry counts from the answer, so what is left of it now,
// counted from the sending, is not too long.
func retrieved(token *oauth2.Token, req coordinator.FetchRequest) (coordinator.FetchResult, error) {
	failed := func(kind coordinator.FailureKind, message string) (coordinator.FetchResult, error) {
		return coordinator.FetchResult{}, &coordinator.FetchError{Kind: kind, Message: message, Calls: 1}
	}
	if token == nil || token.AccessToken == "" || source.CheckToken("", token.AccessToken) != nil {
		return failed(coordinator.FailedUnknown, "the TokenSource returned no usable token")
	}
	g := grant{token: coordinator.NewToken(token.AccessToken), life: time.Until(token.Expiry)}
	switch {
	case req.Reason.Demanded() && g.token.Equal(req.Current):
		return coordinator.FetchResult{}, &coordinator.FetchError{
			Kind: coordinator.FailedLater, RetryIn: time.Minute, Calls: 1,
			Message: "the TokenSource returned the token that it had returned before: it must not cache tokens",
		}
	case token.Expiry.IsZero():
		g.life = source.CautiousLife
		g.doubt("the token has no Expiry, so it is taken to live for " + g.life.String())
	case g.life <= 0:
		return failed(coordinator.FailedUnknown, "the TokenSource returned a token that has expired")
	}
	if token.RefreshToken != "" {
		g.doubt("a refresh token came with the token: it is ignored")
	}
	m := make(members)
	for _, name := range attributeNames() {
		m.set(name, token.Extra(name))
	}
	m.set("token_type", token.TokenType)
	m.attributes(&g, nil)
	return g.result(), nil
}

// retrieveFailure classifies an error of x/oauth2.
func retrieveFailure(err error, current coordinator.Token) *coordinator.FetchError {
	var answered *oauth2.RetrieveError
	if !errors.As(err, &answered) || answered.Response == nil {
		err = httpsource.CleanError(err, current.Reveal())
		return &coordinator.FetchError{
			Kind: coordinator.FailedUnknown, Message: "the TokenSource failed: " + httpsource.OneLine(err.Error()), Calls: 1, Err: err,
		}
	}
	r := reply{
		Response: &httpsource.Response{Status: answered.Response.StatusCode, Header: answered.Response.Header, Body: answered.Body},
		message:  &message{}, endpoint: "the issuer",
	}
	m, err := r.members() // the errors of some packages have the body only
	said := &Error{Code: coordinator.Code(answered.ErrorCode), Status: r.Status}
	if parsed := m.error(r); said.Code == "" && err == nil && parsed != nil {
		said.Code = parsed.Code
	}
	if said.Code == "" {
		return r.unreadable(errors.New("no error code"), false)
	}
	return r.refused(said, Classify(said.Code, r.Status))
}
