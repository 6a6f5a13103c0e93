package auth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"strings"
	"testing"
)

func TestUsersThatCannotBeAreRefusedWithTheField(t *testing.T) {
	good := alice()
	cases := map[string]struct {
		change func(*User)
		words  string
	}{
		"no name":            {func(u *User) { u.Name = "" }, "users[1] ().name: is missing"},
		"a colon":            {func(u *User) { u.Name = "a:b" }, "name: must not hold :"},
		"a tilde":            {func(u *User) { u.Name = "a~b" }, "name: must not hold : or ~"},
		"a line break":       {func(u *User) { u.Name = "a\nb" }, "name: holds characters"},
		"not UTF-8":          {func(u *User) { u.Name = "a\xff" }, "name: holds characters"},
		"a name too long":    {func(u *User) { u.Name = strings.Repeat("a", 200) }, "name: has 200 bytes"},
		"a name twice":       {func(u *User) { u.Name = "first" }, "name: is given twice"},
		"no password":        {func(u *User) { u.PasswordHashes = nil }, "password: is missing"},
		"two passwords":      {func(u *User) { u.Password = "s3cret-x" }, "password: is given both"},
		"a password as hash": {func(u *User) { u.PasswordHashes = []string{"s3cret-x"} }, "password: is not an argon2id hash"},
		"too many hashes":    {func(u *User) { u.PasswordHashes = rotating("a", "b", "c").PasswordHashes }, "password: has 4 hashes, at most 3"},
		"a hash twice":       {func(u *User) { u.PasswordHashes = append(rotating("a").PasswordHashes, u.PasswordHashes...) }, "password[2]: is given twice"},
		"a bad second hash":  {func(u *User) { u.PasswordHashes = append(u.PasswordHashes, "s3cret-x") }, "password[1]: is not an argon2id hash"},
		"no accounts":        {func(u *User) { u.Accounts = nil }, "accounts: is empty"},
		"an empty account":   {func(u *User) { u.Accounts = []string{"wx1", ""} }, "accounts[1]: is empty"},
		"a short UDP key":    {func(u *User) { u.UDPKey = []byte("s3cret-x") }, "udp_key: has 8 bytes, must have 32"},
		"an empty UDP key":   {func(u *User) { u.UDPKey = []byte{} }, "udp_key: has 0 bytes"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			u := good
			c.change(&u)
			_, err := New([]User{{Name: "first", Password: "p", Accounts: []string{"*"}}, u})
			if err == nil || !strings.Contains(err.Error(), c.words) {
				t.Fatalf("New() = %v, want %q", err, c.words)
			}
			if strings.Contains(err.Error(), "s3cret-x") {
				t.Errorf("New() = %v, shows a secret", err)
			}
		})
	}
}

func TestParseUserReadsNameAndPassword(t *testing.T) {
	u, err := ParseUser("ci:pass:word")
	if err != nil || u.Name != "ci" || u.Password != "pass:word" || !u.Refresh || u.Accounts[0] != AllAccounts {
		t.Errorf("ParseUser() = %q, %v", u.Password, err)
	}
	for _, bad := range []string{"", "s3cret-x", ":s3cret-x", "ci:", "a\x00b:s3cret-x"} {
		if _, err := ParseUser(bad); err == nil || strings.Contains(err.Error(), "s3cret-x") {
			t.Errorf("ParseUser(%q) = %v", bad, err)
		}
	}
}

func TestMadeUpUserWorksAndDiffersEachTime(t *testing.T) {
	u, v := EphemeralUser(), EphemeralUser()
	if u.Name != "zhongkong" || len(u.Password) < 32 || u.Password == v.Password {
		t.Errorf("MadeUp() = %q with %d characters", u.Name, len(u.Password))
	}
	g := newAuthenticator(t, u)
	if c := mustEnter(t, g, here, u.Name, u.Password); !c.MayRefresh("any") {
		t.Error("the made-up user may not refresh")
	}
}

func TestUsersAndCredentialsPrintWithoutSecrets(t *testing.T) {
	u := User{Name: "ci", Password: "s3cret-x", PasswordHashes: []string{"s3cret-x"}, UDPKey: []byte("s3cret-x")}
	c := Credentials{"ci", "s3cret-x"}
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	for _, v := range []any{u, c, &u, &c, []User{u}, map[string]Credentials{"k": c}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			_, _ = fmt.Fprintf(&out, verb, v)
		}
		log.Info("x", "v", v)
		encoded, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(encoded)
	}
	for _, secret := range []string{"s3cret-x", fmt.Sprintf("%x", "s3cret-x"), "czNjcmV0LX"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("shows %s in %s", secret, out.String())
		}
	}
}

func TestHashIsOneOfTheReferenceImplementation(t *testing.T) {
	// From the test vectors of the argon2 reference implementation.
	const vector = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	g := newAuthenticator(t, User{Name: "ref", PasswordHashes: []string{vector}, Accounts: []string{"*"}})
	mustEnter(t, g, here, "ref", "password")
}

func TestHashOpensWithItsPasswordOnly(t *testing.T) {
	first, err := Hash("open sesame")
	if err != nil || !strings.HasPrefix(first, "$argon2id$v=19$m=19456,t=7,p=1$") {
		t.Fatalf("Hash() = %q, %v", first, err)
	}
	g := newAuthenticator(t, User{Name: "a", PasswordHashes: []string{first}, Accounts: []string{"*"}})
	mustEnter(t, g, here, "a", "open sesame")
	for _, bad := range []string{"", strings.Repeat("x", maxPassword+1)} {
		if _, err := Hash(bad); err == nil {
			t.Errorf("Hash(%d characters) = nil error", len(bad))
		}
	}
}

func TestHashesThatAreCutOrTooDearAreRefused(t *testing.T) {
	const salt, sum = "c29tZXNhbHQ", "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	cases := map[string]string{
		"": "not an argon2id hash", "$2a$10$N9qo8uLOickgx2ZMRZoMye": "not an argon2id hash",
		"$argon2i$v=19$m=8,t=1,p=1$" + salt + "$" + sum:             "not an argon2id hash",
		"$argon2id$v=16$m=8,t=1,p=1$" + salt + "$" + sum:            "another argon2 version",
		"$argon2id$v=19$m=8,t=1$" + salt + "$" + sum:                "cost is not",
		"$argon2id$v=19$t=1,m=8,p=1$" + salt + "$" + sum:            "cost is not",
		"$argon2id$v=19$m=-8,t=1,p=1$" + salt + "$" + sum:           "cost is not",
		"$argon2id$v=19$m=99999999999,t=1,p=1$" + salt + "$" + sum:  "cost is not",
		"$argon2id$v=19$m=4000000,t=1,p=1$" + salt + "$" + sum:      "m is 4000000 KiB",
		"$argon2id$v=19$m=8,t=0,p=1$" + salt + "$" + sum:            "t is 0",
		"$argon2id$v=19$m=8,t=1000,p=1$" + salt + "$" + sum:         "t is 1000",
		"$argon2id$v=19$m=8,t=1,p=0$" + salt + "$" + sum:            "p is 0",
		"$argon2id$v=19$m=8,t=1,p=257$" + salt + "$" + sum:          "p is 257",
		"$argon2id$v=19$m=8,t=1,p=1$!$" + sum:                       "salt is not base64",
		"$argon2id$v=19$m=8,t=1,p=1$c29t$" + sum:                    "salt is not base64 of 8",
		"$argon2id$v=19$m=8,t=1,p=1$" + salt + "$" + sum[:20]:       "was the line cut",
		"$argon2id$v=19$m=8,t=1,p=1$" + salt + "$" + sum + "$extra": "not an argon2id hash",
	}
	for s, words := range cases {
		if _, err := parseHash(s); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("parseHash(%q) = %v, want %q", s, err, words)
		}
	}
}

func mapKeys[K comparable, V any](m map[K]V) iter.Seq[K] { return maps.Keys(m) }
