package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/sources"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
)

// Account is one account of the configuration.
type Account struct {
	Name         string // in Redis and for callers; the AppID by default
	Label        string // a name for people, "" if it has none
	Source       string // a name of sources.All
	APIBase      string
	Of           string   // the account whose token the source needs, "" if it needs none
	Pages        []string // hosts whose pages may have JS-SDK signatures
	RefreshEvery time.Duration
	Limits       coordinator.Limits

	// MemberTickets are the words of tickets: of an account with members.
	MemberTickets []string

	// Grant is what its source declares of grants. The zero value also if this process
	// does not refresh it.
	Grant coordinator.GrantRules

	SecretFile string // the first file with a secret of it, "" if there is none

	values  sources.Values // fields of its source; see Values
	secrets map[string]Secret
	public  bool // it needs no secret

	given given
	form  *accountForm // until checked

	where string // "zk.yaml:12", for errors
}

// given is what an account itself says of its schedule and its limits.
type given struct {
	every  time.Duration
	limits coordinator.Limits
}

// NewAccount returns a WeChat account without a secret, with the defaults of c.
func NewAccount(appID string, c *Config) Account {
	return Account{
		Name: appID, Source: sources.Token, APIBase: wechat.DefaultBaseURL, RefreshEvery: c.RefreshEvery, Limits: c.Budget,
		given: given{limits: noLimits()}, values: sources.Values{Text: map[string]string{"appid": appID}},
	}
}

// Text returns the value of a field of the account's source.
func (a Account) Text(key string) string { return a.values.Text[key] }

// Secret returns the value of a secret field of the account's source.
func (a Account) Secret(key string) Secret { return a.secrets[key] }

// AppID returns the AppID, or what the issuer knows the account by.
func (a Account) AppID() string { return a.values.Text["appid"] }

// MainSecret returns the secret that keys are derived from: the first that the source
// has and that was given.
func (a Account) MainSecret() Secret {
	for _, f := range a.Kind().Fields {
		if s := a.secrets[f.Key]; f.IsSecret() && !s.IsZero() {
			return s
		}
	}
	return Secret{}
}

// HasSecret reports whether a secret was given, or none is needed. Without one, and
// without a parent that has one, this process is a reader of the account.
func (a Account) HasSecret() bool {
	return a.public || len(a.secrets) > 0 || slices.ContainsFunc(a.Kind().Fields, func(f sources.Field) bool {
		return f.Form == sources.File && a.values.Text[f.Key] != ""
	})
}

// WithSecrets returns a with the given secrets in place of its own.
func (a Account) WithSecrets(secrets map[string]Secret) Account {
	a.secrets, a.SecretFile, a.values.Text = secrets, "", maps.Clone(a.values.Text)
	a.public = a.public && len(secrets) > 0
	for _, f := range a.Kind().Fields {
		if f.Form == sources.File {
			delete(a.values.Text, f.Key)
		}
	}
	return a
}

// WithText returns a with a value of a field of its source.
func (a Account) WithText(key, value string) Account {
	a.values.Text = maps.Clone(a.values.Text)
	a.values.Text[key] = value
	return a
}

// Kind returns the kind of the account's source.
func (a Account) Kind() sources.Kind {
	kind, _ := sources.Find(a.Source)
	return kind
}

// Values returns what the account gives to its source, secrets included.
func (a Account) Values() sources.Values {
	v := a.values
	v.Name, v.APIBase, v.Text = a.Name, a.APIBase, map[string]string{}
	maps.Copy(v.Text, a.values.Text)
	for key, secret := range a.secrets {
		v.Text[key] = secret.Reveal()
	}
	return v
}

// errorf returns an error about the account that says where it is.
func (a Account) errorf(format string, args ...any) error {
	return fmt.Errorf("%s: account %q: %w", a.where, a.Name, fmt.Errorf(format, args...))
}

// Same reports whether a and b are equal except for their places in files.
func (a Account) Same(b Account) bool {
	a.SecretFile, b.SecretFile, a.where, b.where = "", "", "", ""
	return reflect.DeepEqual(a, b)
}

// SameSecrets reports whether a and b have the same secrets.
func (a Account) SameSecrets(b Account) bool { return reflect.DeepEqual(a.secrets, b.secrets) }

// Refreshing reports whether this process fetches the account's token: it has a
// secret of it, or of the account whose token it is made with.
func (c *Config) Refreshing(a Account) bool {
	for range len(c.Accounts) {
		if a.Of == "" {
			break
		}
		parent, ok := c.Account(a.Of)
		if !ok {
			return false
		}
		a = parent
	}
	return a.HasSecret()
}

// LimitsKnown reports whether the account's Limits are those that the processes keep to which
// refresh it. What its source declares is known only to them.
func (c *Config) LimitsKnown(a Account) bool {
	return c.Refreshing(a) || a.given.limits.PerDay != unset
}

// resolveAccounts fills in the accounts' defaults, reads the secrets, and adds the
// accounts of tickets.
func (c *Config) resolveAccounts(in Input, p *problems) {
	for i := range c.Accounts {
		a := &c.Accounts[i]
		a.Name = cmp.Or(a.Name, a.AppID())
		a.Source = cmp.Or(a.Source, c.lone.source, sources.Token)
		kind, ok := sources.Find(a.Source)
		if !ok {
			continue // said where it was read
		}
		ofWeChat := kind.Name == sources.Token || kind.Name == sources.StableToken || kind.Name == sources.WeChatPlatform
		if ofWeChat {
			a.values.Text["appid"] = cmp.Or(a.AppID(), a.Name)
		}
		if appID := a.AppID(); ofWeChat && formOfAppSecret(appID) {
			p.addf("%s: the AppID has the form of an AppSecret, and is not repeated because it may be one: an AppID begins with wx; are the two swapped?", a.where)
			if a.Name == appID {
				a.Name = ""
			}
			a.form = &accountForm{faulty: true}
			continue
		}
		if kind.APIBase != "" && a.APIBase == "" {
			a.APIBase = kind.APIBase
			if kind.APIBase == wechat.DefaultBaseURL {
				a.APIBase = cmp.Or(c.lone.apiBase, wechat.DefaultBaseURL)
			}
		}
		read := true
		for _, key := range slices.Sorted(maps.Keys(a.form.secrets)) {
			field, _ := kind.Field(key)
			read = c.resolveSecret(a, key, a.form.secrets[key], field.Form, in, p) && read
		}
		for _, f := range kind.Fields {
			if path := a.Text(f.Key); f.Form == sources.File && path != "" && in.StoreOnly {
				if _, err := os.Stat(path); isLack(err) {
					c.warnOfLack(a, f.Key, err)
					read = false
				}
			}
		}
		if ofWeChat && formOfAppID(a.secrets["secret"].Reveal()) {
			p.add(a.errorf("the secret has the form of an AppID: put the AppSecret there"))
		}
		a.public = kind.NoSecret != nil && kind.NoSecret(a.Values())
		if !read {
			*a = a.WithSecrets(nil)
		}
		before := p.count()
		c.checkFields(a, kind, p)
		a.form.faulty = a.form.faulty || p.count() > before
	}
	c.addTickets(p)
	c.indexAccounts()
	c.parentsFirst()
	c.indexAccounts()
}

// WeChat's AppIDs and AppSecrets.
var (
	formOfAppID     = pattern("^wx[0-9a-f]{16}$")
	formOfAppSecret = pattern("^[0-9a-f]{32}$")
)

// checkFields reports the fields that the kind does not have.
func (c *Config) checkFields(a *Account, kind sources.Kind, p *problems) {
	for _, key := range slices.Sorted(maps.Keys(a.form.places)) {
		if _, ok := kind.Field(key); ok || key == "appid" {
			continue
		}
		remedy := "remove it, or set source: to one of " + strings.Join(kindsWith(key), ", ")
		if same, ok := kind.Field(strings.ReplaceAll(key, "_", "")); ok {
			remedy = "it is called " + same.Key
		}
		p.addf("%s: %s: an account with source %s has no such field: %s", a.form.places[key], key, a.Source, remedy)
	}
	values := a.Values()
	switch {
	case a.APIBase != "" && kind.APIBase == "" && !kind.AnyBase:
		p.add(a.errorf("api_base: an account with source %s has no such field: remove it", a.Source))
	case len(kind.Of) > 0 && a.Of == "" && (kind.MayLackParent == nil || !kind.MayLackParent(values)):
		p.add(a.errorf("of is missing: name the account that the %s belongs to", a.Source))
	case len(kind.Of) == 0 && a.Of != "":
		p.add(a.errorf("of: an account with source %s has no parent: remove it", a.Source))
	}
	if len(a.Pages) > 0 {
		if !kind.SignsPages(values) {
			p.add(a.errorf("pages: an account with source %s has no JS-SDK ticket: remove it", a.Source))
		} else if _, err := wechat.ParsePages(a.Pages); err != nil {
			p.add(a.errorf("pages: %s", strings.TrimPrefix(err.Error(), "wechat: ")))
		}
	}
	if !a.HasSecret() {
		return
	}
	for _, f := range kind.Fields {
		if f.Required && values.Text[f.Key] == "" && len(values.List[f.Key]) == 0 && len(values.Map[f.Key]) == 0 && len(values.Data[f.Key]) == 0 {
			p.add(a.errorf("%s is missing: %s", f.Key, f.Usage))
		}
	}
}

// kindsWith returns the kinds that have a field.
func kindsWith(key string) []string {
	var names []string
	for _, k := range sources.All() {
		if _, ok := k.Field(key); ok {
			names = append(names, k.Name)
		}
	}
	return names
}

// addTickets adds the accounts that tickets: makes.
func (c *Config) addTickets(p *problems) {
	for i := range len(c.Accounts) {
		parent := c.Accounts[i]
		kinds := parent.Kind().TicketKinds(parent.Values())
		for _, word := range parent.form.tickets {
			source, ok := kinds[word]
			if !ok {
				known := strings.Join(slices.Sorted(maps.Keys(kinds)), ", ")
				p.add(parent.errorf("tickets: %q is not a ticket of an account with source %s: known are %s", word, parent.Source, cmp.Or(known, "none")))
				continue
			}
			if parent.Kind().Members != nil {
				c.Accounts[i].MemberTickets = append(c.Accounts[i].MemberTickets, word)
				continue
			}
			ticket := parent.ticket(word, source)
			ticket.form = &accountForm{}
			c.Accounts = append(c.Accounts, ticket)
		}
	}
}

// ticket returns the account of a ticket of a.
func (a Account) ticket(word, source string) Account {
	return Account{
		Name: a.Name + "." + word, Label: a.Label, Source: source, APIBase: a.APIBase,
		Of: a.Name, Pages: a.Pages, given: given{limits: noLimits()}, where: a.where,
	}
}

// parentsFirst orders the accounts so that each comes after its parent.
func (c *Config) parentsFirst() {
	depth := func(a Account) (n int) {
		for ok := true; ok && a.Of != "" && n < len(c.Accounts); n++ {
			a, ok = c.Account(a.Of)
		}
		return n
	}
	depths := map[string]int{} // of the accounts that have this parent
	for _, a := range c.Accounts {
		depths[a.Of] = depth(a)
	}
	slices.SortStableFunc(c.Accounts, func(a, b Account) int { return cmp.Compare(depths[a.Of], depths[b.Of]) })
}

// checkParents reports parents that are missing or of the wrong kind, and circles.
func (c *Config) checkParents(p *problems) {
	inCircle := map[string]bool{}
	for _, a := range c.Accounts {
		if a.Of == "" || a.form.faulty {
			continue
		}
		kind := a.Kind()
		parent, ok := c.Account(a.Of)
		switch {
		case !ok:
			p.add(a.errorf("of: %q is not among the accounts: they are %s", a.Of, c.names()))
		case !slices.Contains(kind.Of, parent.Source):
			p.add(a.errorf("of: %q has source %s: a %s belongs to an account with source %s", a.Of, parent.Source, a.Source, strings.Join(kind.Of, " or ")))
		case !inCircle[a.Name]:
			if circle := c.circle(a); circle != nil {
				p.add(a.errorf("of: goes round in a circle: %s", strings.Join(circle, ", ")))
				for _, name := range circle {
					inCircle[name] = true
				}
			}
		}
	}
}

// circle returns the names from an account to itself if it is an ancestor of its own.
func (c *Config) circle(a Account) []string {
	names := []string{a.Name}
	for of := a.Of; of != "" && len(names) <= len(c.Accounts); {
		names = append(names, of)
		if of == a.Name {
			return names
		}
		parent, _ := c.Account(of)
		of = parent.Of
	}
	return nil
}

// describe fills in the limits and the schedule: the account's own, or those that its
// source declares, or those of the configuration. It also fills in the rules of grants,
// which only the source declares.
func (c *Config) describe(a *Account) error {
	var wrong error
	var d coordinator.Description
	if kind, ok := sources.Find(a.Source); ok && c.Refreshing(*a) {
		source, err := kind.Make(a.Values())
		if err != nil {
			wrong = a.errorf("%w", err)
		} else if described, ok := source.(coordinator.Described); ok {
			d = described.Description()
		}
	}
	a.Limits = overlay(overlay(c.Budget, coordinator.Limits{
		PerDay: cmp.Or(d.Limits.PerDay, unset), Reserve: cmp.Or(d.Limits.Reserve, unset), MinInterval: cmp.Or(d.Limits.MinInterval, unset),
		Window: d.Limits.Window, DayBegins: d.Limits.DayBegins,
	}), a.given.limits)
	a.RefreshEvery = cmp.Or(a.given.every, d.RefreshEvery, c.RefreshEvery)
	a.Grant = d.Grant
	return wrong
}

// resolveSecret reads a secret. false: it cannot be read here, and is not needed.
func (c *Config) resolveSecret(a *Account, key string, given secretForms, form sources.Form, in Input, p *problems) (read bool) {
	ways := 0
	for _, v := range []string{given.plain, given.file, given.env} {
		if v != "" {
			ways++
		}
	}
	var secret Secret
	switch {
	case ways > 1:
		p.add(a.errorf("give one of %s, %s_file and %s_env", key, key, key))
	case form == sources.Secret && strings.ContainsAny(given.plain, blanks):
		p.add(a.errorf("%s has more than one word: it must be the secret alone", key))
	case given.plain != "":
		secret = NewSecret(given.plain)
	case given.env != "":
		v := strings.TrimSpace(in.Env(given.env))
		if v == "" && in.StoreOnly {
			c.warnOfLack(a, key+"_env", fmt.Errorf("the variable %s is not set", given.env))
			return false
		}
		switch {
		case v == "":
			p.add(a.errorf("%s_env: the variable %s is not set", key, given.env))
		case form == sources.Secret && strings.ContainsAny(v, blanks):
			p.add(a.errorf("%s_env: the variable %s has more than one word: it must be the secret alone", key, given.env))
		default:
			secret = NewSecret(v)
		}
	case given.file != "":
		c.files.add(given.file)
		a.SecretFile = cmp.Or(a.SecretFile, given.file)
		var warning string
		var err error
		secret, warning, err = readSecret(given.file, form == sources.Key)
		if in.StoreOnly && isLack(err) {
			c.warnOfLack(a, key+"_file", err)
			return false
		}
		if err != nil {
			p.add(a.errorf("%s_file: %v", key, err))
		}
		if warning != "" {
			c.Warnings = append(c.Warnings, fmt.Sprintf("%s: %s_file: %s", a.where, key, warning))
		}
	}
	if secret.IsZero() {
		return true
	}
	if a.secrets == nil {
		a.secrets = map[string]Secret{}
	}
	a.secrets[key] = secret
	return true
}

// isLack reports whether err says that a secret is not there, or not for this user. A
// command that needs none goes on then, but not with one that is there and wrong.
func isLack(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)
}

func (c *Config) warnOfLack(a *Account, key string, err error) {
	c.Warnings = append(c.Warnings, a.errorf("%s: %v: going on without it, because the command needs no secret", key, err).Error())
}
