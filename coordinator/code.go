package coordinator

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// Code is an issuer's code for a failure, as text: WeChat's errcode 40125 is
// "40125", OAuth2's is a word such as "invalid_client". "": the issuer gave none.
// In JSON a whole number stays a number, and "" is 0.
type Code string

// NumericCode returns an issuer's number as a Code. 0 is "".
func NumericCode(n int) Code {
	if n == 0 {
		return ""
	}
	return Code(strconv.Itoa(n))
}

// Number returns c as a whole number; ok is false if it is none.
func (c Code) Number() (n int, ok bool) {
	n, err := strconv.Atoi(string(c))
	return n, err == nil && strconv.Itoa(n) == string(c)
}

// MarshalJSON returns a number where c is one, and else a string.
func (c Code) MarshalJSON() ([]byte, error) {
	if n, ok := c.Number(); ok || c == "" {
		return strconv.AppendInt(nil, int64(n), 10), nil
	}
	return json.Marshal(string(c))
}

// UnmarshalJSON accepts a whole number and a string.
func (c *Code) UnmarshalJSON(data []byte) error {
	var n int
	if json.Unmarshal(data, &n) == nil {
		*c = NumericCode(n)
		return nil
	}
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("a code that is neither a whole number nor a string: %w", errors.Unwrap(err))
	}
	*c = Code(s)
	return nil
}
