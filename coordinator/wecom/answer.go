package wecom

import (
	"cmp"
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
// answer that is damaged is worth nothing, because asking again brings the same value; but
// see request.once.
type answer struct {
	code    int
	message string
	value   string        // "" if there is none
	life    time.Duration // 0: missing or implausible
	members map[string]json.RawMessage
}

// onceBody bounds an answer that comes once, in bytes: that of get_permanent_code lists
// everybody who may see the app.
const onceBody = 4 << 20

// maxBody returns how long an answer to q may be, in bytes.
func (q request) maxBody() int {
	if q.once {
		return onceBody
	}
	return httpsource.MaxBody
}

// parse reads the answer to q in body. Success is that there is a value: not every
// endpoint answers an errcode with it, and some answer it empty with an errcode.
func (q request) parse(body []byte) (answer, error) {
	a, err := parseObject(body, q.maxBody())
	a.value, _ = source.Text(a.members[q.member])
	unusable := source.CheckToken(q.member, a.value)
	switch {
	case err != nil && (!q.once || a.value == ""):
		return answer{}, err
	case unusable != nil:
		return answer{}, unusable
	case a.value == "" && a.code == 0:
		return answer{}, fmt.Errorf("neither %s nor an errcode", q.member)
	}
	a.life = life(a.members["expires_in"])
	return a, nil
}

// parseObject reads the object that body begins with, and its errcode. Of one that is
// broken, or not whole within limit, it returns the members before the damage with the error.
func parseObject(body []byte, limit int) (answer, error) {
	body, tooLong := source.Plain(body, limit)
	if len(body) == 0 || body[0] != '{' {
		return answer{}, cmp.Or(tooLong, source.NoObject(body))
	}
	a := answer{members: make(map[string]json.RawMessage)}
	err := source.ReadObject(body, func(name string, value json.RawMessage) { a.members[name] = value })
	if err != nil {
		return a, cmp.Or(tooLong, err)
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
	seconds, present, err := source.Number(expiresIn)
	if !present || err != nil || seconds < 0 || seconds > coordinator.MaxLifetime.Seconds() {
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
