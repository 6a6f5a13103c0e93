package oauth

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
)

// reply is an answer with the request that it answers.
type reply struct {
	*httpsource.Response
	message  *message
	endpoint string
	cut      bool // it broke off
}

// grant is a token as the issuer gave it.
type grant struct {
	token      coordinator.Token
	life       time.Duration
	attributes map[string]string
	doubts     []string // what is odd about it

	refresh              coordinator.Token // zero: none came
	refreshIn            time.Duration     // when the issuer refreshes again; zero: at any time
	grantIdle, grantEnds time.Duration     // zero: the issuer does not say
}

func (g *grant) doubt(text string) { g.doubts = append(g.doubts, text) }

// result returns g as the result of a Fetch.
func (g *grant) result() coordinator.FetchResult {
	return coordinator.FetchResult{
		Token: g.token, Lifetime: g.life, Attributes: g.attributes,
		Doubt: strings.Join(g.doubts, "; "), Calls: 1,
		RefreshIn: g.refreshIn, Grant: g.refresh, GrantIdle: g.grantIdle, GrantEnds: g.grantEnds,
	}
}

// rest returns what is left of an answer that failed: a refresh token that came with it
// is the only one that works now.
func (g *grant) rest() coordinator.FetchResult {
	if g.refresh.IsZero() {
		return coordinator.FetchResult{}
	}
	return coordinator.FetchResult{Grant: g.refresh, GrantIdle: g.grantIdle, GrantEnds: g.grantEnds, Calls: 1}
}

// members are those of the answer's JSON object, or the parameters of a form.
type members map[string]json.RawMessage

// members reads the body. A few issuers answer with a form in place of JSON. Of an object
// that is cut off, broken or too long it returns an error and the members that came whole.
func (r reply) members() (members, error) {
	body, tooLong := source.Plain(r.Body, httpsource.MaxBody)
	if len(body) > 0 && body[0] == '{' {
		m := make(members)
		if json.Unmarshal(body, &m) == nil {
			return m, nil
		}
		m = make(members)
		_ = source.ReadObject(body, func(name string, value json.RawMessage) { m[name] = value })
		return m, cmp.Or(tooLong, source.ErrBroken)
	}
	if tooLong != nil {
		return nil, tooLong
	}
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if !r.cut && (media == "application/x-www-form-urlencoded" || media == "text/plain") {
		if form, err := url.ParseQuery(string(body)); err == nil && (form.Has("access_token") || form.Has("error")) {
			return formMembers(form), nil
		}
	}
	return nil, source.NoObject(body)
}

func formMembers(form url.Values) members {
	m := make(members, len(form))
	for name, values := range form {
		m.set(name, values[0])
	}
	return m
}

// set makes value a member. What cannot be encoded is left out.
func (m members) set(name string, value any) {
	if encoded, err := json.Marshal(value); err == nil {
		m[name] = encoded
	}
}

// text returns a member that is a string, "" if it is none.
func (m members) text(name string) string {
	text, _ := source.Text(m[name])
	return text
}

// grant reads the answer of a token endpoint (RFC 6749, section 5).
func (t *tokenRequest) grant(r reply) (grant, *coordinator.FetchError) {
	presents := t.config.Grant == RefreshToken
	m, err := r.members()
	if err != nil {
		var g grant
		if presents {
			t.granted(&g, m) // that it was issued says that the presented one is used up
		}
		return g, r.unreadable(err, presents)
	}
	if said := m.error(r); said != nil {
		return grant{}, r.refused(said, t.classify(said))
	}
	g, err := m.token("access_token")
	if presents {
		t.granted(&g, m)
	}
	switch {
	case err != nil && r.Status/100 == 2:
		return g, r.unreadable(err, presents)
	case err != nil:
		return g, r.unreadable(nil, presents)
	case strings.EqualFold(m.text("token_type"), "DPoP"):
		return g, r.refused(&Error{Code: "use_dpop_nonce", Status: r.Status}, Classify("use_dpop_nonce", r.Status))
	}
	m.life(&g, t.config.Lifetime)
	if presents {
		t.plan(&g)
	}
	m.attributes(&g, r.message.secrets)
	if r.Status/100 != 2 {
		g.doubt(fmt.Sprintf("a token with HTTP status %d", r.Status))
	}
	if !presents && m.text("refresh_token") != "" {
		g.doubt("a refresh_token came with the token: it is ignored")
	}
	if to := boundTo(g.token); to != "" {
		g.doubt("the token is bound to " + to + ": only readers that have it can use the token")
	}
	return g, nil
}

// token reads a token. The error does not quote it.
func (m members) token(name string) (grant, error) {
	token := m.text(name)
	unusable := source.CheckToken("a token", token)
	switch {
	case token == "" && len(m[name]) > 0 && m[name][0] != '"' && string(m[name]) != "null":
		return grant{}, fmt.Errorf("an %s that is not a string", name)
	case token == "":
		return grant{}, fmt.Errorf("neither %s nor error", name)
	case unusable != nil:
		return grant{}, unusable
	}
	return grant{token: coordinator.NewToken(token)}, nil
}

// life reads expires_in, a number or a string with one. RFC 6749 only recommends it;
// configured is the life that holds without it.
func (m members) life(g *grant, configured time.Duration) {
	g.life = cmp.Or(configured, source.CautiousLife)
	seconds, present, err := source.Number(m["expires_in"])
	switch {
	case !present && configured > 0: // as configured
	case !present:
		g.doubt("expires_in is missing, so the token is taken to live for " + g.life.String() + ": set lifetime if you know better")
	case err != nil:
		g.doubt("expires_in is not a number, so the token is taken to live for " + g.life.String())
	case seconds < 1:
		g.doubt("expires_in is less than 1, so the token is taken to live for " + g.life.String())
	case seconds > coordinator.MaxLifetime.Seconds():
		g.life = coordinator.MaxLifetime
		g.doubt("expires_in is more than a year")
	default:
		g.life = time.Duration(seconds * float64(time.Second))
	}
}

// attributeNames returns what readers of a token may need besides, the longest last.
func attributeNames() []string { return []string{"token_type", "instance_url", "api_domain", "scope"} }

// attributes reads what readers need besides, as the answer has it.
func (m members) attributes(g *grant, secrets []string) {
	left := coordinator.MaxAttributes
	for _, name := range attributeNames() {
		value := m.text(name)
		var list []string
		if name == "scope" && value == "" && json.Unmarshal(m[name], &list) == nil {
			value = strings.Join(list, " ")
		}
		size := len(name) + len(value)
		switch {
		case value == "":
			continue
		case !vschar(value) || httpsource.Scrub(value, slices.Concat(secrets, []string{g.token.Reveal()})...) != value:
			g.doubt(name + " holds what does not belong there: it is dropped")
			continue
		case size > left:
			g.doubt(name + " is too long for an attribute: it is dropped")
			continue
		}
		left -= size
		if g.attributes == nil {
			g.attributes = make(map[string]string)
		}
		g.attributes[name] = value
	}
}

// retryAfter is the wait that the answer asks for; 0: none. It is at most MaxRetry.
func (r reply) retryAfter() time.Duration {
	value := r.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil || errors.Is(err, strconv.ErrRange) {
		seconds = max(0, min(seconds, int(coordinator.MaxRetry/time.Second)))
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return max(0, min(at.Sub(r.Now()), coordinator.MaxRetry))
}

// jwtClaims decodes the claims of a JWT without looking at its signature.
func jwtClaims(token string, claims any) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	return err == nil && json.Unmarshal(payload, claims) == nil
}
