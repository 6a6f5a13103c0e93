package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
)

// What is wrong with an answer that holds no JSON object.
var (
	ErrPage   = errors.New("a page instead of JSON")
	ErrBroken = errors.New("JSON that is cut off or broken")
)

// NoObject returns what is wrong with a body that holds no JSON object.
func NoObject(body []byte) error {
	switch {
	case len(body) == 0:
		return errors.New("an empty body")
	case body[0] == '<':
		return ErrPage
	case body[0] != '{':
		return errors.New("something that is not a JSON object")
	}
	return ErrBroken
}

// Objects returns the parts of body that may begin with the answer's object: the first
// object, and, if a relay has put text before it, those with one of these members.
func Objects(body []byte, members ...string) [][]byte {
	first := bytes.IndexByte(body, '{')
	if first < 0 {
		return nil
	}
	texts := [][]byte{body[first:]}
	if first == 0 {
		return texts
	}
	for _, name := range members {
		before, _, found := bytes.Cut(body, []byte(`"`+name+`"`))
		if begin := bytes.LastIndexByte(before, '{'); found && begin > first {
			texts = append(texts, body[begin:])
		}
	}
	return texts
}

// ReadObject calls set with each member of the object that text begins with, in their order,
// and ignores what follows it. Of an object that is cut off or malformed these are the members
// before that place, and the error is ErrBroken.
func ReadObject(text []byte, set func(name string, value json.RawMessage)) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if brace, err := d.Token(); err != nil || brace != json.Delim('{') {
		return ErrBroken
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return ErrBroken
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return ErrBroken
		}
		if d.InputOffset() == int64(len(text)) && value[len(value)-1] != '"' {
			return ErrBroken // a number that the text ends with may have lost digits
		}
		if name, ok := name.(string); ok {
			set(name, value)
		}
	}
	if _, err := d.Token(); err != nil {
		return ErrBroken
	}
	return nil
}

// Text returns the string that value encodes, without space around it; ok is false if it
// is not a string.
func Text(value json.RawMessage) (text string, ok bool) {
	if len(value) == 0 || value[0] != '"' {
		return "", false
	}
	err := json.Unmarshal(value, &text)
	return strings.TrimSpace(text), err == nil
}

// Number returns the number that value encodes, as a JSON number or, as a relay may have
// it, as a string. It is infinite if it is too large. null and an empty string count as
// absent.
func Number(value json.RawMessage) (number float64, present bool, err error) {
	text, quoted := Text(value)
	if !quoted {
		text = string(value)
	}
	if text == "" || text == "null" && !quoted {
		return 0, false, nil
	}
	number, err = strconv.ParseFloat(text, 64)
	if errors.Is(err, strconv.ErrRange) {
		err = nil
	}
	if math.IsNaN(number) {
		err = strconv.ErrSyntax
	}
	return number, true, err
}
