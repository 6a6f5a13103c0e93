package oauth

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/zhongkong/zhongkong/coordinator/httpsource"
)

// assertionLife is how long an assertion is good, from its iat. Issuers allow five minutes
// at least, and some no more; the rest is for a clock here that is fast.
const assertionLife = 4 * time.Minute

// signer makes assertions.
type signer struct{ jose.Signer }

// newSigner reads a private key. keyID and algorithm override what a JSON Web Key says.
func newSigner(key []byte, keyID, algorithm string) (*signer, error) {
	k, err := parseKey(key)
	if err != nil {
		return nil, err
	}
	k.KeyID, k.Algorithm = cmp.Or(keyID, k.KeyID), cmp.Or(algorithm, k.Algorithm)
	if k.Algorithm == "" {
		if k.Algorithm, err = algorithmOf(k.Key); err != nil {
			return nil, err
		}
	}
	switch jose.SignatureAlgorithm(k.Algorithm) {
	case jose.HS256, jose.HS384, jose.HS512:
		return nil, fmt.Errorf("algorithm %s does not use a private key", k.Algorithm)
	}
	s, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.SignatureAlgorithm(k.Algorithm), Key: jose.JSONWebKey{Key: k.Key, KeyID: k.KeyID}},
		(&jose.SignerOptions{}).WithType("JWT"),
	)
	if err != nil {
		return nil, fmt.Errorf("the key does not do for algorithm %s", k.Algorithm)
	}
	made := &signer{s}
	if _, err := made.sign(map[string]any{}); err != nil {
		return nil, fmt.Errorf("the key does not do for algorithm %s", k.Algorithm)
	}
	return made, nil
}

// parseKey reads a PEM file or a JSON Web Key. Its errors do not quote the key.
func parseKey(key []byte) (jose.JSONWebKey, error) {
	block, _ := pem.Decode(key)
	if block == nil {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(key) != nil {
			return k, errors.New("neither a PEM file nor a JSON Web Key")
		}
		if _, ok := k.Key.(crypto.Signer); !ok {
			return k, errors.New("a JSON Web Key without the private part")
		}
		return k, nil
	}
	if parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		return jose.JSONWebKey{Key: parsed}, nil
	}
	if parsed, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return jose.JSONWebKey{Key: parsed}, nil
	}
	if parsed, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return jose.JSONWebKey{Key: parsed}, nil
	}
	return jose.JSONWebKey{}, fmt.Errorf("a PEM file with a %q, not an unencrypted private key", httpsource.OneLine(block.Type))
}

// algorithmOf returns the customary algorithm of a key.
func algorithmOf(key any) (string, error) {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return string(jose.RS256), nil
	case *ecdsa.PrivateKey:
		switch k.Curve.Params().BitSize {
		case 256:
			return string(jose.ES256), nil
		case 384:
			return string(jose.ES384), nil
		case 521:
			return string(jose.ES512), nil
		}
	case ed25519.PrivateKey:
		return string(jose.EdDSA), nil
	}
	return "", fmt.Errorf("a key of type %T: it must be RSA, ECDSA (P-256, P-384, P-521) or Ed25519", key)
}

// assertion signs claims, to which it adds iat, exp and a fresh jti unless they are
// there. Issuers refuse a jti that they have seen, so an assertion is for one request.
// Some, Google among them, refuse an iat in the future, and an exp that is too far from
// it: both are as if it was signed a little earlier, for clocks that are fast.
func (s *signer) assertion(now time.Time, life time.Duration, claims map[string]any) (string, error) {
	issued := now.Add(-tolerated)
	all := map[string]any{"iat": issued.Unix(), "exp": issued.Add(life).Unix(), "jti": rand.Text()}
	maps.Copy(all, claims)
	return s.sign(all)
}

func (s *signer) sign(claims map[string]any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", errors.New("the assertion's claims cannot be encoded")
	}
	signed, err := s.Sign(payload)
	if err != nil {
		return "", errors.New("the key cannot sign the assertion")
	}
	return signed.CompactSerialize()
}
