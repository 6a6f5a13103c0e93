package wecom

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
)

// answer is what an answer says of the value that was asked for. Unlike WeChat's, an
// answer that is damaged is worth nothing: asking again brings the same value.
type answer struct {
	code    int
	message string
	value   string        // "" if there is none
	life    time.Duration // 0: missing or implausible
	members map[string]json.RawMessage
}

// parseAnswer reads the answer in body whose value is the member with this name.
// Success is that there is a value: not every endpoint answers an errcode with it, and
// some answer it empty with an errcode.
func parseAnswer(body []byte, member string) (answer, error) {
	a, err := parseObject(body)
	if err != nil {
		return answer{}, err
	}
	a.value = text(a.members[member])
	switch {
	case a.value != "" && !httpsource.Printable(a.value):
		return answer{}, fmt.Errorf("%s with blanks, control or non-ASCII characters", member)
	case a.value == "" && a.code == 0:
		return answer{}, fmt.Errorf("neither %s nor an errcode", member)
	}
	a.life = life(a.members["expires_in"])
	return a, nil
}

// parseObject reads the object that body begins with, and its errcode.
func parseObject(body []byte) (answer, error) {
	body = httpsource.TrimMark(httpsource.Unzip(body, httpsource.MaxBody+1))
	switch {
	case len(body) > httpsource.MaxBody:
		return answer{}, fmt.Errorf("more than %d bytes", httpsource.MaxBody)
	case len(body) == 0:
		return answer{}, errors.New("an empty body")
	case body[0] != '{':
		return answer{}, errors.New("something that is not a JSON object")
	}
	var a answer
	if json.NewDecoder(bytes.NewReader(body)).Decode(&a.members) != nil {
		return answer{}, errors.New("JSON that is cut off or broken")
	}
	code, err := number(a.members["errcode"])
	if err != nil || code != math.Trunc(code) || math.Abs(code) > math.MaxInt32 {
		return answer{}, errors.New("an errcode that is not a whole number")
	}
	a.code, a.message = int(code), text(a.members["errmsg"])
	return a, nil
}

// life returns the time that expires_in states, 0 if that is missing or implausible. A
// value in its last second is stated to have 0.
func life(expiresIn json.RawMessage) time.Duration {
	seconds, err := number(expiresIn)
	if expiresIn == nil || err != nil || seconds < 0 || seconds > coordinator.MaxLifetime.Seconds() {
		return 0
	}
	return max(time.Duration(seconds*float64(time.Second)), time.Second)
}

// text returns the string that value encodes, "" if it is none.
func text(value json.RawMessage) string {
	var s string
	if json.Unmarshal(value, &s) != nil {
		return ""
	}
	return strings.TrimSpace(s)
}

// number returns the number that value encodes, as a JSON number or, as a relay may
// have it, as a string; 0 if it is absent, null or empty.
func number(value json.RawMessage) (float64, error) {
	s := string(value)
	if strings.HasPrefix(s, `"`) {
		s = text(value)
	}
	if s == "" || s == "null" {
		return 0, nil
	}
	n, err := strconv.ParseFloat(s, 64)
	if err == nil && math.IsNaN(n) {
		err = strconv.ErrSyntax
	}
	return n, err
}

// gatewayError describes an answer whose status says that WeCom did not write it; nil
// if it may have.
func gatewayError(r *httpsource.Response) error {
	if r.Status == http.StatusOK {
		return nil
	}
	return fmt.Errorf("HTTP status %d", r.Status)
}
