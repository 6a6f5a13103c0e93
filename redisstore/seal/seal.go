// Package seal encrypts tokens and grants at rest: a sealed token is a JWE in compact form
// (RFC 7516: dir, A256GCM), so that any JOSE library opens it. Its protected header
// names the key (kid) and what the token is bound to: the account (acct), the
// deployment's prefix (iss), the generation (gen) and the token's end (end, RFC 3339).
// That of a grant has typ "grant" in place of the end, and gen is the record's version.
//
// What is promised: without a key of the file a sealed token can neither be read nor
// made, and it is not accepted for another account, deployment or generation, or after
// its end. What is not: the other fields of a record are neither secret nor proved. Among
// them are a token's attributes, such as the host (instance_url, api_domain) that its
// clients are to send it to: a program that can write to Redis can change them. A program that can write to Redis can put back an old sealed
// token together with its generation, and a process that has no newer token accepts it
// until its end. A program that can read Redis sees when tokens change and how long
// they are.
//
// The initialization vector is random, so a key may seal about 2^32 tokens:
// one a second for a century.
package seal

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/internal/layout"
	"github.com/zhongkong/zhongkong/redisstore/seal/jwe"
)

// The members of the protected header in addition to alg and enc.
const (
	memberKey        = "kid"
	memberAccount    = "acct"
	memberDeployment = "iss"
	memberGeneration = "gen"
	memberEnd        = "end"
	memberType       = "typ" // of a grant, which has no end
)

const grantType = "grant"

// membersOf are the members of what is bound so.
func membersOf(grant bool) []string {
	last := memberEnd
	if grant {
		last = memberType
	}
	return []string{memberKey, memberAccount, memberDeployment, memberGeneration, last}
}

var _ redisstore.Resealer = (*Keyring)(nil)

// Seal encrypts a token for what it is bound to, with the keyring's first key.
func (k *Keyring) Seal(b redisstore.Binding, t coordinator.Token) (string, error) {
	if t.IsZero() {
		return "", fmt.Errorf("seal %q: there is no token", b.Account)
	}
	first := k.first()
	members := map[string]string{
		memberKey:        first.kid,
		memberAccount:    b.Account,
		memberDeployment: b.Prefix,
		memberGeneration: strconv.FormatUint(uint64(b.Generation), 10),
	}
	if b.Grant {
		members[memberType] = grantType
	} else {
		members[memberEnd] = b.ExpiresAt.UTC().Format(time.RFC3339)
	}
	sealed, err := jwe.Seal(first.bytes, members, []byte(t.Reveal()))
	if err != nil {
		return "", fmt.Errorf("seal %q with key %q: %w", b.Account, first.kid, err)
	}
	return sealed, nil
}

// Open decrypts what Seal made for the same account, deployment and generation,
// with the key it names. An end that is later than the sealed one by more than
// redisstore.BindingSlack is not accepted. Every error wraps
// coordinator.ErrSealed and says what to do.
func (k *Keyring) Open(b redisstore.Binding, sealed string) (coordinator.Token, error) {
	t, err := k.open(b, sealed)
	if err != nil {
		return coordinator.Token{}, fmt.Errorf("account %q: %w: %w", b.Account, coordinator.ErrSealed, err)
	}
	return t, nil
}

func (k *Keyring) open(b redisstore.Binding, sealed string) (coordinator.Token, error) {
	remedy := "force a refresh"
	if b.Grant {
		remedy = "do without it" // how depends on where it is kept, which its keeper says
	}
	if !layout.Sealed(sealed) && !b.Grant {
		return coordinator.Token{}, errors.New("it is not sealed: it was stored before sealing was switched on, or by a process " +
			"without the key file; give every process the same --seal-key-file and, until each account has been refreshed, --seal prefer; " +
			"or force a refresh")
	}
	message, err := jwe.Parse(sealed, membersOf(b.Grant)...)
	if err != nil {
		return coordinator.Token{}, fmt.Errorf("%w: this version of Zhongkong did not seal it; %s, and find out who writes to the store", err, remedy)
	}
	kid := message.Claim(memberKey)
	key := k.find(kid)
	if key == nil {
		return coordinator.Token{}, fmt.Errorf("it is sealed with key %s, which %s has not (it has %s): add that key's line to the file, or %s",
			jwe.Quote(kid), k.name, k.Kids(), remedy)
	}
	plaintext, err := message.Open(key)
	if err != nil {
		return coordinator.Token{}, fmt.Errorf("it names key %s, but the key of that name in %s does not open it (%w): compare the key files of all processes, or %s",
			jwe.Quote(kid), k.name, err, remedy)
	}
	if err := checkBinding(message, b); err != nil {
		return coordinator.Token{}, fmt.Errorf("it is sealed with key %s %w, so it was put in the wrong place: %s, and find out who writes to the store",
			jwe.Quote(kid), err, remedy)
	}
	if len(plaintext) == 0 {
		return coordinator.Token{}, fmt.Errorf("sealed with key %s is an empty token: %s", jwe.Quote(kid), remedy)
	}
	return coordinator.NewToken(string(plaintext)), nil
}

// Kid returns the name of the key that sealed a token or a grant, "" if it cannot be
// decoded. The name is not verified: that needs the key.
func Kid(sealed string) string {
	for _, grant := range []bool{false, true} {
		if message, err := jwe.Parse(sealed, membersOf(grant)...); err == nil {
			return message.Claim(memberKey)
		}
	}
	return ""
}

// Outdated reports whether another key has sealed it than the one that seals now.
func (k *Keyring) Outdated(sealed string) bool {
	kid := Kid(sealed)
	return kid != "" && kid != k.First()
}

// checkBinding compares what an opened message is bound to with its place.
func checkBinding(message *jwe.Message, b redisstore.Binding) error {
	if acct := message.Claim(memberAccount); acct != b.Account {
		return fmt.Errorf("for account %s", jwe.Quote(acct))
	}
	if iss := message.Claim(memberDeployment); iss != b.Prefix {
		return fmt.Errorf("for the prefix %s", jwe.Quote(iss))
	}
	if gen := message.Claim(memberGeneration); gen != strconv.FormatUint(uint64(b.Generation), 10) {
		return fmt.Errorf("for generation %s", jwe.Quote(gen))
	}
	if b.Grant {
		if typ := message.Claim(memberType); typ != grantType {
			return fmt.Errorf("as a %s", jwe.Quote(typ))
		}
		return nil
	}
	end, err := time.Parse(time.RFC3339, message.Claim(memberEnd))
	if err != nil || b.ExpiresAt.After(end.Add(redisstore.BindingSlack)) {
		return fmt.Errorf("for a token that ends at %s", jwe.Quote(message.Claim(memberEnd)))
	}
	return nil
}
