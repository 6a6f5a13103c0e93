package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxFile is the largest file that is parsed: enough for 100,000 accounts.
const maxFile = 64 << 20

// readFile reads c.File into c. It walks the tree instead of decoding it into structs,
// because the decoder's errors name Go types instead of fields and repeat values,
// which may be secrets.
func readFile(c *Config, p *problems) {
	c.unread, c.unparsed = true, true
	data, err := readYAML(c.File)
	if err != nil {
		p.addf("%w", err)
		return
	}
	parse(c, data, p)
}

// readYAML reads a file that is not larger than maxFile.
func readYAML(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: cannot read the configuration: %w", path, plainCause(err))
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d MB: check that it is the right file", path, maxFile>>20)
	}
	return data, nil
}

func parse(c *Config, data []byte, p *problems) {
	d := &decoder{file: c.File, problems: p}
	root := d.document(data, "an account (appid: ...)")
	if root == nil {
		return
	}
	c.unread, c.unparsed = false, false
	d.strict(root)
	fields := map[string]func(*yaml.Node){
		"accounts": func(n *yaml.Node) { d.accounts(n, c) },
		"users":    func(n *yaml.Node) { d.users(n, c) },
		"routes":   func(n *yaml.Node) { d.routes(n, c) },
		"files":    func(n *yaml.Node) { d.tokenFiles(n, c) },
		"secret_env": func(n *yaml.Node) {
			if d.text(n, "secret_env", &c.lone.secretEnv) {
				c.origins["secret_env"] = d.at(n)
			}
		},
	}
	groups := map[string]map[string]func(*yaml.Node){}
	for _, s := range Settings() {
		if s.apply == nil {
			continue
		}
		read := func(n *yaml.Node) { d.setting(n, c, s) }
		group, name, grouped := strings.Cut(s.Key, ".")
		if !grouped {
			fields[s.Key] = read
			continue
		}
		if groups[group] == nil {
			groups[group] = map[string]func(*yaml.Node){}
			fields[group] = func(n *yaml.Node) { d.mapping(n, group, groups[group]) }
		}
		groups[group][name] = read
	}
	if !d.mapping(root, "", fields) {
		c.unread = true
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if fields[root.Content[i].Value] == nil {
			c.refused["accounts"] = true // the field may be a misspelt one of them
		}
	}
}

// document returns the content of the file, nil if it is malformed. least is what an
// empty file lacks.
func (d *decoder) document(data []byte, least string) *yaml.Node {
	if line := lineNotUTF8(data); line > 0 {
		d.problems.addf("%s:%d: not in UTF-8: save the file as UTF-8", d.file, line)
		return nil
	}
	var doc, next yaml.Node
	in := yaml.NewDecoder(bytes.NewReader(data))
	err := in.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF), err == nil && isNull(doc.Content[0]):
		d.problems.addf("%s: the file is empty: write at least %s", d.file, least)
		return nil
	case err != nil:
		d.syntax(err)
		return nil
	}
	switch err := in.Decode(&next); {
	case errors.Is(err, io.EOF), err == nil && isNull(next.Content[0]):
		return doc.Content[0]
	case err != nil:
		d.syntax(err)
	default:
		d.problems.addf("%s: a second document begins after a line of ---: use a single one", d.at(&next))
	}
	return nil
}

// lineNotUTF8 returns the first line that is neither in UTF-8 nor of a file in UTF-16, 0 if there
// is none. The parser's error has no line.
func lineNotUTF8(data []byte) int {
	if utf8.Valid(data) || bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return 0
	}
	n := 1
	for line := range bytes.Lines(data) {
		if !utf8.Valid(line) {
			break
		}
		n++
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// strict refuses parts of YAML that parsers read differently, or that change a value's
// meaning unnoticed.
func (d *decoder) strict(n *yaml.Node) {
	if n.Kind == yaml.AliasNode {
		return // its target is checked where it is written
	}
	if tag := n.ShortTag(); n.Style&yaml.TaggedStyle != 0 && !slices.Contains(plainTags, tag) {
		d.problems.addf("%s: a value has a tag (a word after !): remove the tag, or put the value in quotes if it begins with !", d.at(n))
	}
	for i, element := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && element.ShortTag() == "!!merge" {
			d.problems.addf("%s: << is not part of YAML 1.2: write the fields out", d.at(element))
		}
		d.strict(element)
	}
}

// plainTags are the tags of values that have no explicit tag.
var plainTags = []string{"!!str", "!!int", "!!bool", "!!null", "!!map", "!!seq"}

func (d *decoder) setting(n *yaml.Node, c *Config, s Setting) {
	v, ok := d.scalar(n, s.Key, s.kind)
	if !ok {
		c.refused[s.Key] = true
		return
	}
	if err := s.apply(c, v); err != nil {
		c.refused[s.Key] = true
		d.report(n, s.Key, err)
		return
	}
	c.origins[s.Key] = d.at(n)
}

type decoder struct {
	file     string
	problems *problems
}

func (d *decoder) at(n *yaml.Node) string { return fmt.Sprintf("%s:%d", d.file, n.Line) }

// mapping calls the function of each key of n. path is "" at the top.
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
		case key.ShortTag() == "!!merge":
			continue // strict has reported it
		case !known && !fieldName(key.Value):
			d.problems.addf("%s: %s: the name of a field is malformed: put the value before it in quotes if that has a comma", d.at(key), orFile(path))
			continue
		case !known:
			d.problems.addf("%s: %s: unknown field%s", d.at(key), name, suggest(key.Value, fields))
			continue
		case twice:
			d.problems.addf("%s: %s: given before, at line %d: remove one of them", d.at(key), name, line)
			continue
		}
		first[key.Value] = key.Line
		read(value)
	}
	return true
}

// fieldName matches what may be a misspelt field. Anything else may be a part of a
// secret and is not repeated in errors.
var fieldName = pattern("^[A-Za-z_-]{1,24}$")

// sequence calls f for each element of n, and reports whether n is a list.
func (d *decoder) sequence(n *yaml.Node, path string, f func(i int, n *yaml.Node)) bool {
	n = resolve(n)
	if n.Kind != yaml.SequenceNode {
		d.problems.addf("%s: %s is %s: it must be a list, each element after a `- `", d.at(n), path, describe(n))
		return false
	}
	if len(n.Content) == 0 {
		d.problems.addf("%s: %s: the list is empty: fill it or remove the field", d.at(n), path)
	}
	for i, element := range n.Content {
		f(i, element)
	}
	return true
}

var wanted = map[kind]string{kindText: "text", kindDuration: "a duration such as 90s or 1h", kindTruth: "true or false", kindCount: "a whole number"}

// scalar returns a value as it was written. Errors never contain the value: it may be
// a secret in the wrong place.
func (d *decoder) scalar(n *yaml.Node, path string, want kind) (string, bool) {
	n = resolve(n)
	tag := n.ShortTag()
	switch {
	case n.Kind != yaml.ScalarNode:
		return d.unfit(n, path, ": it must be "+wanted[want])
	case tag == "!!null", strings.TrimSpace(n.Value) == "":
		d.problems.addf("%s: %s: the value is empty: write %s or remove the field", d.at(n), path, wanted[want])
		return "", false
	case want == kindTruth:
		v := strings.ToLower(n.Value)
		if tag == "!!bool" && (v == "true" || v == "false") {
			return v, true
		}
		return d.unfit(n, path, ": write true or false"+unlike(n))
	case want == kindCount:
		if tag != "!!int" {
			return d.unfit(n, path, ": it must be a whole number"+unlike(n))
		}
	case want == kindDuration && (tag == "!!int" || tag == "!!float"):
		d.problems.addf("%s: %s is a number without a unit: write %s", d.at(n), path, wanted[want])
		return "", false
	case tag != "!!str":
		return d.unfit(n, path, ": it must be "+wanted[want]+"; put it in quotes to make it text")
	}
	return d.unpadded(n, path)
}

func (d *decoder) unfit(n *yaml.Node, path, instead string) (string, bool) {
	d.problems.addf("%s: %s is %s%s", d.at(n), path, describe(n), instead)
	return "", false
}

// unlike says why a value that looks right is wrong.
func unlike(n *yaml.Node) string {
	switch strings.ToLower(n.Value) {
	case "yes", "no", "on", "off", "y", "n":
		return " (yes, no, on and off are text in YAML 1.2)"
	}
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		return ", without the quotes"
	}
	return ""
}

// unpadded returns the value of a node. It refuses white space around the value, which
// is most likely a mistake, except for the line's end after a block.
func (d *decoder) unpadded(n *yaml.Node, path string) (string, bool) {
	v := n.Value
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		v = strings.TrimRight(v, "\n")
	}
	switch {
	case strings.TrimSpace(v) != v:
		d.problems.addf("%s: %s: the value begins or ends with white space: remove it", d.at(n), path)
		return "", false
	case strings.ContainsAny(v, "\r\n"):
		d.problems.addf("%s: %s: the value has several lines: it must be one", d.at(n), path)
		return "", false
	}
	return v, true
}

func (d *decoder) text(n *yaml.Node, path string, dst *string) bool {
	v, ok := d.scalar(n, path, kindText)
	if ok {
		*dst = v
	}
	return ok
}

var quoted = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile("'[^']*'|\"[^\"]*\"|`[^`]*`") })

// syntax reports an error of the parser, without the quoted parts of the file in it:
// one of them may be a secret.
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
	if strings.Contains(text, "incompatible") || strings.Contains(text, "directive") {
		d.problems.addf("%s: not valid YAML: a line that begins with %%: remove it, or quote the value", where)
		return
	}
	d.problems.addf("%s: not valid YAML: %s: check the line and the one before it; indent with spaces, quote values that contain : or #", where, quoted().ReplaceAllString(text, "..."))
}

// resolve follows a reference (*name).
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

// describe returns what a node is, without its content.
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
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		return "text in quotes"
	}
	return "text"
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func orFile(path string) string { return cmp.Or(path, "the file") }
