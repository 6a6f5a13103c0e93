package auth

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
)

// decoys are the hashes that passwords of unknown names are verified against,
// so that an unknown name costs what a known one does. There are none if every user has
// keys only: then no password is right, whatever the name.
type decoys []decoy

// decoy has as many hashes as one of the users, of the same costs.
type decoy struct {
	hashes []*digest
	key    []byte // the sum of that user's first hash; nil: there are no hashes
}

// newDecoys makes a decoy for each user that has hashes, or a single one when all
// users cost the same. plain: a password itself was configured, which must not be guessed
// faster than one with a hash.
func newDecoys(users [][]*digest, plain bool) decoys {
	var all decoys
	costs := make(map[[MaxPasswords]cost]bool)
	for _, hashes := range users {
		d := decoy{key: hashes[0].sum}
		var total [MaxPasswords]cost
		for i, h := range hashes {
			d.hashes = append(d.hashes, &digest{cost: h.cost, salt: random(len(h.salt)), sum: random(len(h.sum))})
			total[i] = h.cost
		}
		all = append(all, d)
		costs[total] = true
	}
	switch {
	case len(costs) == 1:
		return all[:1]
	case len(costs) == 0 && plain:
		return decoys{{hashes: []*digest{{cost: defaultCost, salt: random(saltSize), sum: random(sumSize)}}}}
	}
	return all
}

// of returns the hashes for a name. Where the users differ in cost, the choice
// depends on the name and on the users' hashes only: otherwise the cost of an
// unknown name would differ between processes, and that of a known one would
// not. Adding or removing a user changes it for few names (rendezvous hashing).
func (all decoys) of(name string) []*digest {
	var best []*digest
	var highest []byte
	for _, d := range all {
		h := hmac.New(sha256.New, d.key)
		_, _ = h.Write([]byte(name)) // never fails
		if score := h.Sum(nil); best == nil || bytes.Compare(score, highest) > 0 {
			best, highest = d.hashes, score
		}
	}
	return best
}
