package config

import (
	"fmt"
	"os"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/zhongkong/zhongkong/coordinator"
)

// maxFile bounds what is parsed: a configuration for 100,000 accounts fits.
const maxFile = 64 << 20

// readFile reads c.File into c. The tree is walked by hand rather than decoded
// into structs, because the decoder's own errors name Go types instead of
// fields and repeat values, which may be secrets.
func readFile(c *Config, p *problems) {
	data, err := os.ReadFile(c.File)
	if err != nil {
		p.addf("%s: cannot read the configuration: %w", c.File, plainCause(err))
		return
	}
	if len(data) > maxFile {
		p.addf("%s: larger than %d MB: is it the right file?", c.File, maxFile>>20)
		return
	}
	parse(c, data, p)
}

func parse(c *Config, data []byte, p *problems) {
	d := &decoder{file: c.File, problems: p}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		d.syntax(err)
		return
	}
	if doc.Kind == 0 || len(doc.Content) == 0 {
		p.addf("%s: the file is empty: write at least an account (appid: ...)", c.File)
		return
	}
	fields := map[string]func(*yaml.Node){
		"accounts": func(n *yaml.Node) { d.accounts(n, c) },
		"users":    func(n *yaml.Node) { d.users(n, c) },
		"budget": func(n *yaml.Node) {
			given := coordinator.Limits{PerDay: unset, Reserve: unset, MinInterval: unset}
			d.limits(n, "budget", &given)
			c.Budget = overlay(c.Budget, given)
			d.keys(n, func(key string, line string) { c.origins["budget."+key] = line })
		},
		"secret_env": func(n *yaml.Node) {
			if d.text(n, "secret_env", &c.lone.secretEnv) {
				c.origins["secret_env"] = d.at(n)
			}
		},
	}
	for _, s := range Settings() {
		if s.apply == nil {
			continue
		}
		fields[s.Key] = func(n *yaml.Node) {
			if v, ok := d.scalar(n, s.Key, s.kind); ok {
				if err := s.apply(c, v); err != nil {
					p.addf("%s: %s: %v", d.at(n), s.Key, err)
					return
				}
				c.origins[s.Key] = d.at(n)
			}
		}
	}
	d.mapping(doc.Content[0], "", fields)
}

// decoder walks a parsed file.
type decoder struct {
	file     string
	problems *problems
}

// at names a place in the file.
func (d *decoder) at(n *yaml.Node) string { return fmt.Sprintf("%s:%d", d.file, n.Line) }

// mapping calls the function of each key that is there. path is "" at the top.
func (d *decoder) mapping(n *yaml.Node, path string, fields map[string]func(*yaml.Node)) bool {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		d.problems.addf("%s: %s is %s: it must be a list of `name: value` lines", d.at(n), orFile(path), describe(n))
		return false
	}
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name := join(path, key.Value)
		read, known := fields[key.Value]
		switch line, twice := first[key.Value]; {
		case key.Kind != yaml.ScalarNode:
			d.problems.addf("%s: %s: a field's name must be a word", d.at(key), orFile(path))
			continue
		case !known:
			d.problems.addf("%s: %s: unknown field%s", d.at(key), name, suggest(key.Value, fields))
			continue
		case twice:
			d.problems.addf("%s: %s: given before, at line %d: keep one of them", d.at(key), name, line)
			continue
		}
		first[key.Value] = key.Line
		read(value)
	}
	return true
}

// keys calls f with every key of a mapping and where it stands.
func (d *decoder) keys(n *yaml.Node, f func(key, at string)) {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		f(n.Content[i].Value, d.at(n.Content[i]))
	}
}

// sequence calls f for each element of a list.
func (d *decoder) sequence(n *yaml.Node, path string, f func(i int, n *yaml.Node)) {
	n = resolve(n)
	if n.Kind != yaml.SequenceNode {
		d.problems.addf("%s: %s is %s: it must be a list, each element after a `- `", d.at(n), path, describe(n))
		return
	}
	if len(n.Content) == 0 {
		d.problems.addf("%s: %s: the list is empty: fill it or leave the field out", d.at(n), path)
	}
	for i, element := range n.Content {
		f(i, element)
	}
}

// scalar returns a value as it was written. The value itself is never part of
// an error: it may be a secret in the wrong place.
func (d *decoder) scalar(n *yaml.Node, path string, want kind) (string, bool) {
	n = resolve(n)
	tag := n.ShortTag()
	wanted := map[kind]string{kindText: "text", kindDuration: "a duration such as 90s or 1h", kindTruth: "true or false", kindCount: "a whole number"}[want]
	switch {
	case n.Kind != yaml.ScalarNode:
		d.problems.addf("%s: %s is %s: it must be %s", d.at(n), path, describe(n), wanted)
		return "", false
	case tag == "!!null", strings.TrimSpace(n.Value) == "":
		d.problems.addf("%s: %s: the value is empty: write %s or leave the field out", d.at(n), path, wanted)
		return "", false
	case want == kindTruth && tag != "!!bool":
		d.problems.addf("%s: %s is %s: write true or false", d.at(n), path, describe(n))
		return "", false
	case want == kindDuration && tag == "!!int":
		d.problems.addf("%s: %s is a number without a unit: write %s", d.at(n), path, wanted)
		return "", false
	case want == kindCount && tag != "!!int":
		d.problems.addf("%s: %s is %s: it must be %s", d.at(n), path, describe(n), wanted)
		return "", false
	case want != kindTruth && want != kindCount && tag != "!!str":
		d.problems.addf("%s: %s is %s: it must be %s; put it in quotes if it is meant so", d.at(n), path, describe(n), wanted)
		return "", false
	}
	return n.Value, true
}

// text reads a text into dst.
func (d *decoder) text(n *yaml.Node, path string, dst *string) bool {
	v, ok := d.scalar(n, path, kindText)
	if ok {
		*dst = strings.TrimSpace(v)
	}
	return ok
}

var quoted = regexp.MustCompile("'[^']*'|\"[^\"]*\"|`[^`]*`")

// syntax reports what the parser said. Quoted parts of the file are taken
// out: one of them may be a secret.
func (d *decoder) syntax(err error) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	where := d.file
	var line int
	if n, _ := fmt.Sscanf(text, "line %d:", &line); n == 1 {
		where = fmt.Sprintf("%s:%d", d.file, line)
		_, text, _ = strings.Cut(text, ": ")
	}
	if strings.Contains(text, "anchor") {
		d.problems.addf("%s: not valid YAML: a value that begins with * or & must be in quotes", where)
		return
	}
	d.problems.addf("%s: not valid YAML: %s: look at the line and the one before it; indent with spaces, quote values that hold : or #", where, quoted.ReplaceAllString(text, "..."))
}

// resolve follows a reference (*name).
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

// describe says what a node is, without what is in it.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a group of fields"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!null":
		return "empty"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!timestamp":
		return "a date"
	}
	return "text"
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func orFile(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}
