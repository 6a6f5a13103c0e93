package auth

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/argon2"
)

const (
	saltSize = 16
	sumSize  = 32
)

// cost is what argon2id is told to spend.
type cost = argon2.Params

// defaultCost is the cost of new hashes: seven passes over 19 MiB, which take about a
// tenth of a second. OWASP asks for two at least. Two passes over 64 MiB, the cost
// before, move as much memory, which is what bounds an attacker with graphics cards,
// but a daemon that verifies one needs more memory for it than for all the rest.
var defaultCost = cost{KiB: 19 << 10, Passes: 7, Lanes: 1}

// The bounds of a cost. A hash below is not slow; above, a single attempt takes
// the machine's memory.
const (
	minKiB, maxKiB = 8, 1 << 20
	maxPasses      = 16
	maxLanes       = 16
)

type digest struct {
	cost cost
	salt []byte
	sum  []byte
}

// Hash returns the hash of a password for User.PasswordHashes: argon2id in the PHC
// string format, which libraries of every language read. It takes about a tenth
// of a second and 19 MiB. The error says why the password cannot be used: a key of
// NewKey cannot, because only its own hash is compared with it.
func Hash(password string) (string, error) {
	switch {
	case password == "":
		return "", errors.New("the password is empty")
	case len(password) > maxPassword:
		return "", fmt.Errorf("the password has %d bytes, at most %d", len(password), maxPassword)
	case IsKey(password):
		return "", errHashOfKey
	}
	return hashAt(password, defaultCost), nil
}

func hashAt(password string, c cost) string {
	salt := random(saltSize)
	sum := argon2id([]byte(password), salt, c)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.KiB, c.Passes, c.Lanes,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(sum))
}

// argon2id hashes in memory of its own.
func argon2id(password, salt []byte, c cost) []byte {
	var memory argon2.Memory
	defer memory.Release()
	return memory.IDKey(password, salt, c, sumSize)
}

// parseHash parses a hash of argon2id of any allowed cost. Its errors do not repeat the
// text, which may be a password by mistake.
func parseHash(s string) (*digest, error) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return nil, errors.New("is not an argon2id hash: put the line that `zhongkong passwd` prints, never the password")
	}
	if parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return nil, fmt.Errorf("is a hash of another argon2 version, must be v=%d", argon2.Version)
	}
	c, err := parseCost(parts[3])
	if err != nil {
		return nil, err
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil || len(salt) < 8 || len(salt) > 64 {
		return nil, errors.New("the hash's salt is not base64 of 8 to 64 bytes: was the line cut?")
	}
	sum, err := base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil || len(sum) != sumSize {
		return nil, fmt.Errorf("the hash's last part is not base64 of %d bytes: was the line cut?", sumSize)
	}
	return &digest{c, salt, sum}, nil
}

func parseCost(s string) (cost, error) {
	const form = "m=%d,t=%d,p=%d"
	var kib, passes, lanes uint32
	_, err := fmt.Sscanf(s, form, &kib, &passes, &lanes)
	if err != nil || fmt.Sprintf(form, kib, passes, lanes) != s { // Sscanf ignores what follows
		return cost{}, errors.New("the hash's cost is not of the form m=N,t=N,p=N")
	}
	switch {
	case lanes < 1 || lanes > maxLanes:
		return cost{}, fmt.Errorf("the hash's p is %d, must be 1 to %d", lanes, maxLanes)
	case kib < minKiB*lanes || kib > maxKiB:
		return cost{}, fmt.Errorf("the hash's m is %d KiB, must be %d to %d", kib, minKiB*lanes, maxKiB)
	case passes < 1 || passes > maxPasses:
		return cost{}, fmt.Errorf("the hash's t is %d, must be 1 to %d", passes, maxPasses)
	default:
		return cost{KiB: kib, Passes: passes, Lanes: uint8(lanes)}, nil
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}
