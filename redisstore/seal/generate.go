package seal

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"time"

	"github.com/zhongkong/zhongkong/redisstore/seal/jwe"
)

// NewLine returns a line for a key file: a name made of the date and random
// characters, so that two of one day differ, and a new random key.
func NewLine(now time.Time) string {
	var suffix [3]byte
	bytes := make([]byte, jwe.KeySize)
	_, _ = rand.Read(suffix[:]) // never fails
	_, _ = rand.Read(bytes)
	kid := now.UTC().Format("20060102") + "-" + hex.EncodeToString(suffix[:])
	return kid + ":" + base64.StdEncoding.EncodeToString(bytes)
}
