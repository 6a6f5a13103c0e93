package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync"
)

// mac stands for a name and a password. Neither can be recovered from it without
// the key, which never leaves the process and ends with it.
type mac [sha256.Size]byte

// signer makes MACs (HMAC-SHA256) without allocating.
type signer struct {
	pool sync.Pool // of *scratch
}

type scratch struct {
	hash hash.Hash
	text []byte
	sum  []byte
}

func newSigner() *signer {
	key := random(sha256.Size)
	s := &signer{}
	s.pool.New = func() any {
		return &scratch{
			hash: hmac.New(sha256.New, key),
			text: make([]byte, 0, 2+maxName+maxPassword),
			sum:  make([]byte, 0, sha256.Size),
		}
	}
	return s
}

// sign returns the MAC of a name of at most maxName and a password of at most
// maxPassword bytes.
func (s *signer) sign(name, password string) mac {
	d := s.pool.Get().(*scratch)
	// The length keeps "ab","c" and "a","bc" apart.
	d.text = binary.BigEndian.AppendUint16(d.text[:0], uint16(len(name)))
	d.text = append(d.text, name...)
	d.text = append(d.text, password...)
	d.hash.Reset()
	_, _ = d.hash.Write(d.text) // never fails
	d.sum = d.hash.Sum(d.sum[:0])
	clear(d.text) // the password does not stay in the pool
	m := mac(d.sum)
	s.pool.Put(d)
	return m
}
