package jwe_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/zhongkong/zhongkong/redisstore/seal/jwe"
)

var (
	key      = bytes.Repeat([]byte{7}, jwe.KeySize)
	otherKey = bytes.Repeat([]byte{8}, jwe.KeySize)
	members  = map[string]string{"kid": "k1", "acct": "wx1"}
)

func TestMessageOpensWithPlainAESGCM(t *testing.T) {
	sealed := mustSeal(t, "a secret")
	parts := strings.Split(sealed, ".")
	if len(parts) != 5 || parts[1] != "" {
		t.Fatalf("parts = %q, want five with an empty second", parts)
	}
	var header map[string]string
	if err := json.Unmarshal(decode(t, parts[0]), &header); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"alg": "dir", "enc": "A256GCM", "kid": "k1", "acct": "wx1"}
	if !maps.Equal(header, want) {
		t.Errorf("header = %v, want %v", header, want)
	}
	gcm := newGCM(t, key)
	plaintext, err := gcm.Open(nil, decode(t, parts[2]),
		append(decode(t, parts[3]), decode(t, parts[4])...), []byte(parts[0]))
	if err != nil || string(plaintext) != "a secret" {
		t.Errorf("Open() = %q, %v", plaintext, err)
	}
}

func TestMessageMadeWithPlainAESGCMOpens(t *testing.T) {
	sealed := handmade(t, `{"kid":"k1","enc":"A256GCM","acct":"wx1","alg":"dir"}`, "by hand")
	message, err := jwe.Parse(sealed, "kid", "acct")
	if err != nil {
		t.Fatal(err)
	}
	if got := message.Claim("acct"); got != "wx1" {
		t.Errorf("Claim(acct) = %q", got)
	}
	plaintext, err := message.Open(key)
	if err != nil || string(plaintext) != "by hand" {
		t.Errorf("Open() = %q, %v", plaintext, err)
	}
}

func TestOpenRefusesTheWrongKeyAndEveryChange(t *testing.T) {
	sealed := mustSeal(t, "a secret")
	message, err := jwe.Parse(sealed, "kid", "acct")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range [][]byte{otherKey, nil, key[:16]} {
		if _, err := message.Open(k); !errors.Is(err, jwe.ErrKey) {
			t.Errorf("Open(wrong key) = %v, want ErrKey", err)
		}
	}
	for i := range sealed {
		changed := []byte(sealed)
		changed[i] ^= 1
		message, err := jwe.Parse(string(changed), "kid", "acct")
		if err != nil {
			continue
		}
		plaintext, err := message.Open(key)
		// The last character of a part may carry bits that decode to nothing.
		if err == nil && string(plaintext) != "a secret" {
			t.Fatalf("byte %d changed: Open() = %q", i, plaintext)
		}
		if err == nil && i < strings.Index(sealed, ".") {
			t.Fatalf("byte %d of the header changed and it still opens", i)
		}
	}
}

func TestParseRefusesEveryOtherForm(t *testing.T) {
	valid := mustSeal(t, "x")
	parts := strings.Split(valid, ".")
	cases := map[string]struct{ message, words string }{
		"nothing":                     {"", "five parts"},
		"a bare token":                {"92_AbCd-ef", "five parts"},
		"a signed token":              {"a.b.c", "five parts"},
		"six parts":                   {valid + ".x", "five parts"},
		"an encrypted key":            {parts[0] + ".AAAA." + strings.Join(parts[2:], "."), "encrypted key"},
		"header not base64url":        {"{}" + valid, "base64url"},
		"a line break":                {valid[:len(valid)-3] + "\n" + valid[len(valid)-3:], "base64url"},
		"header not JSON":             {encode("junk") + "..A.A.A", "JSON object"},
		"header null":                 {encode("null") + "..A.A.A", "algorithm"},
		"alg none":                    {handmade(t, `{"alg":"none","enc":"A256GCM","kid":"k1","acct":"wx1"}`, "x"), `algorithm is "none"`},
		"no alg":                      {handmade(t, `{"enc":"A256GCM","kid":"k1","acct":"wx1"}`, "x"), `algorithm is ""`},
		"alg of another size":         {handmade(t, `{"alg":"A256KW","enc":"A256GCM","kid":"k1","acct":"wx1"}`, "x"), "A256KW"},
		"password-based alg":          {handmade(t, `{"alg":"PBES2-HS256+A128KW","enc":"A256GCM","kid":"k1","acct":"wx1","p2c":99999999}`, "x"), "p2c"},
		"enc of another size":         {handmade(t, `{"alg":"dir","enc":"A128GCM","kid":"k1","acct":"wx1"}`, "x"), "A128GCM"},
		"compression":                 {handmade(t, `{"alg":"dir","enc":"A256GCM","kid":"k1","acct":"wx1","zip":"DEF"}`, "x"), `"zip"`},
		"critical extension":          {handmade(t, `{"alg":"dir","enc":"A256GCM","kid":"k1","acct":"wx1","crit":["exp"],"exp":1}`, "x"), `"crit"`},
		"a key of its own":            {handmade(t, `{"alg":"dir","enc":"A256GCM","kid":"k1","acct":"wx1","jwk":{"kty":"oct","k":"AA"}}`, "x"), `"jwk"`},
		"members in capital letters":  {handmade(t, `{"alg":"dir","enc":"A256GCM","KID":"k1","acct":"wx1"}`, "x"), `"KID"`},
		"a member given twice":        {handmade(t, `{"alg":"dir","enc":"A256GCM","kid":"k2","kid":"k1","acct":"wx1"}`, "x"), "cannot be read"},
		"a member missing":            {handmade(t, `{"alg":"dir","enc":"A256GCM","kid":"k1"}`, "x"), `no "acct"`},
		"a member that is not a word": {handmade(t, `{"alg":"dir","enc":"A256GCM","kid":1,"acct":"wx1"}`, "x"), "not a string"},
		"more than fits":              {valid + strings.Repeat("A", jwe.MaxSize), "at most"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := jwe.Parse(c.message, "kid", "acct")
			if !errors.Is(err, jwe.ErrForm) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("Parse() = %v, want ErrForm with %q", err, c.words)
			}
		})
	}
}

func TestParseCutsAStrangersWordsShort(t *testing.T) {
	long := strings.Repeat("x", 5000)
	_, err := jwe.Parse(handmade(t, `{"alg":"`+long+`","enc":"A256GCM","kid":"k1","acct":"wx1"}`, "x"), "kid", "acct")
	if err == nil || len(err.Error()) > 300 {
		t.Errorf("Parse() = %v, want a short error", err)
	}
}

func TestSealedSizeIsExact(t *testing.T) {
	for _, m := range []map[string]string{nil, members, {"kid": `quo"te <é>`}} {
		for n := range 70 {
			sealed, err := jwe.Seal(key, m, make([]byte, n))
			if err != nil {
				t.Fatal(err)
			}
			size, err := jwe.SealedSize(m, n)
			if err != nil || size != len(sealed) {
				t.Fatalf("SealedSize(%v, %d) = %d, %v, want %d", m, n, size, err, len(sealed))
			}
		}
	}
}

func TestSealRefusesAKeyOfAnotherLength(t *testing.T) {
	for _, n := range []int{0, 16, 31, 33} {
		if sealed, err := jwe.Seal(make([]byte, n), members, []byte("x")); err == nil {
			t.Errorf("Seal(key of %d bytes) = %q, want an error", n, sealed)
		}
	}
}

func TestMessageOfAnotherAlgorithmMadeByALibraryIsRefused(t *testing.T) {
	encrypter, err := jose.NewEncrypter(jose.A256GCM,
		jose.Recipient{Algorithm: jose.PBES2_HS256_A128KW, Key: "password"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	object, err := encrypter.Encrypt([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := object.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jwe.Parse(sealed); !errors.Is(err, jwe.ErrForm) {
		t.Errorf("Parse() = %v, want ErrForm", err)
	}
}

// handmade seals with crypto/cipher alone, under any header.
func handmade(t *testing.T, header, plaintext string) string {
	t.Helper()
	protected := encode(header)
	iv := []byte("twelve bytes")
	sealed := newGCM(t, key).Seal(nil, iv, []byte(plaintext), []byte(protected))
	split := len(sealed) - 16
	return protected + ".." + encode(string(iv)) + "." + encode(string(sealed[:split])) + "." + encode(string(sealed[split:]))
}

func mustSeal(t *testing.T, plaintext string) string {
	t.Helper()
	sealed, err := jwe.Seal(key, members, []byte(plaintext))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func newGCM(t *testing.T, key []byte) cipher.AEAD {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return gcm
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
