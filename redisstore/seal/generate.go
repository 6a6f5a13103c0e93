package seal

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"time"

	"github.com/zhongkong/zhongkong/redisstore/seal/jwe"
)

// NewLine makes a line for a key file: a name of the date and some chance, so
// that two made on one day differ, and a new random key.
func NewLine(now time.Time) string {
	var chance [3]byte
	bytes := make([]byte, jwe.KeySize)
	_, _ = rand.Read(chance[:]) // never fails
	_, _ = rand.Read(bytes)
	kid := now.UTC().Format("20060102") + "-" + hex.EncodeToString(chance[:])
	return kid + ":" + base64.StdEncoding.EncodeToString(bytes)
}
