package config_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
)

func TestAUserHasOnePasswordOrAList(t *testing.T) {
	for yaml, want := range map[string][]string{
		"$h": {"$h"}, "[$h]": {"$h"}, "[$h, '$i']": {"$h", "$i"}, "\n  - $h\n  - $i\n ": {"$h", "$i"},
	} {
		c := mustLoad(t, "appid: wx1\nusers:\n- name: a\n  password: "+yaml+"\n  accounts: '*'\n", nil, nil)
		var got []string
		for _, p := range c.Users[0].Passwords {
			got = append(got, p.Reveal())
		}
		if !slices.Equal(got, want) {
			t.Errorf("password: %s is read as %q, want %q", yaml, got, want)
		}
	}
	for yaml, want := range map[string]string{
		"[]":              "zk.yaml:4: users[0].password: the list is empty",
		"[$h, hunter2]":   "zk.yaml:4: users[0].password[1] is not a hash",
		"[$h, [$i]]":      "zk.yaml:4: users[0].password[1] is a list",
		"{hash: $h}":      "zk.yaml:4: users[0].password is a group of fields",
		"[$h, null]":      "zk.yaml:4: users[0].password[1]: the value is empty",
		"\n  - $h\n  - 7": "zk.yaml:6: users[0].password[1] is a number",
	} {
		_, err := load(t, "appid: wx1\nusers:\n- name: a\n  password: "+yaml+"\n  accounts: '*'\n", nil, nil)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "missing") {
			t.Errorf("password: %s: %v, want %q", yaml, err, want)
		}
	}
}

func TestUsersOfAFileAreAddedToThoseOfTheConfiguration(t *testing.T) {
	path := secretFile(t, "- {name: b, password: $h, accounts: [wx1]}\n- {name: c, password: [$h, $i], accounts: '*', refresh: true}\n", 0o600)
	yaml := "appid: wx1\nusers:\n- {name: a, password: $h, accounts: '*'}\n"
	for name, c := range map[string]*config.Config{
		"in the file":  mustLoad(t, yaml+"users_file: "+path+"\n", nil, nil),
		"the flag":     mustLoad(t, yaml, map[string]string{"users_file": path}, nil),
		"the variable": mustLoad(t, yaml, nil, map[string]string{"ZHONGKONG_USERS_FILE": path}),
	} {
		if len(c.Users) != 3 || c.Users[0].Name != "a" || c.Users[1].Name != "b" || !c.Users[2].Refresh || len(c.Users[2].Passwords) != 2 {
			t.Errorf("%s: users are %v", name, c.Users)
		}
		if c.Users[2].Where() != path+":2" {
			t.Errorf("%s: c is at %s", name, c.Users[2].Where())
		}
	}
	alone := mustLoad(t, "", map[string]string{"appid": "wx1", "users_file": path}, nil)
	if len(alone.Users) != 2 {
		t.Errorf("without a configuration file: users are %v", alone.Users)
	}
}

func TestProblemsOfTheUsersFileNameItAndTheLine(t *testing.T) {
	for content, want := range map[string]string{
		"": ": the file is empty: write at least a list of users",
		"users:\n- {name: b, password: $h, accounts: '*'}\n":                  ":1: users is a group of fields: it must be a list",
		"- {name: b, password: $h, accounts: '*'}\n- namee: c\n":              ":2: users[1].namee: unknown field: did you mean name?",
		"- {name: b, password: hunter2, accounts: '*'}\n":                     ":1: users[0].password is not a hash",
		"\n- {name: b, accounts: '*'}\n":                                      ":2: users[0].password is missing",
		"- {name: b, password: $h, accounts: [wx2]}\n":                        `:1: users[0].accounts: "wx2" is not among the accounts`,
		"- {name: a, password: $h, accounts: '*'}\n":                          `:1: users[0].name: "a" is given twice, first at `,
		"- {name: b, password: $h, accounts: '*'\n":                           ":1: not valid YAML",
		"- {name: b, password: !!str $h, accounts: !a '*'}\n":                 ":1: a value has a tag",
		"- {name: b, password: $h, accounts: '*'}\n---\n- {name: c}\n":        ":2: a second document begins",
		"- {name: b, password: $h, accounts: '*'}\n- {name: b, password: $h}": `:2: users[1].name: "b" is given twice, first at `,
	} {
		path := secretFile(t, content, 0o600)
		_, err := load(t, "appid: wx1\nusers:\n- {name: a, password: $h, accounts: '*'}\n", map[string]string{"users_file": path}, nil)
		if err == nil || !strings.Contains(err.Error(), path+want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v, want %q", content, err, path+want)
		}
	}
	_, err := load(t, "appid: wx1\n", map[string]string{"users_file": "/nowhere/users.yaml"}, nil)
	if want := "/nowhere/users.yaml: cannot read the configuration: no such file"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("no file: %v, want %q", err, want)
	}
}

func TestAHashThatWasSplitAtItsCommasIsExplained(t *testing.T) {
	const (
		hint = "a list in brackets splits a hash at its commas: put each hash in quotes, or on a line of its own after `- `"
		hash = "$argon2id$v=19$m=65536,t=3,p=2$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g"
	)
	for password, count := range map[string]int{
		"[" + hash + "]":               1,
		"[" + hash + ", " + hash + "]": 1,
		"['" + hash + "', mine]":       0, // a password in place of a hash
	} {
		_, err := load(t, routedAccounts+"users:\n  - {name: a, accounts: wx1, password: "+password+"}\n", nil, nil)
		if err == nil || strings.Count(err.Error(), hint) != count || strings.Count(err.Error(), "users[0].password") != 1 || strings.Contains(err.Error(), "mine") {
			t.Errorf("%s: error %v, want %d times %q", password, err, count, hint)
		}
	}
	block := "users:\n  - name: a\n    accounts: wx1\n    password:\n      - " + hash + "\n      - " + hash + "\n"
	if c, err := load(t, routedAccounts+block, nil, nil); err != nil || len(c.Users[0].Passwords) != 2 {
		t.Errorf("hashes on lines of their own: %v", err)
	}
}
