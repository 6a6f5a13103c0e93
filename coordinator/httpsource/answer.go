package httpsource

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
)

// What Life.Unit may be.
const (
	unitSeconds   = "seconds"
	unitAtSeconds = "at_seconds"
	unitAtMS      = "at_ms"
)

func (l Life) unit() string { return cmp.Or(l.Unit, unitSeconds) }

// reading is what an answer says.
type reading struct {
	token      string // "": none, or one that cannot be used
	life       time.Duration
	doubt      string // what is odd about the token; "": nothing
	attributes map[string]string

	code    coordinator.Code // "": none, or one that means success
	message string           // as the issuer wrote it

	wrong error // why there is no token
	page  bool  // the answer is a page of HTML
}

// read reads an answer. It takes a token whatever is around it, because it was issued.
func (i *Issuer) read(r *Response) reading {
	root, err := parseAnswer(r.Body, i.Answer.Token, i.Answer.Code)
	got := reading{wrong: err, page: errors.Is(err, source.ErrPage)}
	if root == nil {
		return got
	}
	a := i.Answer
	if got.wrong == nil || root.lookup(a.Token) != nil {
		got.token, got.wrong = tokenOf(root.lookup(a.Token))
	}
	if err == nil || got.token != "" { // of a broken object, only the token is believed
		got.code = a.failure(root)
		got.message = textOf(root.lookup(a.Message))
	}
	if got.token == "" {
		return got
	}
	got.attributes, got.doubt = a.attributes(root)
	life, odd := a.Life.read(root.lookup(a.Life.Field), r.Now())
	if odd != nil {
		if got.code != "" { // more likely an error than a token
			got.token, got.wrong = "", odd
			return got
		}
		life, got.doubt = source.CautiousLife, odd.Error()
	}
	got.life = life
	if got.code != "" {
		got.doubt = fmt.Sprintf("a token with code %s", OneLine(string(got.code)))
	}
	return got
}

// failure returns the code of an answer that is none of Success.
func (a Answer) failure(root object) coordinator.Code {
	code := textOf(root.lookup(a.Code))
	if a.Code == "" || code == "" || slices.Contains(a.Success, Value(code)) {
		return ""
	}
	if sub := textOf(root.lookup(a.SubCode)); a.SubCode != "" && sub != "" && !slices.Contains(a.Success, Value(sub)) {
		code = sub
	}
	return coordinator.Code(code)
}

// attributes returns the fields for the token's readers. Too many are dropped: the
// token counts.
func (a Answer) attributes(root object) (attributes map[string]string, doubt string) {
	size := 0
	for name, path := range a.Attributes {
		value := textOf(root.lookup(path))
		if value == "" {
			continue
		}
		if attributes == nil {
			attributes = make(map[string]string)
		}
		attributes[name] = value
		size += len(name) + len(value)
	}
	if size > coordinator.MaxAttributes {
		return nil, fmt.Sprintf("a token with %d bytes of attributes", size)
	}
	return attributes, ""
}

func tokenOf(value any) (string, error) {
	text, ok := value.(string)
	text = strings.TrimSpace(text)
	unusable := source.CheckToken("a token", text)
	switch {
	case value == nil || ok && text == "":
		return "", errors.New("neither a token nor a code")
	case !ok:
		return "", errors.New("a token that is not a string")
	case unusable != nil:
		return "", unusable
	}
	return text, nil
}

// read returns the life that value states. An error says what is odd about it.
func (l Life) read(value any, now time.Time) (time.Duration, error) {
	if l.Field == "" {
		return time.Duration(l.Default), nil
	}
	text := strings.TrimSpace(textOf(value))
	if text == "" {
		return 0, fmt.Errorf("a token without %s", l.Field)
	}
	number, err := strconv.ParseFloat(text, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) || math.IsNaN(number) {
		return 0, fmt.Errorf("a token whose %s is not a number", l.Field)
	}
	switch l.unit() {
	case unitAtMS:
		number = number/1000 - float64(now.UnixMilli())/1000
	case unitAtSeconds:
		number -= float64(now.UnixMilli()) / 1000
	}
	number = max(0, min(number, 2*coordinator.MaxLifetime.Seconds())) // a Duration holds it
	switch life := time.Duration(number * float64(time.Second)); {
	case life <= 0:
		return 0, fmt.Errorf("a token whose %s leaves it no life", l.Field)
	case life > coordinator.MaxLifetime:
		return 0, fmt.Errorf("a token whose %s is above %d days", l.Field, coordinator.MaxLifetime/(24*time.Hour))
	default:
		return life, nil
	}
}

// object is a JSON object: strings, json.Numbers, bools, objects, lists.
type object map[string]any

// lookup returns the field at a path, nil if it is absent or null.
func (o object) lookup(path string) any {
	var value any = o
	for name := range strings.SplitSeq(path, ".") {
		inner, ok := value.(object)
		if !ok {
			return nil
		}
		value = inner[name]
	}
	return value
}

// textOf returns a scalar as text, a whole number without a fraction; "" if value is
// none.
func textOf(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		if f, err := v.Float64(); err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			return strconv.FormatInt(int64(f), 10)
		}
		return v.String()
	}
	return ""
}

// parseAnswer finds the answer's object, which a relay may have wrapped or the
// connection cut off. Of a broken object it returns the readable part and an error.
// tokenPath and codePath tell the object from others around it.
func parseAnswer(body []byte, tokenPath, codePath string) (object, error) {
	body, tooLong := source.Plain(body, MaxBody)
	var partial object
	for _, text := range source.Objects(body, topOf(tokenPath), topOf(codePath)) {
		root, err := parseObject(text)
		if err == nil && (root.lookup(tokenPath) != nil || root.lookup(codePath) != nil) || root.lookup(tokenPath) != nil {
			return root, err
		}
		if err == nil && partial == nil {
			partial = root
		}
	}
	switch {
	case tooLong != nil && partial == nil:
		return nil, tooLong
	case len(body) == 0, body[0] != '{', partial == nil:
		return nil, source.NoObject(body)
	}
	return partial, nil
}

// topOf returns the member of the answer's object that a path begins with.
func topOf(path string) string {
	name, _, _ := strings.Cut(path, ".")
	return name
}

// maxDepth bounds how deeply objects and lists may be nested.
const maxDepth = 32

// parseObject reads the object that text begins with and ignores what follows.
func parseObject(text []byte) (object, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	value, err := parseValue(d, len(text), maxDepth)
	root, _ := value.(object)
	return root, err
}

// parseValue reads one value. Of a broken one it returns the readable part.
func parseValue(d *json.Decoder, end, depth int) (any, error) {
	token, err := d.Token()
	if err != nil || depth == 0 {
		return nil, source.ErrBroken
	}
	switch token {
	case json.Delim('{'):
		return parseMembers(d, end, depth)
	case json.Delim('['):
		var list []any
		for d.More() {
			value, err := parseValue(d, end, depth-1)
			if err != nil {
				return list, err
			}
			list = append(list, value)
		}
		return list, closing(d)
	}
	if _, isString := token.(string); !isString && d.InputOffset() == int64(end) {
		return nil, source.ErrBroken // a number that the text ends with may have lost digits
	}
	return token, nil
}

// parseMembers reads an object after its brace. Of a duplicate name the last value
// that is not null counts.
func parseMembers(d *json.Decoder, end, depth int) (object, error) {
	members := make(object)
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return members, source.ErrBroken
		}
		value, err := parseValue(d, end, depth-1)
		if key, ok := name.(string); ok && value != nil {
			members[key] = value
		}
		if err != nil {
			return members, err
		}
	}
	return members, closing(d)
}

// closing reads a closing bracket.
func closing(d *json.Decoder) error {
	if _, err := d.Token(); err != nil {
		return source.ErrBroken
	}
	return nil
}
