package seal_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/internal/layout"
	"github.com/zhongkong/zhongkong/redisstore/seal"
	"github.com/zhongkong/zhongkong/redisstore/seal/jwe"
)

var _ redisstore.Sealer = (*seal.Keyring)(nil)

const account = "wx8acdb7df5beb68fd"

// place is where a token belongs.
var place = redisstore.Binding{
	Prefix: "zhongkong", Account: account, Generation: 1795382056123154,
	ExpiresAt: time.Date(2026, 11, 22, 22, 36, 44, 0, time.UTC),
}

// elsewhere is place but for what change does to it.
func elsewhere(change func(*redisstore.Binding)) redisstore.Binding {
	b := place
	change(&b)
	return b
}

func of(account string) redisstore.Binding {
	return elsewhere(func(b *redisstore.Binding) { b.Account = account })
}

// plain is what must never be seen outside.
const plain = "92_SecretTokenThatNobodyMaySee"

var (
	oldKey = bytes.Repeat([]byte{1}, 32)
	newKey = bytes.Repeat([]byte{2}, 32)
)

func TestSealedTokenComesBack(t *testing.T) {
	ring := mustParse(t, line("k1", oldKey))
	sealed := mustSeal(t, ring, place)
	if strings.Contains(sealed, plain) || !layout.Sealed(sealed) {
		t.Fatalf("Seal() = %q", sealed)
	}
	got, err := ring.Open(place, sealed)
	if err != nil || got.Reveal() != plain {
		t.Fatalf("Open() = %q, %v", got.Reveal(), err)
	}
	if mustSeal(t, ring, place) == sealed {
		t.Error("two sealings of one token are equal")
	}
}

func TestSealedTokenIsOpenedWithoutAnyJOSELibrary(t *testing.T) {
	sealed := mustSeal(t, mustParse(t, line("k1", oldKey)), place)
	parts := strings.Split(sealed, ".")
	var header map[string]string
	if err := json.Unmarshal(decode(t, parts[0]), &header); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(header) != "map[acct:"+account+" alg:dir enc:A256GCM end:2026-11-22T22:36:44Z gen:1795382056123154 iss:zhongkong kid:k1]" {
		t.Errorf("header = %v", header)
	}
	block, err := aes.NewCipher(oldKey)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	got, err := gcm.Open(nil, decode(t, parts[2]), append(decode(t, parts[3]), decode(t, parts[4])...), []byte(parts[0]))
	if err != nil || string(got) != plain {
		t.Errorf("opened by hand: %q, %v", got, err)
	}
}

func TestRotationSealsWithTheFirstKeyAndOpensWithAll(t *testing.T) {
	before := mustParse(t, line("k1", oldKey))
	after := mustParse(t, line("k2", newKey)+"\n"+line("k1", oldKey))
	got, err := after.Open(place, mustSeal(t, before, place))
	if err != nil || got.Reveal() != plain {
		t.Errorf("Open(sealed with the old key) = %q, %v", got.Reveal(), err)
	}
	message, err := jwe.Parse(mustSeal(t, after, place), "kid", "acct", "iss", "gen", "end")
	if err != nil || message.Claim("kid") != "k2" {
		t.Errorf("sealed with %q, %v, want k2", message.Claim("kid"), err)
	}
}

func TestOpenRefusesWhatWasNotSealedForThisAccount(t *testing.T) {
	ring := mustParse(t, line("k2", newKey)+"\n"+line("k1", oldKey))
	valid := mustSeal(t, ring, place)
	_, rest, _ := strings.Cut(valid, ".")
	const others = `,"end":"2026-11-22T22:36:44Z","gen":"1795382056123154","iss":"zhongkong"`
	header := func(h string) string { return encode(h) + "." + rest }
	cases := map[string]struct{ sealed, words string }{
		"another account's token": {mustSeal(t, ring, of("wx-other")), `for account "wx-other"`},
		"another deployment's token": {
			mustSeal(t, ring, elsewhere(func(b *redisstore.Binding) { b.Prefix = "staging" })), `for the prefix "staging"`,
		},
		"an older generation": {
			mustSeal(t, ring, elsewhere(func(b *redisstore.Binding) { b.Generation-- })), `for generation "1795382056123153"`,
		},
		"a token with a later end put to it": {
			mustSeal(t, ring, elsewhere(func(b *redisstore.Binding) { b.ExpiresAt = b.ExpiresAt.Add(-time.Hour) })), `ends at "2026-11-22T21:36:44Z"`,
		},
		"a plain token":               {plain, "it is not sealed"},
		"nothing":                     {"", "it is not sealed"},
		"a key nobody has":            {mustSeal(t, mustParse(t, line("k9", newKey)), place), `key "k9", which keys has not (it has k2, k1)`},
		"another key of a known name": {mustSeal(t, mustParse(t, line("k1", newKey)), place), `names key "k1"`},
		"the kid swapped":             {header(`{"acct":"` + account + `","alg":"dir","enc":"A256GCM","kid":"k1"` + others + `}`), `names key "k1"`},
		"the account swapped":         {header(`{"acct":"wx-other","alg":"dir","enc":"A256GCM","kid":"k2"` + others + `}`), `names key "k2"`},
		"no account":                  {withMembers(t, map[string]string{"kid": "k2"}), `no "acct"`},
		"no key name":                 {withMembers(t, map[string]string{"acct": account}), `no "kid"`},
		"alg none":                    {header(`{"acct":"` + account + `","alg":"none","enc":"A256GCM","kid":"k2"` + others + `}`), `algorithm is "none"`},
		"compression":                 {withMembers(t, map[string]string{"kid": "k2", "acct": account, "zip": "DEF"}), `"zip"`},
		"critical extension":          {header(`{"acct":"` + account + `","alg":"dir","crit":["kid"],"enc":"A256GCM","kid":"k2"` + others + `}`), `"crit"`},
		"an empty token":              {emptyToken(t), "empty token"},
		"cut short":                   {valid[:len(valid)-4], `names key "k2"`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := ring.Open(place, c.sealed)
			if !errors.Is(err, coordinator.ErrSealed) || !strings.Contains(err.Error(), c.words) {
				t.Fatalf("Open() = %v, want ErrSealed with %s", err, c.words)
			}
			if !got.IsZero() || strings.Contains(err.Error(), plain) || !strings.Contains(err.Error(), account) {
				t.Errorf("Open() = %q, %v", got.Reveal(), err)
			}
			if !strings.Contains(err.Error(), "force a refresh") {
				t.Errorf("Open() = %v, says nothing of what to do", err)
			}
		})
	}
}

func TestSealRefusesNoToken(t *testing.T) {
	if sealed, err := mustParse(t, line("k1", oldKey)).Seal(place, coordinator.Token{}); err == nil {
		t.Errorf("Seal(no token) = %q", sealed)
	}
}

func TestSealedTellsTokensFromSealedTokens(t *testing.T) {
	for s, want := range map[string]bool{
		"": false, plain: false, "eyJhbGciOi": false, "a.b.c.d.e": false,
		mustSeal(t, mustParse(t, line("k1", oldKey)), place): true,
	} {
		if got := layout.Sealed(s); got != want {
			t.Errorf("Sealed(%q) = %v", s, got)
		}
	}
}

func TestKeyringIsSharedWhileItIsReloaded(t *testing.T) {
	path := keyFile(t, line("k1", oldKey))
	ring := mustLoad(t, path)
	var done sync.WaitGroup
	for range 4 {
		done.Go(func() {
			for range 50 {
				sealed, err := ring.Seal(place, coordinator.NewToken(plain))
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := ring.Open(place, sealed); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	both := line("k2", newKey) + "\n" + line("k1", oldKey)
	for i := range 20 {
		rewrite(t, path, []string{both, line("k1", oldKey) + "\n" + line("k2", newKey)}[i%2])
		if err := ring.Reload(); err != nil {
			t.Fatal(err)
		}
	}
	done.Wait()
}

func FuzzOpen(f *testing.F) {
	ring, err := seal.Parse("keys", []byte(line("k1", oldKey)))
	if err != nil {
		f.Fatal(err)
	}
	sealed, err := ring.Seal(place, coordinator.NewToken(plain))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(account, sealed)
	f.Add("wx-other", sealed)
	f.Add(account, plain)
	f.Add(account, encode(`{"alg":"none","enc":"A256GCM","kid":"k1","acct":"wx"}`)+"..A.A.A")
	f.Fuzz(func(t *testing.T, name, sealed string) {
		got, err := ring.Open(of(name), sealed)
		switch {
		case err == nil && (name != account || got.Reveal() != plain):
			t.Errorf("Open(%q, %q) opened what was not sealed", name, sealed)
		case err != nil && !errors.Is(err, coordinator.ErrSealed):
			t.Errorf("Open(%q, %q) = %v, want ErrSealed", name, sealed, err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	ring, _ := seal.Parse("keys", []byte(line("k1", oldKey)))
	token := coordinator.NewToken(strings.Repeat("a", 157))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ring.Seal(place, token); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	ring, _ := seal.Parse("keys", []byte(line("k1", oldKey)))
	sealed, _ := ring.Seal(place, coordinator.NewToken(strings.Repeat("a", 157)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ring.Open(place, sealed); err != nil {
			b.Fatal(err)
		}
	}
}

func line(kid string, key []byte) string {
	return kid + ":" + base64.StdEncoding.EncodeToString(key)
}

func mustParse(t *testing.T, content string) *seal.Keyring {
	t.Helper()
	ring, err := seal.Parse("keys", []byte(content))
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func mustSeal(t *testing.T, ring *seal.Keyring, b redisstore.Binding) string {
	t.Helper()
	sealed, err := ring.Seal(b, coordinator.NewToken(plain))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func withMembers(t *testing.T, members map[string]string) string {
	t.Helper()
	sealed, err := jwe.Seal(newKey, members, []byte(plain))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func emptyToken(t *testing.T) string {
	t.Helper()
	sealed, err := jwe.Seal(newKey, map[string]string{
		"kid": "k2", "acct": account, "iss": place.Prefix, "gen": "1795382056123154", "end": "2026-11-22T22:36:44Z",
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func decode(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
