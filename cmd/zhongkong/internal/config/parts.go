package config

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/zhongkong/zhongkong/coordinator"
)

// field is a field of an element of a list. The reference page in docs/ is generated
// from the tables of fields.
type field[T any] struct {
	key   string
	usage string
	read  func(d *decoder, n *yaml.Node, path string, dst *T)
}

// element reads a mapping by a table.
func element[T any](d *decoder, n *yaml.Node, path string, table []field[T], dst *T) bool {
	fields := make(map[string]func(*yaml.Node), len(table))
	for _, f := range table {
		fields[f.key] = func(n *yaml.Node) { f.read(d, n, join(path, f.key), dst) }
	}
	return d.mapping(n, path, fields)
}

// textInto returns a reader of a text.
func textInto[T any](at func(*T) *string) func(*decoder, *yaml.Node, string, *T) {
	return func(d *decoder, n *yaml.Node, path string, dst *T) { d.text(n, path, at(dst)) }
}

// durationInto returns a reader of a duration.
func durationInto[T any](at func(*T) *time.Duration) func(*decoder, *yaml.Node, string, *T) {
	return func(d *decoder, n *yaml.Node, path string, dst *T) { d.duration(n, path, at(dst)) }
}

// accountForm is an account as written in the file.
type accountForm struct {
	account Account
	secret  secretForms
	faulty  bool // a field is wrong
}

// secretForms are the ways of giving a secret, of which at most one is used.
type secretForms struct{ plain, file, env string }

func accountFields() []field[accountForm] {
	return []field[accountForm]{
		{"name", "its name in Redis and for callers (default the AppID)", textInto(func(f *accountForm) *string { return &f.account.Name })},
		{"appid", "its AppID (default the name)", textInto(func(f *accountForm) *string { return &f.account.AppID })},
		{"label", "a name for people, which status and the status page show beside the name", textInto(func(f *accountForm) *string { return &f.account.Label })},
		{"secret_file", "file with its AppSecret, read again when it changes; without a secret this process only reads the account's token",
			textInto(func(f *accountForm) *string { return &f.secret.file })},
		{"secret_env", "variable with its AppSecret", textInto(func(f *accountForm) *string { return &f.secret.env })},
		{"secret", "its AppSecret", textInto(func(f *accountForm) *string { return &f.secret.plain })},
		{"source", "token or stable_token (default source)", func(d *decoder, n *yaml.Node, path string, f *accountForm) {
			if d.text(n, path, &f.account.Source) {
				d.report(n, path, checkSource(f.account.Source))
			}
		}},
		{"api_base", "address of WeChat's API (default api_base)", func(d *decoder, n *yaml.Node, path string, f *accountForm) {
			if d.text(n, path, &f.account.APIBase) {
				base, err := checkAPIBase(f.account.APIBase)
				f.account.APIBase = base
				d.report(n, path, err)
			}
		}},
		{"refresh_every", "the longest time between two refreshes (default refresh_every)", durationInto(func(f *accountForm) *time.Duration { return &f.account.RefreshEvery })},
		{"limits", "its own budget", func(d *decoder, n *yaml.Node, path string, f *accountForm) {
			element(d, n, path, limitFields(), &f.account.Limits)
		}},
	}
}

func limitFields() []field[coordinator.Limits] {
	return []field[coordinator.Limits]{
		{"per_day", "calls to the issuer a day (default budget.per_day)", func(d *decoder, n *yaml.Node, path string, l *coordinator.Limits) { d.count(n, path, 1, &l.PerDay) }},
		{"reserve", "how many of them are reserved for scheduled refreshes (default budget.reserve)", func(d *decoder, n *yaml.Node, path string, l *coordinator.Limits) { d.count(n, path, 1, &l.Reserve) }},
		{"min_interval", "the shortest time between two requested refreshes (default budget.min_interval)", durationInto(func(l *coordinator.Limits) *time.Duration { return &l.MinInterval })},
	}
}

// accounts reads the list of accounts. resolve fills in their defaults later, when all
// defaults are known.
func (d *decoder) accounts(n *yaml.Node, c *Config) {
	c.origins["accounts"] = d.at(n)
	read := d.sequence(n, "accounts", func(i int, n *yaml.Node) {
		before := d.problems.count()
		f := accountForm{account: Account{where: d.at(n), Limits: noLimits()}}
		if !element(d, n, fmt.Sprintf("accounts[%d]", i), accountFields(), &f) {
			c.refused["accounts"] = true
			return
		}
		f.faulty = d.problems.count() > before
		c.Accounts = append(c.Accounts, f.account)
		c.forms = append(c.forms, f)
	})
	if !read {
		c.refused["accounts"] = true
	}
}

// userForm is a user as written in the file.
type userForm struct {
	user       User
	credential bool // a password or key was given, right or wrong
}

func userFields() []field[userForm] {
	return []field[userForm]{
		{"name", "the caller's name, without : ~ and ,", textInto(func(f *userForm) *string { return &f.user.Name })},
		{"password", "the hash of its password, as printed by `zhongkong passwd`", func(d *decoder, n *yaml.Node, path string, f *userForm) {
			f.credential = true
			d.passwordHash(n, path, &f.user.Password)
		}},
		{"accounts", `the accounts whose tokens it may get: names, or "*" for all`, func(d *decoder, n *yaml.Node, path string, f *userForm) {
			f.user.Accounts = d.accountNames(n, path)
		}},
		{"refresh", "whether it may force a refresh of them (default false)", func(d *decoder, n *yaml.Node, path string, f *userForm) {
			v, _ := d.scalar(n, path, kindTruth)
			f.user.Refresh = v == "true"
		}},
		{"told", "the longest lifetime of a token that it is told, such as 4m: below WeChat's 5 minutes of overlap it never holds a dead token, even after a forced refresh (default: until the token is expected to be replaced)",
			durationInto(func(f *userForm) *time.Duration { return &f.user.Told })},
		{"told_at_least", "the shortest lifetime that it is told while the token lives that long, for an SDK that subtracts a margin and fails if nothing is left: it may hold a dead token for a while (default: no minimum)",
			durationInto(func(f *userForm) *time.Duration { return &f.user.ToldAtLeast })},
		{"udp_key", "the key of its datagrams: base64 of 32 bytes, as `zhongkong keygen` prints after the colon", func(d *decoder, n *yaml.Node, path string, f *userForm) {
			f.credential = true
			d.udpKey(n, path, &f.user.UDPKey)
		}},
	}
}

func (d *decoder) users(n *yaml.Node, c *Config) {
	names := map[string]bool{}
	d.sequence(n, "users", func(i int, n *yaml.Node) {
		path := fmt.Sprintf("users[%d]", i)
		before := d.problems.count()
		var f userForm
		ok := element(d, n, path, userFields(), &f)
		u := f.user
		switch {
		case !ok:
			return
		case u.Name == "" && d.problems.count() == before:
			d.problems.addf("%s: %s.name is missing: every user needs one", d.at(n), path)
		case strings.ContainsAny(u.Name, ":~,"):
			d.problems.addf("%s: %s.name must not contain a colon, a tilde or a comma", d.at(n), path)
		case u.Name != "" && names[u.Name]:
			d.problems.addf("%s: %s.name: %q is given twice: names must differ", d.at(n), path, u.Name)
		case !f.credential:
			d.problems.addf("%s: %s.password is missing: write the line that `zhongkong passwd` prints", d.at(n), path)
		}
		if u.Told != 0 && u.Told < u.ToldAtLeast {
			d.problems.addf("%s: %s: told (%v) must not be below told_at_least (%v)", d.at(n), path, u.Told, u.ToldAtLeast)
		}
		names[u.Name] = true
		c.Users = append(c.Users, u)
		c.userAt = append(c.userAt, d.at(n))
	})
}

// passwordHash refuses a value that cannot be a hash, which may be a password. The
// error does not contain the value.
func (d *decoder) passwordHash(n *yaml.Node, path string, dst *Secret) {
	var v string
	if !d.text(n, path, &v) {
		return
	}
	if !strings.HasPrefix(v, "$") {
		d.problems.addf("%s: %s is not a hash: write the line that `zhongkong passwd` prints, never the password", d.at(n), path)
		return
	}
	*dst = NewSecret(v)
}

func (d *decoder) udpKey(n *yaml.Node, path string, dst *Secret) {
	var v string
	if !d.text(n, path, &v) {
		return
	}
	key, err := base64.StdEncoding.DecodeString(v)
	switch {
	case err != nil:
		d.problems.addf("%s: %s is not base64: make a key with `zhongkong keygen`", d.at(n), path)
	case len(key) != 32:
		d.problems.addf("%s: %s is base64 of %d bytes instead of 32: make a key with `zhongkong keygen`", d.at(n), path, len(key))
	default:
		*dst = NewSecret(v)
	}
}

// accountNames reads a list of names, or a single name.
func (d *decoder) accountNames(n *yaml.Node, path string) []string {
	var names []string
	if resolve(n).Kind == yaml.ScalarNode {
		var one string
		if d.text(n, path, &one) {
			names = []string{one}
		}
		return names
	}
	d.sequence(n, path, func(i int, n *yaml.Node) {
		var name string
		if d.text(n, fmt.Sprintf("%s[%d]", path, i), &name) {
			names = append(names, name)
		}
	})
	if len(names) > 1 && slices.Contains(names, "*") {
		d.problems.addf("%s: %s: \"*\" means every account: remove the other names", d.at(n), path)
	}
	return names
}

func (d *decoder) count(n *yaml.Node, path string, least int, dst *int) {
	text, ok := d.scalar(n, path, kindCount)
	if !ok {
		return
	}
	v, err := parseCount(text, least)
	if err == nil {
		*dst = v
	}
	d.report(n, path, err)
}

func (d *decoder) duration(n *yaml.Node, path string, dst *time.Duration) {
	v, ok := d.scalar(n, path, kindDuration)
	if !ok {
		return
	}
	parsed, err := ParseDuration(v)
	if err == nil {
		*dst = parsed
	}
	d.report(n, path, err)
}

// report adds an error of a value, if there is one.
func (d *decoder) report(n *yaml.Node, path string, err error) {
	if err != nil {
		d.problems.addf("%s: %s: %v", d.at(n), path, err)
	}
}

// suggest returns a hint at the most similar field, or at all fields.
func suggest(word string, fields map[string]func(*yaml.Node)) string {
	names := sortedKeys(fields)
	if best := Nearest(word, names); best != "" {
		return fmt.Sprintf(": did you mean %s?", best)
	}
	return ": known are " + strings.Join(names, ", ")
}

// Nearest returns the name most similar to word, "" if no name is similar.
func Nearest(word string, names []string) string {
	best, distance := "", min(3, len(word))
	for _, name := range names {
		if d := editDistance(word, name); d < distance {
			best, distance = name, d
		}
	}
	return best
}

func sortedKeys(fields map[string]func(*yaml.Node)) []string {
	var names []string
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// editDistance returns the Levenshtein distance, with - and _ taken as equal.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] || a[i] == '-' && b[j] == '_' {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
