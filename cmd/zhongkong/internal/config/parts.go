package config

import (
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

// into returns a reader of a value of a kind.
func into[T, V any](want kind, parse func(string) (V, error), at func(*T) *V) func(*decoder, *yaml.Node, string, *T) {
	return func(d *decoder, n *yaml.Node, path string, dst *T) {
		text, ok := d.scalar(n, path, want)
		if !ok {
			return
		}
		v, err := parse(text)
		if err == nil {
			*at(dst) = v
		}
		d.report(n, path, err)
	}
}

func textInto[T any](at func(*T) *string) func(*decoder, *yaml.Node, string, *T) {
	return into(kindText, parseText, at)
}

func durationInto[T any](at func(*T) *time.Duration) func(*decoder, *yaml.Node, string, *T) {
	return into(kindDuration, ParseDuration, at)
}

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
		{"source", "token or stable_token (default source)", into(kindText, parseSource, func(f *accountForm) *string { return &f.account.Source })},
		{"api_base", "address of WeChat's API (default api_base)", into(kindText, checkAPIBase, func(f *accountForm) *string { return &f.account.APIBase })},
		{"refresh_every", "the longest time between two refreshes (default refresh_every)", durationInto(func(f *accountForm) *time.Duration { return &f.account.RefreshEvery })},
		{"limits", "its own budget", func(d *decoder, n *yaml.Node, path string, f *accountForm) {
			element(d, n, path, limitFields(), &f.account.Limits)
		}},
	}
}

func limitFields() []field[coordinator.Limits] {
	return []field[coordinator.Limits]{
		{"per_day", "calls to the issuer a day (default budget.per_day)", into(kindCount, countFrom(1), func(l *coordinator.Limits) *int { return &l.PerDay })},
		{"reserve", "how many of them are reserved for scheduled refreshes (default budget.reserve)", into(kindCount, countFrom(1), func(l *coordinator.Limits) *int { return &l.Reserve })},
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
