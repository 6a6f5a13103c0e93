package redistest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Strict is a refuse function for a Proxy that refuses the scripts that cluster editions
// behind a proxy refuse. Alibaba Cloud's inspects their text: the command of each
// redis.call and redis.pcall must be a literal and each key KEYS[n]; nested calls,
// unpack and scripts without a key are refused; all keys must be in one slot. Dragonfly
// demands that n is the number of a declared key.
func Strict(command []string) string {
	switch name := strings.ToLower(command[0]); {
	case name != "eval" && name != "evalsha" && name != "script":
		return ""
	case name == "script":
		return badScript(command[len(command)-1], 0)
	case len(command) < 3:
		return ""
	default:
		keys, err := strconv.Atoi(command[2])
		if err != nil || keys < 1 || keys > len(command)-3 {
			return "ERR for redis cluster, eval/evalsha number of keys can't be negative or zero"
		}
		for _, key := range command[3 : 3+keys] {
			if hashTag(key) != hashTag(command[3]) {
				return "ERR eval/evalsha command keys must be in same slot"
			}
		}
		if name == "evalsha" {
			return ""
		}
		return badScript(command[1], keys)
	}
}

var (
	callPattern    = regexp.MustCompile(`redis\.p?call\(`)
	literalPattern = regexp.MustCompile(`^(?:'\w+'|"\w+")$`)
	keyPattern     = regexp.MustCompile(`^KEYS\[(\d+)\]$`)
)

// badScript returns why a script with this number of keys is refused, or "". 0 keys
// means that the number is unknown.
func badScript(script string, keys int) string {
	const bad = "ERR bad lua script for redis cluster, "
	if strings.Contains(script, "unpack") {
		return bad + "unpack is not supported"
	}
	for _, at := range callPattern.FindAllStringIndex(script, -1) {
		args := arguments(script[at[1]:])
		if callPattern.MatchString(strings.Join(args, ",")) {
			return bad + "nested redis.call/redis.pcall"
		}
		if !literalPattern.MatchString(args[0]) {
			return bad + "first parameter of redis.call/redis.pcall must be a single literal string"
		}
		switch strings.ToUpper(strings.Trim(args[0], `'"`)) {
		case "TIME", "PUBLISH", "INFO":
			continue
		}
		var key []string
		if len(args) > 1 {
			key = keyPattern.FindStringSubmatch(args[1])
		}
		if key == nil {
			return bad + "all the keys that the script uses should be passed using the KEYS array, and KEYS should not be in expression"
		}
		if n, _ := strconv.Atoi(key[1]); n < 1 || keys > 0 && n > keys {
			return fmt.Sprintf("ERR script tried accessing undeclared key %s of %d", key[0], keys)
		}
	}
	return ""
}

// arguments returns the arguments of a call, at least one. rest begins after the opening
// parenthesis.
func arguments(rest string) []string {
	var args []string
	depth, from, quote := 0, 0, byte(0)
	for i := range len(rest) {
		switch c := rest[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '(' || c == '[' || c == '{':
			depth++
		case depth > 0 && (c == ')' || c == ']' || c == '}'):
			depth--
		case depth == 0 && (c == ',' || c == ')'):
			args = append(args, strings.TrimSpace(rest[from:i]))
			if from = i + 1; c == ')' {
				return args
			}
		}
	}
	return append(args, strings.TrimSpace(rest[from:]))
}

// hashTag returns the part of a key that determines its slot.
func hashTag(key string) string {
	_, rest, found := strings.Cut(key, "{")
	tag, _, closed := strings.Cut(rest, "}")
	if !found || !closed || tag == "" {
		return key
	}
	return tag
}
