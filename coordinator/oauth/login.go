package oauth

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
)

// Login asks a person for her consent, which brings the first refresh token of an
// account. Config.Login makes one. Its errors hold neither secrets nor tokens.
type Login struct {
	request *tokenRequest
	oauth2  oauth2.Config
	client  *authenticating
}

// Login returns what asks a person for the consent that a source with the grant
// RefreshToken lives on. It makes no call. Its errors begin with the name of the wrong
// field in a configuration file.
func (c Config) Login() (*Login, error) {
	r, _, err := c.request()
	if err != nil {
		return nil, err
	}
	c = r.config
	if c.Grant != RefreshToken {
		return nil, fmt.Errorf("grant: %s needs no consent: only %s does", c.Grant, RefreshToken)
	}
	return &Login{
		request: r,
		client:  &authenticating{request: r, base: loginTransport(c.Transport)},
		oauth2: oauth2.Config{
			ClientID: c.ClientID, Scopes: c.Scopes, RedirectURL: c.RedirectURL,
			Endpoint: oauth2.Endpoint{
				AuthURL: c.AuthURL, TokenURL: c.TokenURL, DeviceAuthURL: c.DeviceURL,
				AuthStyle: oauth2.AuthStyleInParams, // the client_id only: authenticating does the rest
			},
		},
	}, nil
}

// Format prints the login without the client's secrets, whatever the verb.
func (l *Login) Format(w fmt.State, _ rune) {
	_, _ = fmt.Fprintf(w, "oauth.Login(%s)", l.oauth2.ClientID)
}

// loginTimeout limits each request of a login.
const loginTimeout = 30 * time.Second

func loginTransport(rt http.RoundTripper) http.RoundTripper {
	if rt == nil {
		return &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}
	}
	return rt
}

// authenticating proves who the client is in the way that is configured, also by a new
// assertion for each request, which golang.org/x/oauth2 does not.
type authenticating struct {
	request *tokenRequest
	base    http.RoundTripper

	mu      sync.Mutex // guards what follows
	secrets []string   // that were sent
	slowed  int64      // by how many seconds the issuer has asked for longer intervals
}

// takeSlowed returns slowed, and sets it to 0: golang.org/x/oauth2 does not tell it when it
// gives up.
func (a *authenticating) takeSlowed() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer func() { a.slowed = 0 }()
	return a.slowed
}

// learn notes an answer that asks for a longer interval (RFC 8628, section 3.5).
func (a *authenticating) learn(said *Error) {
	if said != nil && said.Code == "slow_down" {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.slowed += 5
	}
}

// RoundTrip implements http.RoundTripper.
func (a *authenticating) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	_ = req.Body.Close()
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, errors.New("the request has no form")
	}
	form.Del("client_id")
	params := a.request.config.Params
	addParams(form, params)
	m := &message{header: req.Header.Clone(), secrets: secretParams(params)}
	if err := a.request.authenticate(m, form, time.Now()); err != nil {
		return nil, err
	}
	for _, name := range []string{"code", "code_verifier", "device_code"} {
		m.secrets = append(m.secrets, form.Get(name))
	}
	a.mu.Lock()
	a.secrets = append(a.secrets, m.secrets...)
	a.mu.Unlock()
	ctx, once := req.Context(), form.Has("code") || form.Has("device_code")
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if once {
		ctx = context.WithoutCancel(ctx) // no second request brings what the answer to this one may hold
	}
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	text := form.Encode()
	sent := req.Clone(ctx)
	sent.Header = m.header
	sent.Header.Set("User-Agent", httpsource.UserAgent)
	sent.Header.Set("Accept", "application/json")
	sent.Body, sent.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
	sent.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
	resp, err := a.roundTrip(m, sent)
	if err != nil && once && ctx.Err() != nil {
		return nil, fmt.Errorf("the issuer has not answered within %s: the code may be used up: log in again", loginTimeout)
	}
	return resp, err
}

// roundTrip reads the answer too, because golang.org/x/oauth2 does not close every body, and
// takes fewer answers for a grant than a refresh does.
func (a *authenticating) roundTrip(m *message, req *http.Request) (*http.Response, error) {
	resp, err := a.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, httpsource.MaxBody+1))
	_ = resp.Body.Close()
	if err == nil && len(answer) > httpsource.MaxBody {
		err = fmt.Errorf("the issuer's answer has more than %d bytes", httpsource.MaxBody)
	}
	r := reply{Response: &httpsource.Response{Status: resp.StatusCode, Header: resp.Header, Body: answer}, message: m, cut: err != nil}
	came, broken := r.members()
	said := came.error(r)
	granted := said == nil && (came.text("refresh_token") != "" || came.text("access_token") != "" && cmp.Or(err, broken) == nil)
	switch {
	case granted:
		return came.login(req), nil
	case err != nil:
		return nil, err
	}
	a.learn(said)
	resp.Body = io.NopCloser(bytes.NewReader(answer))
	return resp, nil
}

// login returns what a login needs of an answer that grants something, as golang.org/x/oauth2
// reads it. That refuses one without an access token, which no login uses.
func (m members) login(req *http.Request) *http.Response {
	needed := members{}
	needed.set("access_token", "unused")
	needed.set("refresh_token", m.text("refresh_token"))
	for _, name := range lifeNames() {
		if life, ok := m[name]; ok {
			needed[name] = life
		}
	}
	body, _ := json.Marshal(needed) // each was JSON before
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)), Request: req,
	}
}

// CodeRequest is a request for an authorization code (RFC 6749, section 4.1) with PKCE
// (RFC 7636).
type CodeRequest struct {
	URL string // that the person opens

	login           *Login
	redirect        string
	state, verifier string
}

// Format prints the request without what protects its answer, whatever the verb.
func (r *CodeRequest) Format(w fmt.State, _ rune) {
	_, _ = fmt.Fprintf(w, "oauth.CodeRequest(%s)", r.redirect)
}

// Code returns a request for a code that the issuer sends to the address redirect.
func (l *Login) Code(redirect string) (*CodeRequest, error) {
	if l.oauth2.Endpoint.AuthURL == "" {
		return nil, errors.New("auth_url: it is missing: it is the address at which the issuer asks the person")
	}
	r := &CodeRequest{login: l, redirect: redirect, state: rand.Text(), verifier: oauth2.GenerateVerifier()}
	asked := l.oauth2
	asked.RedirectURL = redirect
	address, err := url.Parse(asked.AuthCodeURL(r.state, oauth2.S256ChallengeOption(r.verifier)))
	if err != nil {
		return nil, errors.New("auth_url: it is not an address")
	}
	query := address.Query()
	l.request.config.askPerson(query)
	address.RawQuery = query.Encode()
	r.URL = address.String()
	return r, nil
}

// askPerson adds to an authorization request what is configured, and what the issuer's
// profile has. Browsers keep the address: nothing secret is in it.
func (c *Config) askPerson(query url.Values) {
	if c.Audience != "" {
		query.Set("audience", c.Audience)
	}
	params := maps.Clone(c.Params)
	maps.DeleteFunc(params, func(name string, _ []string) bool { return secretName(name) })
	addParams(query, params)
	for name, value := range c.profile.AuthParams {
		addParams(query, url.Values{name: {value}})
	}
}

// ErrForeignAnswer is returned for an answer that does not belong to the request: it is
// to be ignored.
var ErrForeignAnswer = errors.New("the answer's state is not that of the request")

// Redeem redeems the answer that came to the redirect address, its query. The code works
// once, so Redeem, once it has asked the issuer, waits for the answer also when ctx ends, up
// to 30 s.
func (r *CodeRequest) Redeem(ctx context.Context, answer url.Values) (coordinator.Consent, error) {
	code := answer.Get("code")
	switch word := answer.Get("error"); {
	case subtle.ConstantTimeCompare([]byte(answer.Get("state")), []byte(r.state)) != 1:
		return coordinator.Consent{}, ErrForeignAnswer
	case word != "":
		said := &Error{Code: coordinator.Code(httpsource.OneLine(word)), Description: httpsource.OneLine(answer.Get("error_description"))}
		return coordinator.Consent{}, fmt.Errorf("the issuer gave no code: %w", said)
	case code == "":
		return coordinator.Consent{}, errors.New("the issuer's answer has neither code nor error")
	}
	asked := r.login.oauth2
	asked.RedirectURL = r.redirect
	token, err := asked.Exchange(r.login.context(ctx), code, oauth2.VerifierOption(r.verifier))
	if err != nil {
		return coordinator.Consent{}, r.login.failure(err)
	}
	return r.login.consent(token)
}

// DeviceQuestion is what a person is asked to do (RFC 8628).
type DeviceQuestion struct {
	URL      string // to open
	UserCode string // to enter there
	Complete string // an address that has the code in it; "": none
	Expires  time.Time
}

// Device asks a person to consent at another device: show is called once. It blocks until
// the person has answered, the question has expired, or ctx ends; then a request that is
// under way is finished, up to 30 s, because its answer may be the grant. While requests
// fail in a way that may pass, it asks again, less often.
func (l *Login) Device(ctx context.Context, show func(DeviceQuestion)) (coordinator.Consent, error) {
	if l.oauth2.Endpoint.DeviceAuthURL == "" {
		return coordinator.Consent{}, errors.New("device_url: it is missing: it is the address of the device authorization endpoint")
	}
	ctx = l.context(ctx)
	var options []oauth2.AuthCodeOption
	if audience := l.request.config.Audience; audience != "" {
		options = append(options, oauth2.SetAuthURLParam("audience", audience))
	}
	auth, err := l.oauth2.DeviceAuth(ctx, options...)
	if err != nil {
		return coordinator.Consent{}, l.failure(err)
	}
	show(DeviceQuestion{URL: auth.VerificationURI, UserCode: auth.UserCode, Complete: auth.VerificationURIComplete, Expires: auth.Expiry})
	token, err := l.poll(ctx, *auth)
	if err != nil {
		return coordinator.Consent{}, err
	}
	return l.consent(token)
}

// poll asks for the token until the person has answered. A failure that may pass makes it
// ask less often (RFC 8628, section 3.5), but not so seldom that she waits for long.
func (l *Login) poll(ctx context.Context, auth oauth2.DeviceAuthResponse) (*oauth2.Token, error) {
	const usual, longest = 5, 60 // seconds
	var lost error
	for {
		token, err := l.oauth2.DeviceAccessToken(ctx, &auth)
		switch {
		case err == nil:
			return token, nil
		case ctx.Err() != nil:
			return nil, l.failure(err)
		case !auth.Expiry.IsZero() && !time.Now().Before(auth.Expiry) && lost != nil:
			return nil, fmt.Errorf("%w; the last request that failed: %w", errExpired, lost)
		case !auth.Expiry.IsZero() && !time.Now().Before(auth.Expiry):
			return nil, errExpired
		case !mayPass(err):
			return nil, l.failure(err)
		}
		lost = l.failure(err)
		interval := cmp.Or(max(auth.Interval, 0), usual) + l.client.takeSlowed()
		auth.Interval = min(2*interval, max(interval, longest))
	}
}

// mayPass reports whether an error of golang.org/x/oauth2 is of a request whose answer was
// lost, or of an issuer that fails.
func mayPass(err error) bool {
	if _, distrusted := errors.AsType[*tls.CertificateVerificationError](err); distrusted {
		return false
	}
	answered, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok || answered.Response == nil {
		return true
	}
	status := answered.Response.StatusCode
	switch Classify(coordinator.Code(answered.ErrorCode), status).Kind {
	case coordinator.FailedLater, coordinator.FailedUnknown:
		return true
	case coordinator.FailedBusy: // also what a gateway says of a wrong address
		return status/100 == 5
	}
	return false
}

var errExpired = errors.New("the question has expired unanswered: log in again")

func (l *Login) context(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, &http.Client{
		Transport:     l.client,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	})
}

// consent returns the grant that came.
func (l *Login) consent(token *oauth2.Token) (coordinator.Consent, error) {
	if token.RefreshToken == "" {
		return coordinator.Consent{}, errors.New("the issuer gave no refresh token: " +
			"ask for the scope that it wants for one, often offline_access, and see its documentation")
	}
	m := members{}
	for _, name := range lifeNames() {
		m.set(name, token.Extra(name))
	}
	m.set("refresh_token", token.RefreshToken)
	var g grant
	l.request.granted(&g, m)
	ends := g.grantEnds
	if ends == 0 {
		ends = l.request.config.profile.Ends.Duration()
	}
	return coordinator.Consent{Token: coordinator.NewToken(token.RefreshToken), Idle: g.grantIdle, Ends: ends}, nil
}

// failure returns an error of golang.org/x/oauth2 without what it quotes.
func (l *Login) failure(err error) error {
	l.client.mu.Lock()
	secrets := slices.Clone(l.client.secrets)
	l.client.mu.Unlock()
	var answered *oauth2.RetrieveError
	if !errors.As(err, &answered) || answered.Response == nil {
		return httpsource.CleanError(err, secrets...)
	}
	clean := func(text string) string { return httpsource.OneLine(httpsource.Scrub(text, secrets...)) }
	said := &Error{
		Code: coordinator.Code(clean(answered.ErrorCode)), Description: clean(answered.ErrorDescription), Status: answered.Response.StatusCode,
	}
	switch class := Classify(said.Code, said.Status); {
	case said.Code == "invalid_grant":
		return fmt.Errorf("%w: the code is too old, was used, or was meant for another client or redirect address: log in again", said)
	case said.Code == "expired_token":
		return errExpired
	case class.Hint != "" && class.Code != "access_denied":
		return fmt.Errorf("%w: %s", said, class.Hint)
	}
	return said
}
