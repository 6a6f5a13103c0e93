package config

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// variablePrefix begins the name of every variable of ours.
const variablePrefix = "ZHONGKONG_"

// CheckVariables refuses variables of our prefix that nothing reads: with a
// mistyped name the default holds, and with the default for Redis this process
// would be alone on a store that nobody shares. also are names that are read
// besides those of Settings.
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
	// Only now is it worth reading which variables the file names.
	broken := &problems{}
	c := read(in, broken)
	if broken.err() != nil {
		return nil // who needs the file will say so; what it names is not known
	}
	p := &problems{}
	for _, name := range unknown {
		switch meant := Nearest(strings.ToUpper(name), known); {
		case c.namesVariable(name):
		case meant != "":
			p.addf("%s: unknown variable: did you mean %s?", name, meant)
		default:
			p.addf("%s: unknown variable: unset it, or see `zhongkong --help` and `zhongkong serve --help` for those there are", name)
		}
	}
	return p.err()
}

// unknownVariables returns the names of variables that are set, have our prefix
// and are neither known nor links of Kubernetes.
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

// namesVariable reports whether the configuration takes a secret from it.
func (c *Config) namesVariable(name string) bool {
	return c.lone.secretEnv == name ||
		slices.ContainsFunc(c.forms, func(f accountForm) bool { return f.secret.env == name })
}

// The variables by which Kubernetes tells each container of the services beside
// it. Those of a service called zhongkong, or zhongkong-something, have our
// prefix.
var (
	linkHost  = regexp.MustCompile(`_SERVICE_HOST$|_PORT_\d+_(TCP|UDP|SCTP)_ADDR$`)
	linkPort  = regexp.MustCompile(`_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT_\d+_(TCP|UDP|SCTP)_PORT$`)
	linkURL   = regexp.MustCompile(`_PORT(_\d+_(TCP|UDP|SCTP))?$`)
	linkProto = regexp.MustCompile(`_PORT_\d+_(TCP|UDP|SCTP)_PROTO$`)

	portValue  = regexp.MustCompile(`^\d{1,5}$`)
	urlValue   = regexp.MustCompile(`^(tcp|udp|sctp)://\S+:\d{1,5}$`)
	protoValue = regexp.MustCompile(`^(tcp|udp|sctp)$`)
)

// isServiceLink looks at the value too: ZHONGKONG_PORT=8080 is no link but a
// mistake.
func isServiceLink(name, value string) bool {
	_, noAddress := netip.ParseAddr(value)
	return linkHost.MatchString(name) && noAddress == nil ||
		linkPort.MatchString(name) && portValue.MatchString(value) ||
		linkURL.MatchString(name) && urlValue.MatchString(value) ||
		linkProto.MatchString(name) && protoValue.MatchString(value)
}
