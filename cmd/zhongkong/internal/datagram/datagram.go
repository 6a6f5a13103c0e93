// Package datagram asks for tokens, and answers, in one UDP packet each.
//
// Question and answer are JWEs as in redisstore/seal/jwe: kid is the caller's
// name, the key is the caller's udp_key. The question is the JSON object
//
//	{"appid": "wx8acdb7df5beb68fd", "time": "2026-11-22T20:00:00.000Z", "nonce": "16 to 64 characters", "pad": "xxxx"}
//
// and the answer what GET /v1/tokens/{appid} answers, the record or the error,
// with the question's nonce. Members of a question that are not named here are
// ignored; "pad" is one, there to make the question as large as its answer.
//
// # What a stranger gets
//
// Nothing. A packet that the key of the caller it names does not open, that is
// older or newer than Window, or that was answered before, gets no answer. So
// the server cannot be told from a closed port, nor be made to send anything
// to a forged address. Even to its callers it sends no more bytes than it got.
//
// # Question and answer are never taken for each other
//
// One key seals both directions, so either could be sent back to where it came
// from. A question always has "time", an answer never; an answer always has
// "access_token" or "error", a question never.
//
// # Not promised
//
// A question that was captured can be put to another server of the fleet
// within Window. That server's answer is sealed for the caller, like the first.
//
// A machine with several addresses may answer from another one than was asked,
// which clients do not accept: listen on one address there.
package datagram

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/zhongkong/zhongkong/redisstore/seal/jwe"
)

const (
	// Window is how far a question's time may be from the server's clock.
	Window = 30 * time.Second

	// MaxSize is how long a question, and so an answer, may be.
	MaxSize = 8 << 10

	// usualSize is what a question is padded to: it holds the answer with any
	// token of WeChat, and passes every path unfragmented.
	usualSize = 1200

	leastNonce, mostNonce = 16, 64

	timeLayout = "2006-01-02T15:04:05.000Z07:00"
)

// codeTooSmall is the error in place of an answer that is larger than its
// question; the answer's "size" is how large the question has to be.
const codeTooSmall = "too_small"

// question is what a caller asks.
type question struct {
	Account string
	Time    time.Time
	Nonce   string
}

// wire is every member that a question or an answer may have. Members that
// were not sent are nil.
type wire struct {
	AppID       *string `json:"appid"`
	Time        *string `json:"time"`
	Nonce       *string `json:"nonce"`
	AccessToken *string `json:"access_token"`
	Error       *string `json:"error"`
	Message     string  `json:"message"`
	Size        int     `json:"size"`
}

func (w *wire) isAnswer() bool {
	return (w.AccessToken != nil || w.Error != nil) && w.Time == nil
}

func members(name string) map[string]string { return map[string]string{"kid": name} }

// encode seals the question and pads it to at least size bytes.
func (q question) encode(name string, key []byte, size int) ([]byte, error) {
	asked := struct {
		AppID string `json:"appid"`
		Time  string `json:"time"`
		Nonce string `json:"nonce"`
		Pad   string `json:"pad,omitempty"`
	}{AppID: q.Account, Time: q.Time.UTC().Format(timeLayout), Nonce: q.Nonce}
	for {
		plain, err := json.Marshal(asked)
		if err != nil {
			return nil, err
		}
		sealed, err := jwe.SealedSize(members(name), len(plain))
		if err != nil {
			return nil, err
		}
		if missing := size - sealed; missing > 0 {
			// Three bytes are four in base64.
			asked.Pad += padding((missing + 1) * 3 / 4)
			continue
		}
		datagram, err := jwe.Seal(key, members(name), plain)
		return []byte(datagram), err
	}
}

func padding(n int) string {
	b := make([]byte, max(n, 1))
	for i := range b {
		b[i] = '0'
	}
	return string(b)
}

// decodeQuestion reads a question that the caller's key has opened.
func decodeQuestion(plain []byte) (question, error) {
	var w wire
	if err := json.Unmarshal(plain, &w); err != nil {
		return question{}, errors.New("not a JSON object")
	}
	switch {
	case w.isAnswer() || w.AccessToken != nil || w.Error != nil:
		return question{}, errors.New("an answer, not a question")
	case w.AppID == nil || w.Time == nil || w.Nonce == nil:
		return question{}, errors.New("appid, time or nonce is missing")
	case !usableNonce(*w.Nonce):
		return question{}, fmt.Errorf("the nonce is not %d to %d letters, digits, '-', '_', '+', '/' or '='", leastNonce, mostNonce)
	}
	sent, err := time.Parse(time.RFC3339, *w.Time)
	if err != nil {
		return question{}, errors.New("time is not of RFC 3339")
	}
	return question{Account: *w.AppID, Time: sent, Nonce: *w.Nonce}, nil
}

// usableNonce keeps to characters that JSON does not escape: the nonce is
// written back as it came.
func usableNonce(s string) bool {
	if len(s) < leastNonce || len(s) > mostNonce {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '-', c == '_', c == '+', c == '/', c == '=':
		default:
			return false
		}
	}
	return true
}
