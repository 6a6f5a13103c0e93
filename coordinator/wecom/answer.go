package wecom

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
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
	a.value, _ = source.Text(a.members[member])
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
	case len(body) == 0, body[0] != '{':
		return answer{}, source.NoObject(body)
	}
	var a answer
	if json.NewDecoder(bytes.NewReader(body)).Decode(&a.members) != nil {
		return answer{}, source.ErrBroken
	}
	code, _, err := source.Number(a.members["errcode"])
	if err != nil || code != math.Trunc(code) || math.Abs(code) > math.MaxInt32 {
		return answer{}, errors.New("an errcode that is not a whole number")
	}
	a.code = int(code)
	a.message, _ = source.Text(a.members["errmsg"])
	return a, nil
}

// life returns the time that expires_in states, 0 if that is missing or implausible. A
// value in its last second is stated to have 0.
func life(expiresIn json.RawMessage) time.Duration {
	seconds, _, err := source.Number(expiresIn)
	if expiresIn == nil || err != nil || seconds < 0 || seconds > coordinator.MaxLifetime.Seconds() {
		return 0
	}
	return max(time.Duration(seconds*float64(time.Second)), time.Second)
}

// gatewayError describes an answer whose status says that WeCom did not write it; nil
// if it may have.
func gatewayError(r *httpsource.Response) error {
	if r.Status == http.StatusOK {
		return nil
	}
	return fmt.Errorf("HTTP status %d", r.Status)
}
