package sources

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
)

// HTTP is the kind of issuers that are described by data.
const HTTP = "http"

func byDescription() []Kind {
	fields := []Field{
		{Key: "preset", Usage: "a vendor: " + strings.Join(PresetNames(), ", ")},
		{Key: "issuer", Usage: "the description of another issuer, in the form of the files in coordinator/httpsource/presets", Form: Data},
		{Key: "params", Form: Map},
	}
	known := map[string]int{} // where in fields
	for _, preset := range httpsource.Presets() {
		for _, p := range preset.Issuer.Parameters {
			if i, found := known[p.Name]; found {
				if p.Default != "" && !strings.Contains(fields[i].Usage, p.Meaning) {
					fields[i].Usage += ", " + p.Meaning // what else than the default of its vendor
				}
				continue
			}
			known[p.Name] = len(fields)
			f := Field{Key: p.Name, Usage: "parameter of presets: " + p.Meaning}
			if p.Secret {
				f.Form = Secret
			}
			fields = append(fields, f)
		}
	}
	return []Kind{{
		Name: HTTP, Usage: "tokens of the issuer that preset: names or issuer: describes", Fields: fields, AnyBase: true,
		Of:            []string{HTTP, OAuth2},
		MayLackParent: func(v Values) bool { i, err := Issuer(v); return err != nil || !i.NeedsParent() },
		Make:          func(v Values) (coordinator.Source, error) { return makeHTTP(v) },
		Chain: func(v Values) string {
			s, err := makeHTTP(v)
			if err != nil || s.Description().Repeat != coordinator.RepeatKills {
				return ""
			}
			chain := HTTP + " " + s.Credential() + " " + v.APIBase
			for _, p := range s.Issuer().Parameters {
				if !p.Secret {
					chain += " " + strconv.Quote(v.Text[p.Name]+v.Map["params"][p.Name])
				}
			}
			return chain
		},
		Probe: func(v Values) Probe {
			s, err := makeHTTP(v)
			if err != nil {
				return nil
			}
			return rejecting(s.Probe, func(error) bool { return false })
		},
		Put: func(v Values) (string, string) {
			s, err := makeHTTP(v)
			if err != nil {
				return "", ""
			}
			u := s.Use()
			if u.Scheme != "" { // a route cannot write it
				return "", ""
			}
			return u.Put, u.Base
		},
	}}
}

// PresetNames returns the vendors that preset: may name.
func PresetNames() []string {
	var names []string
	for _, p := range httpsource.Presets() {
		names = append(names, p.Name)
	}
	return names
}

// Issuer returns the issuer that an account with source http names or describes.
func Issuer(v Values) (*httpsource.Issuer, error) {
	name, described := v.Text["preset"], v.Data["issuer"]
	switch {
	case (name == "") == (described == nil):
		return nil, errors.New("preset, issuer: give one of the two")
	case described != nil:
		return httpsource.DecodeIssuer(described)
	}
	p, ok := httpsource.PresetNamed(name)
	if !ok {
		return nil, fmt.Errorf("preset: %q is not known: write one of %s", name, strings.Join(PresetNames(), ", "))
	}
	return p.Issuer, nil
}

func makeHTTP(v Values) (*httpsource.Source, error) {
	issuer, err := Issuer(v)
	if err != nil {
		return nil, err
	}
	parameters := maps.Clone(v.Map["params"])
	if parameters == nil {
		parameters = map[string]string{}
	}
	for name, value := range v.Text {
		if name != "preset" {
			parameters[name] = value
		}
	}
	return httpsource.Config{Issuer: issuer, Parameters: parameters, BaseURL: v.APIBase}.Source()
}
