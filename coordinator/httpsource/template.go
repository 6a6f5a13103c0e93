package httpsource

import (
	"errors"
	"strings"
)

// The names that templates know besides an issuer's parameters.
const (
	timestamp   = "timestamp"
	timestampMS = "timestamp_ms"
	signature   = "sign"
	parentToken = "parent_token"
)

func builtins() []string { return []string{timestamp, timestampMS, signature, parentToken} }

// expand replaces each {name} of a valid template by its escaped value.
func expand(template string, values map[string]string, escape func(string) string) string {
	var b strings.Builder
	for {
		literal, rest, found := strings.Cut(template, "{")
		b.WriteString(literal)
		if !found {
			return b.String()
		}
		name, after, _ := strings.Cut(rest, "}")
		b.WriteString(escape(values[name]))
		template = after
	}
}

// templateNames returns the names in a template.
func templateNames(template string) ([]string, error) {
	var names []string
	for {
		literal, rest, found := strings.Cut(template, "{")
		if strings.Contains(literal, "}") {
			return names, errors.New("has a } without a {")
		}
		if !found {
			return names, nil
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			return names, errors.New("has a { without a }")
		}
		names = append(names, name)
		template = after
	}
}

func asItIs(s string) string { return s }

// validName reports whether s can be a parameter's name.
func validName(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}
