package auth

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
)

// decoys are the hashes that passwords of unknown names are verified against,
// so that an unknown name costs what a known one does. There is at least one.
type decoys []decoy

type decoy struct {
	*digest
	key []byte // the sum of the user's hash whose cost it has; nil: there are no hashes
}

// newDecoys makes a decoy for each hash, or a single one when all hashes cost
// the same.
func newDecoys(hashes []*digest) decoys {
	var all decoys
	costs := make(map[cost]bool)
	for _, h := range hashes {
		all = append(all, decoy{&digest{cost: h.cost, salt: random(len(h.salt)), sum: random(len(h.sum))}, h.sum})
		costs[h.cost] = true
	}
	switch len(costs) {
	case 0:
		return decoys{{&digest{cost: defaultCost, salt: random(saltSize), sum: random(sumSize)}, nil}}
	case 1:
		return all[:1]
	}
	return all
}

// of returns the decoy for a name. Where the hashes differ in cost, the choice
// depends on the name and on the users' hashes only: otherwise the cost of an
// unknown name would differ between processes, and that of a known one would
// not. Adding or removing a user changes it for few names (rendezvous hashing).
func (all decoys) of(name string) *digest {
	var best *digest
	var highest []byte
	for _, d := range all {
		h := hmac.New(sha256.New, d.key)
		_, _ = h.Write([]byte(name)) // never fails
		if score := h.Sum(nil); best == nil || bytes.Compare(score, highest) > 0 {
			best, highest = d.digest, score
		}
	}
	return best
}
