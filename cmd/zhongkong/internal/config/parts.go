package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/sources"
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

// checked is a parse that keeps the text if check finds nothing wrong with it.
func checked(check func(string) error) func(string) (string, error) {
	return func(v string) (string, error) { return v, check(v) }
}

func textInto[T any](at func(*T) *string) func(*decoder, *yaml.Node, string, *T) {
	return into(kindText, parseText, at)
}

func durationInto[T any](at func(*T) *time.Duration) func(*decoder, *yaml.Node, string, *T) {
	return into(kindDuration, ParseDuration, at)
}

// accountForm is what only the check of an account needs.
type accountForm struct {
	tickets []string
	secrets map[string]secretForms
	places  map[string]string // where each field of its source is, by key
	faulty  bool              // a field is wrong
}

// newAccount returns an account to be read.
func newAccount(where string) Account {
	return Account{
		where: where, given: given{limits: noLimits()},
		values: sources.Values{Text: map[string]string{}, List: map[string][]string{}, Map: map[string]map[string]string{}, Data: map[string][]byte{}},
		form:   &accountForm{secrets: map[string]secretForms{}, places: map[string]string{}},
	}
}

// secretForms are the ways of giving a secret, of which at most one is used.
type secretForms struct{ plain, file, env string }

// accountFields returns the fields of every account, and after them those of the source
// of the account at n. If it has another field, there are those of all sources: most
// configurations need no presets, which take longer to read than all the rest.
func accountFields(n *yaml.Node) []field[Account] {
	var keys []string
	source := sources.Token
	if n = resolve(n); n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i].Value, resolve(n.Content[i+1])
			if keys = append(keys, key); key == "source" {
				source = value.Value
			}
		}
	}
	kind, _ := sources.Find(source)
	table := append(commonFields(), sourceFields(kind)...)
	has := func(key string) bool {
		return slices.ContainsFunc(table, func(f field[Account]) bool { return f.key == key })
	}
	if slices.ContainsFunc(keys, func(key string) bool { return !has(key) }) {
		return append(commonFields(), sourceFields(sources.All()...)...)
	}
	return table
}

func commonFields() []field[Account] {
	return []field[Account]{
		{"name", "its name in Redis and for callers (default the AppID)", textInto(func(a *Account) *string { return &a.Name })},
		{"label", "a name for people, which status and the status page show beside the name", textInto(func(a *Account) *string { return &a.Label })},
		{"source", "what issues its tokens, see the table of sources (default source)", into(kindText, parseSource, func(a *Account) *string { return &a.Source })},
		{"api_base", "address of the issuer's API (default for WeChat api_base, otherwise the issuer's)", into(kindText, checkAPIBase, func(a *Account) *string { return &a.APIBase })},
		{"of", "the account whose token its source needs", textInto(func(a *Account) *string { return &a.Of })},
		{"tickets", "list of tickets that are accounts of their own, named NAME.TICKET: jsapi and wx_card of a WeChat account, corp and agent of a WeCom one; for a platform or a suite, of each account or corp",
			func(d *decoder, n *yaml.Node, path string, a *Account) { a.form.tickets = d.texts(n, path) }},
		{"pages", "list of hosts whose pages may get JS-SDK signatures, such as www.example.com",
			func(d *decoder, n *yaml.Node, path string, a *Account) { a.Pages = d.texts(n, path) }},
		{"refresh_every", "the longest time between two refreshes (default what the source declares, or refresh_every)", durationInto(func(a *Account) *time.Duration { return &a.given.every })},
		{"limits", "its own budget", func(d *decoder, n *yaml.Node, path string, a *Account) {
			element(d, n, path, limitFields(), &a.given.limits)
		}},
	}
}

// sourceFields returns the fields of kinds of source.
func sourceFields(kinds ...sources.Kind) []field[Account] {
	var table []field[Account]
	known := map[string]bool{}
	for _, kind := range kinds {
		for _, f := range kind.Fields {
			if !known[f.Key] {
				known[f.Key] = true
				table = append(table, sourceField(f)...)
			}
		}
	}
	return table
}

// sourceField returns the fields of the file for one of a kind.
func sourceField(f sources.Field) []field[Account] {
	one := func(key string, read func(d *decoder, n *yaml.Node, path string, a *Account)) field[Account] {
		return field[Account]{key, f.Usage, func(d *decoder, n *yaml.Node, path string, a *Account) {
			a.form.places[f.Key] = d.at(n)
			read(d, n, path, a)
		}}
	}
	secret := func(key string, at func(*secretForms) *string) field[Account] {
		return one(key, func(d *decoder, n *yaml.Node, path string, a *Account) {
			given := a.form.secrets[f.Key]
			if f.Form == sources.Key && key == f.Key {
				d.lines(n, path, at(&given))
			} else {
				d.text(n, path, at(&given))
			}
			a.form.secrets[f.Key] = given
		})
	}
	switch f.Form {
	case sources.Secret, sources.Key:
		return []field[Account]{
			secret(f.Key+"_file", func(s *secretForms) *string { return &s.file }),
			secret(f.Key+"_env", func(s *secretForms) *string { return &s.env }),
			secret(f.Key, func(s *secretForms) *string { return &s.plain }),
		}
	case sources.List:
		return []field[Account]{one(f.Key, func(d *decoder, n *yaml.Node, path string, a *Account) {
			a.values.List[f.Key] = d.texts(n, path)
		})}
	case sources.NamesOrAll:
		return []field[Account]{one(f.Key, func(d *decoder, n *yaml.Node, path string, a *Account) {
			a.values.List[f.Key] = d.accountNames(n, path)
		})}
	case sources.Map:
		return []field[Account]{one(f.Key, func(d *decoder, n *yaml.Node, path string, a *Account) {
			a.values.Map[f.Key] = d.textMap(n, path)
		})}
	case sources.Data:
		return []field[Account]{one(f.Key, func(d *decoder, n *yaml.Node, path string, a *Account) {
			a.values.Data[f.Key] = d.json(n, path)
		})}
	default:
		return []field[Account]{one(f.Key, func(d *decoder, n *yaml.Node, path string, a *Account) {
			var v string
			if d.text(n, path, &v) {
				a.values.Text[f.Key] = v
			}
		})}
	}
}

// texts reads a list of texts.
func (d *decoder) texts(n *yaml.Node, path string) []string {
	var all []string
	d.sequence(n, path, func(i int, n *yaml.Node) {
		var v string
		if d.text(n, fmt.Sprintf("%s[%d]", path, i), &v) {
			all = append(all, v)
		}
	})
	return all
}

// textMap reads a mapping of texts.
func (d *decoder) textMap(n *yaml.Node, path string) map[string]string {
	n = resolve(n)
	fields, all := map[string]func(*yaml.Node){}, map[string]string{}
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i].Value
			fields[key] = func(n *yaml.Node) {
				var v string
				if d.text(n, join(path, key), &v) {
					all[key] = v
				}
			}
		}
	}
	d.mapping(n, path, fields)
	return all
}

// lines reads a text that may have several lines.
func (d *decoder) lines(n *yaml.Node, path string, dst *string) {
	n = resolve(n)
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" || strings.TrimSpace(n.Value) == "" {
		d.unfit(n, path, ": it must be text")
		return
	}
	*dst = strings.TrimSpace(n.Value)
}

// json returns any part of the file as JSON.
func (d *decoder) json(n *yaml.Node, path string) []byte {
	var v any
	err := n.Decode(&v)
	if err == nil {
		var data []byte
		if data, err = json.Marshal(v); err == nil {
			return data
		}
	}
	d.problems.addf("%s: %s: cannot be read: check its indentation and that every name is a word", d.at(n), path)
	return nil
}

func limitFields() []field[coordinator.Limits] {
	return []field[coordinator.Limits]{
		{"per_day", "calls to the issuer a day (default budget.per_day)", into(kindCount, countFrom(1), func(l *coordinator.Limits) *int { return &l.PerDay })},
		{"window", "the time within which per_day calls are allowed (default what the source declares, or a day)", durationInto(func(l *coordinator.Limits) *time.Duration { return &l.Window })},
		{"reserve", "how many of them are reserved for scheduled refreshes, 1 to less than per_day (default budget.reserve, at most a tenth of per_day)", into(kindCount, countFrom(1), func(l *coordinator.Limits) *int { return &l.Reserve })},
		{"min_interval", "the shortest time between two requested refreshes (default budget.min_interval)", durationInto(func(l *coordinator.Limits) *time.Duration { return &l.MinInterval })},
	}
}

// accounts reads the list of accounts. resolve fills in their defaults later, when all
// defaults are known.
func (d *decoder) accounts(n *yaml.Node, c *Config) {
	c.origins["accounts"] = d.at(n)
	read := d.sequence(n, "accounts", func(i int, n *yaml.Node) {
		before := d.problems.count()
		a := newAccount(d.at(n))
		if !element(d, n, fmt.Sprintf("accounts[%d]", i), accountFields(n), &a) {
			c.refused["accounts"] = true
			return
		}
		a.form.faulty = d.problems.count() > before
		c.Accounts = append(c.Accounts, a)
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
	names := slices.Sorted(maps.Keys(fields))
	if best := Nearest(word, names); best != "" {
		return fmt.Sprintf(": did you mean %s?", best)
	}
	return ": known are " + strings.Join(names, ", ")
}
