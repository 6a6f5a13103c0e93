package redisstore

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/zhongkong/zhongkong/coordinator"
)

// DefaultPrefix is the prefix of all keys and channels unless Options names
// another.
const DefaultPrefix = "zhongkong"

// maxName is the length in bytes that an instance's and a prefix's name may
// have.
const maxName = 128

// checkAccount reports what is wrong with an account's name. Braces would change
// the slot in a cluster; control characters would not survive in logs.
func checkAccount(name string) error {
	if err := coordinator.ValidateName(name); err != nil {
		return fmt.Errorf("redisstore: account %.40q: %w", name, err)
	}
	return nil
}

func checkPrefix(prefix string) error {
	if err := checkName("prefix", prefix); err != nil {
		return err
	}
	if strings.ContainsAny(prefix, `{}*?[]\^ `) {
		return fmt.Errorf(`redisstore: prefix %q: it must not contain a space or any of {}*?[]\^`, prefix)
	}
	return nil
}

func checkName(kind, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("redisstore: the %s's name is empty", kind)
	case len(name) > maxName:
		return fmt.Errorf("redisstore: %s %.16q...: a name has at most %d bytes", kind, name, maxName)
	case !utf8.ValidString(name):
		return fmt.Errorf("redisstore: %s %q: a name must be UTF-8", kind, name)
	case strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("redisstore: %s %q: a name must not contain control characters", kind, name)
	}
	return nil
}
