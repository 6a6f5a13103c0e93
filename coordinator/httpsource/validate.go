package httpsource

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Validate reports everything that is wrong with i, each with the field's name and
// what to do.
func (i *Issuer) Validate() error {
	v := &validator{}
	v.parameters(i)
	v.request(&i.Request)
	v.answer(&i.Answer)
	for n, c := range i.Codes {
		v.class(fmt.Sprintf("codes[%d]", n), c, i.NeedsParent())
	}
	v.oneOf("repeat", i.Repeat, repeatKills, repeatSame, repeatKeeps)
	v.durations(i)
	v.limits(i.Limits)
	v.use(i.Use)
	if i.Probe != (Probe{}) {
		v.oneOf("probe.method", i.Probe.Method, http.MethodGet, http.MethodPost)
		v.url("probe.url", i.Probe.URL)
		if i.Use.Put == "" {
			v.wrong("use.put", "is missing: the probe needs to know how a call carries the token")
		}
	}
	return errors.Join(v.errs...)
}

// validator collects what is wrong.
type validator struct {
	known []string // the names that templates may use
	errs  []error
}

func (v *validator) wrong(field, format string, args ...any) {
	v.errs = append(v.errs, fmt.Errorf("%s "+format, append([]any{field}, args...)...))
}

func (v *validator) oneOf(field, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		v.wrong(field, "is %q: it must be one of %s", value, strings.Join(allowed, ", "))
	}
}

func (v *validator) notNegative(field string, d Duration) {
	if d < 0 {
		v.wrong(field, "is %v: it must not be negative", time.Duration(d))
	}
}

func (v *validator) parameters(i *Issuer) {
	v.known = builtins()
	for n, p := range i.Parameters {
		field := fmt.Sprintf("parameters[%d].name", n)
		switch {
		case !validName(p.Name):
			v.wrong(field, "is %q: use lower-case letters, digits and _", p.Name)
		case slices.Contains(v.known, p.Name):
			v.wrong(field, "is %q: it is there twice, or stands for something else", p.Name)
		case p.Secret && p.Default != "":
			v.wrong(fmt.Sprintf("parameters[%d].default", n), "must not be set: a secret has no default")
		}
		v.known = append(v.known, p.Name)
	}
}

func (v *validator) request(r *Request) {
	v.oneOf("request.method", r.Method, http.MethodGet, http.MethodPost)
	v.oneOf("request.body", r.Body, bodyQuery, bodyForm, bodyJSON, bodyNone)
	if r.Method == http.MethodGet && (r.Body == bodyForm || r.Body == bodyJSON) {
		v.wrong("request.body", "is %q: a GET has none; use query", r.Body)
	}
	if r.Body == bodyNone && len(r.Fields) > 0 {
		v.wrong("request.fields", "must not be set: request.body is none")
	}
	v.url("request.url", r.URL)
	for _, t := range r.templates() {
		v.template(t)
	}
	for _, name := range r.Numbers {
		if _, ok := r.Fields[name]; !ok || r.Body != bodyJSON {
			v.wrong("request.numbers", "has %q: it must be one of request.fields, and request.body json", name)
		}
	}
	if r.Sign == (Sign{}) {
		for _, t := range r.templates() {
			if names, _ := templateNames(t.text); slices.Contains(names, signature) {
				v.wrong("request.sign", "is missing: %s uses {sign}", t.field)
			}
		}
		return
	}
	v.oneOf("request.sign.algorithm", r.Sign.Algorithm, signSHA256, signMD5)
	if names, _ := templateNames(r.Sign.Text); slices.Contains(names, signature) {
		v.wrong("request.sign.text", "has {sign}: it cannot sign itself")
	}
}

// namedTemplate is a template and the field that has it.
type namedTemplate struct{ field, text string }

// templates returns the request's templates.
func (r *Request) templates() []namedTemplate {
	all := []namedTemplate{{"request.url", r.URL}, {"request.sign.text", r.Sign.Text}}
	for name, text := range r.Headers {
		all = append(all, namedTemplate{"request.headers." + name, text})
	}
	for name, text := range r.Fields {
		all = append(all, namedTemplate{"request.fields." + name, text})
	}
	slices.SortFunc(all, func(a, b namedTemplate) int { return strings.Compare(a.field, b.field) })
	return all
}

func (v *validator) template(t namedTemplate) {
	names, err := templateNames(t.text)
	if err != nil {
		v.wrong(t.field, "%w", err)
	}
	for _, name := range names {
		if !slices.Contains(v.known, name) {
			v.wrong(t.field, "uses {%s}: no parameter has that name", name)
		}
	}
}

// url checks a URL's template as far as it does not depend on parameters.
func (v *validator) url(field, template string) {
	v.template(namedTemplate{field, template})
	parsed, err := url.Parse(expand(template, nil, func(string) string { return "x" }))
	switch {
	case err != nil:
		v.wrong(field, "cannot be parsed: it must look like https://host/path")
	case parsed.Host == "" || parsed.Scheme != "https" && parsed.Scheme != "http":
		v.wrong(field, "must look like https://host/path")
	case parsed.Scheme == "http" && !isLoopback(parsed.Hostname()):
		v.wrong(field, "would send the secret unencrypted: use https")
	case parsed.User != nil || parsed.Fragment != "":
		v.wrong(field, "must have no user and no fragment")
	}
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

func (v *validator) answer(a *Answer) {
	v.path("answer.token", a.Token, true)
	v.path("answer.life.field", a.Life.Field, false)
	v.path("answer.code", a.Code, false)
	v.path("answer.sub_code", a.SubCode, false)
	v.path("answer.message", a.Message, false)
	for name, path := range a.Attributes {
		v.path("answer.attributes."+name, path, true)
	}
	v.oneOf("answer.life.unit", a.Life.unit(), unitSeconds, unitAtSeconds, unitAtMS)
	switch life := time.Duration(a.Life.Default); {
	case (a.Life.Field == "") == (life == 0):
		v.wrong("answer.life", "needs either a field or a default")
	case life < 0 || life > coordinator.MaxLifetime:
		v.wrong("answer.life.default", "is %v: it must be above 0 and at most %v", life, coordinator.MaxLifetime)
	}
	if a.Code == "" && (len(a.Success) > 0 || a.SubCode != "") {
		v.wrong("answer.code", "is missing: answer.success and answer.sub_code depend on it")
	}
}

func (v *validator) path(field, path string, required bool) {
	switch {
	case path == "" && required:
		v.wrong(field, "is missing: name the field, such as data.access_token")
	case path != "" && slices.Contains(strings.Split(path, "."), ""):
		v.wrong(field, "is %q: names are separated by one dot each", path)
	}
}

func (v *validator) class(field string, c Class, parent bool) {
	selectors := 0
	for _, set := range []bool{c.Code != "", c.Status != 0, c.Page} {
		if set {
			selectors++
		}
	}
	if selectors != 1 {
		v.wrong(field, "needs one of code, status and page")
	}
	v.oneOf(field+".kind", string(c.Kind), string(coordinator.FailedRefused), string(coordinator.FailedLater),
		string(coordinator.FailedBusy), string(coordinator.FailedParent))
	if c.Kind == coordinator.FailedParent && !parent {
		v.wrong(field+".kind", "is %q: no template uses {parent_token}", c.Kind)
	}
	if c.Meaning == "" {
		v.wrong(field+".meaning", "is missing: say in one phrase what the code means")
	}
	v.notNegative(field+".retry_in", c.RetryIn)
}

func (v *validator) durations(i *Issuer) {
	v.notNegative("overlap", i.Overlap)
	v.notNegative("rollover", i.Rollover)
	if i.Overlap > 0 && i.Repeat == repeatSame && i.Rollover == 0 || i.Overlap > 0 && i.Repeat == repeatKeeps {
		v.wrong("overlap", "must not be set: with repeat %q no call ends a token", i.Repeat)
	}
	if i.Rollover > 0 && i.Repeat != repeatSame {
		v.wrong("rollover", "must not be set unless repeat is same")
	}
	if i.RefreshEvery != 0 && time.Duration(i.RefreshEvery) < time.Second {
		v.wrong("refresh_every", "is %v: it must be at least 1s", time.Duration(i.RefreshEvery))
	}
}

func (v *validator) limits(l Limits) {
	switch {
	case l.PerDay < 0 || l.PerDay == 1:
		v.wrong("limits.per_day", "is %d: it must be at least 2; 0 leaves it to the coordinator", l.PerDay)
	case l.Reserve < 0 || l.Reserve > 0 && l.Reserve >= l.PerDay:
		v.wrong("limits.reserve", "is %d: it must be 0 to less than limits.per_day (%d)", l.Reserve, l.PerDay)
	}
	if w := time.Duration(l.Window); w != 0 && (w < time.Second || w > coordinator.MaxLifetime || l.PerDay == 0) {
		v.wrong("limits.window", "is %v: it must be 1s to %v, and limits.per_day set", w, coordinator.MaxLifetime)
	}
	v.notNegative("limits.min_interval", l.MinInterval)
}

func (v *validator) use(u Use) {
	if u.Put == "" {
		if u.Scheme != "" || u.Base != "" || u.Code != "" || u.RejectedCodes != nil || u.RejectedStatuses != nil {
			v.wrong("use.put", "is missing: it must be bearer, query NAME or header NAME")
		}
		return
	}
	how, name := u.place()
	if how != putBearer && how != putQuery && how != putHeader || (how == putBearer) != (name == "") || strings.Contains(name, " ") {
		v.wrong("use.put", "is %q: it must be bearer, query NAME or header NAME", u.Put)
	}
	if u.Scheme != "" && how != putHeader {
		v.wrong("use.scheme", "must not be set unless use.put is header NAME")
	}
	if u.Base != "" {
		v.url("use.base", u.Base)
	}
	v.path("use.code", u.Code, false)
}
