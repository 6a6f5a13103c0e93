package config

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// variablePrefix begins the names of Zhongkong's variables.
const variablePrefix = "ZHONGKONG_"

// CheckVariables refuses unknown variables that begin with ZHONGKONG_. With a mistyped
// name the default applies, and with the default for Redis this process could use a
// store of its own. also are known names besides those of Settings.
func CheckVariables(in Input, also ...string) error {
	if in.Environ == nil {
		return nil
	}
	known := slices.Clone(also)
	for _, s := range Settings() {
		known = append(known, s.Env())
	}
	unknown := unknownVariables(in.Environ(), known)
	if len(unknown) == 0 {
		return nil
	}
	// The file may name them, but it is read only if there are any.
	broken := &problems{}
	c := read(in, broken)
	if broken.err() != nil {
		return nil // Load reports that; which variables the file names is unknown
	}
	p := &problems{}
	for _, name := range unknown {
		switch nearest := Nearest(strings.ToUpper(name), known); {
		case c.namesVariable(name):
		case nearest != "":
			p.addf("%s: unknown variable: did you mean %s?", name, nearest)
		default:
			p.addf("%s: unknown variable: unset it; `zhongkong --help` and `zhongkong serve --help` list the known ones", name)
		}
	}
	return p.err()
}

// unknownVariables returns the names of variables that are set, have the prefix and
// are neither known nor service links of Kubernetes.
func unknownVariables(environ, known []string) []string {
	var unknown []string
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if value != "" && strings.HasPrefix(name, variablePrefix) &&
			!slices.Contains(known, name) && !isServiceLink(name, value) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}

// namesVariable reports whether the configuration takes a secret from the variable.
func (c *Config) namesVariable(name string) bool {
	return c.lone.secretEnv == name ||
		slices.ContainsFunc(c.Accounts, func(a Account) bool {
			for _, s := range a.form.secrets {
				if s.env == name {
					return true
				}
			}
			return false
		})
}

// The variables by which Kubernetes tells each container the addresses of services.
// Those of a service whose name begins with zhongkong have the prefix.
var (
	linkHost  = pattern(`_SERVICE_HOST$|_PORT_\d+_(TCP|UDP|SCTP)_ADDR$`)
	linkPort  = pattern(`_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT_\d+_(TCP|UDP|SCTP)_PORT$`)
	linkURL   = pattern(`_PORT(_\d+_(TCP|UDP|SCTP))?$`)
	linkProto = pattern(`_PORT_\d+_(TCP|UDP|SCTP)_PROTO$`)

	portValue  = pattern(`^\d{1,5}$`)
	urlValue   = pattern(`^(tcp|udp|sctp)://\S+:\d{1,5}$`)
	protoValue = pattern(`^(tcp|udp|sctp)$`)
)

// pattern returns what reports whether a text matches an expression, which is compiled
// when it is first needed: each command would wait for it.
func pattern(expression string) func(string) bool {
	compiled := sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
	return func(text string) bool { return compiled().MatchString(text) }
}

// isServiceLink also checks the value: ZHONGKONG_PORT=8080 is not a link but a
// mistake.
func isServiceLink(name, value string) bool {
	_, noAddress := netip.ParseAddr(value)
	return linkHost(name) && noAddress == nil ||
		linkPort(name) && portValue(value) ||
		linkURL(name) && urlValue(value) ||
		linkProto(name) && protoValue(value)
}
