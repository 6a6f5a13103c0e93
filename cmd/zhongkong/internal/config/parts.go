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

// accounts reads the list of accounts. What they leave out is filled in by
// resolve, when every default is known.
func (d *decoder) accounts(n *yaml.Node, c *Config) {
	c.origins["accounts"] = d.at(n)
	d.sequence(n, "accounts", func(i int, n *yaml.Node) {
		path := fmt.Sprintf("accounts[%d]", i)
		a := Account{where: d.at(n), Limits: coordinator.Limits{PerDay: unset, Reserve: unset, MinInterval: unset}}
		var given secretForms
		ok := d.mapping(n, path, map[string]func(*yaml.Node){
			"name":        func(n *yaml.Node) { d.text(n, path+".name", &a.Name) },
			"appid":       func(n *yaml.Node) { d.text(n, path+".appid", &a.AppID) },
			"secret":      func(n *yaml.Node) { d.text(n, path+".secret", &given.plain) },
			"secret_file": func(n *yaml.Node) { d.text(n, path+".secret_file", &given.file) },
			"secret_env":  func(n *yaml.Node) { d.text(n, path+".secret_env", &given.env) },
			"source": func(n *yaml.Node) {
				if d.text(n, path+".source", &a.Source) {
					d.report(n, path+".source", checkSource(a.Source))
				}
			},
			"api_base": func(n *yaml.Node) {
				if d.text(n, path+".api_base", &a.APIBase) {
					base, err := checkAPIBase(a.APIBase)
					a.APIBase = base
					d.report(n, path+".api_base", err)
				}
			},
			"refresh_every": func(n *yaml.Node) { d.duration(n, path+".refresh_every", &a.RefreshEvery) },
			"limits":        func(n *yaml.Node) { d.limits(n, path+".limits", &a.Limits) },
		})
		if ok {
			c.Accounts = append(c.Accounts, a)
			c.forms = append(c.forms, given)
		}
	})
}

// unset marks a limit that was left out: 0 means something.
const unset = -1

// secretForms are the ways to give a secret; one at most is used.
type secretForms struct{ plain, file, env string }

func (d *decoder) users(n *yaml.Node, c *Config) {
	names := map[string]bool{}
	d.sequence(n, "users", func(i int, n *yaml.Node) {
		path := fmt.Sprintf("users[%d]", i)
		var u User
		proof := false // there is something to prove the user by, right or wrong
		ok := d.mapping(n, path, map[string]func(*yaml.Node){
			"name":     func(n *yaml.Node) { d.text(n, path+".name", &u.Name) },
			"password": func(n *yaml.Node) { proof = true; d.passwordHash(n, path+".password", &u.Password) },
			"accounts": func(n *yaml.Node) { u.Accounts = d.accountNames(n, path+".accounts") },
			"refresh": func(n *yaml.Node) {
				v, _ := d.scalar(n, path+".refresh", kindTruth)
				u.Refresh = v == "true"
			},
			"udp_key": func(n *yaml.Node) { proof = true; d.udpKey(n, path+".udp_key", &u.UDPKey) },
		})
		switch {
		case !ok:
			return
		case u.Name == "":
			d.problems.addf("%s: %s.name: is missing: every user needs one", d.at(n), path)
		case strings.ContainsAny(u.Name, ":,"):
			d.problems.addf("%s: %s.name: must not hold a colon or a comma", d.at(n), path)
		case names[u.Name]:
			d.problems.addf("%s: %s.name: %q is given twice: names must differ", d.at(n), path, u.Name)
		case !proof:
			d.problems.addf("%s: %s.password: is missing: put the line that `zhongkong passwd` prints", d.at(n), path)
		}
		names[u.Name] = true
		c.Users = append(c.Users, u)
		c.userAt = append(c.userAt, d.at(n))
	})
}

// passwordHash refuses what cannot be a hash, so that a password written here
// by mistake is noticed. The value is not repeated.
func (d *decoder) passwordHash(n *yaml.Node, path string, dst *Secret) {
	var v string
	if !d.text(n, path, &v) {
		return
	}
	if !strings.HasPrefix(v, "$") {
		d.problems.addf("%s: %s: is not a hash: put the line that `zhongkong passwd` prints, never the password", d.at(n), path)
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
		d.problems.addf("%s: %s: is not base64: make one with `zhongkong keygen`", d.at(n), path)
	case len(key) != 32:
		d.problems.addf("%s: %s: is base64 of %d bytes, 32 are needed: make one with `zhongkong keygen`", d.at(n), path, len(key))
	default:
		*dst = NewSecret(v)
	}
}

// accountNames reads a list of names, or one name alone.
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
		d.problems.addf("%s: %s: \"*\" means every account: leave the other names out", d.at(n), path)
	}
	return names
}

func (d *decoder) limits(n *yaml.Node, path string, dst *coordinator.Limits) {
	interval := dst.MinInterval
	d.mapping(n, path, map[string]func(*yaml.Node){
		"per_day": func(n *yaml.Node) { d.count(n, path+".per_day", 1, &dst.PerDay) },
		"reserve": func(n *yaml.Node) { d.count(n, path+".reserve", 1, &dst.Reserve) },
		"min_interval": func(n *yaml.Node) {
			d.duration(n, path+".min_interval", &interval)
			dst.MinInterval = interval
		},
	})
}

func (d *decoder) count(n *yaml.Node, path string, least int, dst *int) {
	n = resolve(n)
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" {
		d.problems.addf("%s: %s is %s: it must be a whole number", d.at(n), path, describe(n))
		return
	}
	v, err := parseCount(n.Value, least)
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

// suggest names the field that was probably meant.
func suggest(word string, fields map[string]func(*yaml.Node)) string {
	names := sortedKeys(fields)
	if best := nearest(word, names); best != "" {
		return fmt.Sprintf(": did you mean %s?", best)
	}
	return ": known are " + strings.Join(names, ", ")
}

// nearest is the name that differs least from word, "" if all differ much.
func nearest(word string, names []string) string {
	best, distance := "", 3
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

// editDistance is Levenshtein's.
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
