package simulator

import (
	"encoding/base64"
	"encoding/hex"
	"math/rand/v2"
)

// RandomText returns n characters of base64url.
func RandomText(r *rand.Rand, n int) string {
	return base64.RawURLEncoding.EncodeToString(randomBytes(r, n))[:n]
}

// RandomHex returns n bytes in hexadecimal.
func RandomHex(r *rand.Rand, n int) string { return hex.EncodeToString(randomBytes(r, n)) }

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}
