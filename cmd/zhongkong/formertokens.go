package main

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/phantom"
)

// formerTokens is the daemon's proxy.Former: it keeps hashes in Redis. Their key is
// derived from the account's secret. Without the secret, the right to read Redis does not
// suffice to test a guess, and the right to write does not suffice to add a token. A
// server without the secret, or without Redis, knows the tokens that it saw itself.
type formerTokens struct{ d *daemon }

// Add implements proxy.Former.
func (f formerTokens) Add(ctx context.Context, account, token string) {
	hash, ok := f.hash(account, token)
	if !ok {
		return
	}
	if err := f.d.store.AddFormer(ctx, account, hash); err != nil {
		f.d.log.Debug("token not kept for other servers and for after a restart", "account", account, "error", err)
	}
}

// Age implements proxy.Former.
func (f formerTokens) Age(ctx context.Context, account, token string) (time.Duration, bool, error) {
	hash, ok := f.hash(account, token)
	if !ok {
		return 0, false, nil
	}
	age, found, err := f.d.store.Former(ctx, account, hash)
	if err != nil {
		f.d.log.Debug("token not looked up among those of other servers", "account", account, "error", err)
	}
	return age, found, err
}

// hash returns what is kept of a token; false if the account's secret is not known here,
// or too short to derive a key from.
func (f formerTokens) hash(account, token string) (string, bool) {
	a, _ := f.d.current.Load().Account(account)
	secret := []byte(a.MainSecret().Reveal())
	if len(secret) < phantom.MinSecret {
		return "", false
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "zhongkong former 1 "+account, sha256.Size)
	if err != nil {
		return "", false
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(token))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)), true
}
