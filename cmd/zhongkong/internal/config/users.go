package config

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

type userForm struct {
	user       User
	credential bool // a password or key was given, right or wrong
}

func userFields() []field[userForm] {
	return []field[userForm]{
		{"name", "the caller's name, without : ~ and ,", textInto(func(f *userForm) *string { return &f.user.Name })},
		{"password", "the hash of its password, as printed by `zhongkong passwd`, or of its key, by `zhongkong passwd --key`; or a list of up to 3, each on a line of its own, all of them valid, while one is being replaced", func(d *decoder, n *yaml.Node, path string, f *userForm) {
			f.credential = true
			f.user.Passwords = d.passwordHashes(n, path)
		}},
		{"accounts", `the accounts whose tokens it may get: names, or "*" for all`, func(d *decoder, n *yaml.Node, path string, f *userForm) {
			f.user.Accounts = d.accountNames(n, path)
		}},
		{"refresh", "whether it may force a refresh of them (default false)", into(kindTruth, parseTruth, func(f *userForm) *bool { return &f.user.Refresh })},
		{"grant", "whether it may put in their refresh tokens and auth_codes with PUT /v1/grants (default false)", into(kindTruth, parseTruth, func(f *userForm) *bool { return &f.user.Grant })},
		{"phantom", "whether it gets phantoms in place of tokens: strings that only this fleet's routes accept (default false)", into(kindTruth, parseTruth, func(f *userForm) *bool { return &f.user.Phantom })},
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

// users reads a list of users. Names must differ from those that were read before.
func (d *decoder) users(n *yaml.Node, c *Config) {
	d.sequence(n, "users", func(i int, n *yaml.Node) {
		path := fmt.Sprintf("users[%d]", i)
		before := d.problems.count()
		var f userForm
		if !element(d, n, path, userFields(), &f) {
			return
		}
		u := f.user
		u.where, u.path = d.at(n), path
		first := c.userAt[u.Name]
		switch {
		case u.Name == "" && d.problems.count() == before:
			d.problems.addf("%s: %s.name is missing: every user needs one", u.where, path)
		case strings.ContainsAny(u.Name, ":~,"):
			d.problems.addf("%s: %s.name must not contain a colon, a tilde or a comma", u.where, path)
		case u.Name != "" && first != "":
			d.problems.addf("%s: %s.name: %q is given twice, first at %s: names must differ", u.where, path, u.Name, first)
		case !f.credential:
			d.problems.addf("%s: %s.password is missing: write the line that `zhongkong passwd` prints", u.where, path)
		}
		if u.Told != 0 && u.Told < u.ToldAtLeast {
			d.problems.addf("%s: %s: told (%v) must not be below told_at_least (%v)", u.where, path, u.Told, u.ToldAtLeast)
		}
		if first == "" {
			c.userAt[u.Name] = u.where
		}
		c.Users = append(c.Users, u)
	})
}

func (c *Config) readUsersFile(p *problems) {
	if c.UsersFile == "" || c.isRefused("users_file") {
		return
	}
	c.files.add(c.UsersFile)
	d := &decoder{file: c.UsersFile, problems: p}
	data, err := readYAML(c.UsersFile)
	if err != nil {
		p.addf("%s: users_file: %w", c.Where("users_file"), err)
		return
	}
	if list := d.document(data, "a list of users (- name: ...)"); list != nil {
		d.strict(list)
		d.users(list, c)
	}
}

func (d *decoder) passwordHashes(n *yaml.Node, path string) []Secret {
	var all []Secret
	read := func(n *yaml.Node, path string) {
		var hash Secret
		d.passwordHash(n, path, &hash)
		all = append(all, hash)
	}
	switch list := resolve(n); {
	case list.Kind != yaml.SequenceNode:
		read(n, path)
		return all
	case slices.ContainsFunc(list.Content, isPartOfHash):
		d.problems.addf("%s: %s: a list in brackets splits a hash at its commas: put each hash in quotes, or on a line of its own after `- `", d.at(n), path)
		return nil
	}
	d.sequence(n, path, func(i int, n *yaml.Node) { read(n, fmt.Sprintf("%s[%d]", path, i)) })
	return all
}

// isPartOfHash reports whether a value is what follows a comma in $argon2id$v=19$m=65536,t=3,p=2$….
func isPartOfHash(n *yaml.Node) bool {
	return strings.HasPrefix(n.Value, "t=") || strings.HasPrefix(n.Value, "p=")
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

func (d *decoder) accountNames(n *yaml.Node, path string) []string {
	if resolve(n).Kind == yaml.ScalarNode {
		var one string
		if !d.text(n, path, &one) {
			return nil
		}
		return []string{one}
	}
	names := d.texts(n, path)
	if len(names) > 1 && slices.Contains(names, "*") {
		d.problems.addf("%s: %s: \"*\" means every account: remove the other names", d.at(n), path)
	}
	return names
}
