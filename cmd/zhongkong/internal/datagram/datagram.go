// Package datagram requests tokens over UDP: one packet with the question, one with
// the answer.
//
// Both are JWEs as in redisstore/seal/jwe: kid is the caller's name, the key is the
// caller's udp_key. The question is the JSON object
//
//	{"appid": "wx8acdb7df5beb68fd", "time": "2026-11-22T20:00:00.000Z", "nonce": "16 to 64 characters", "pad": "xxxx"}
//
// and the answer is that of GET /v1/tokens/{appid}, a wire.Token or a wire.Error,
// with the question's nonce added. The server ignores other members of a question;
// "pad" is one of them, and makes the question as large as its answer.
//
// # What a stranger receives
//
// Nothing. The server does not answer a packet that the key of the named caller
// does not open, whose time differs from the server's by more than Window, or that
// it has answered before. So a stranger cannot tell the server from a closed port,
// nor make it send anything to a forged address. Even a caller receives no more
// bytes than it sent.
//
// # Question and answer cannot be confused
//
// One key seals both directions, so an attacker could reflect either to its
// sender. A question always has "time" and an answer never has; an answer always
// has "access_token" or "error" and a question never has.
//
// # Not promised
//
// An attacker can replay a captured question to another server of the fleet within
// Window. That server's answer is sealed for the caller, like the first one.
//
// A machine with several addresses may answer from another address than the one
// that was asked. Clients do not accept such an answer: listen on one address there.
package datagram

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/redisstore/seal/jwe"
)

const (
	// Window is how far a question's time may be from the server's clock.
	Window = 30 * time.Second

	// MaxSize is the largest size of a question, and therefore of an answer, in
	// bytes.
	MaxSize = 8 << 10

	// usualSize is the size to which a question is padded at first. An answer of
	// that size holds any token of WeChat, and a packet of that size is not
	// fragmented on any usual path.
	usualSize = 1200

	// longest is the space for any packet of UDP. Windows returns an error in place of the
	// beginning of one that is longer than the space, and a stranger could cause it.
	longest = 64 << 10

	maxNonce = 64 // characters
)

// codeTooSmall is the error code that replaces an answer larger than its question.
// Its "size" is how large the question has to be.
const codeTooSmall = "too_small"

type question struct {
	Account string
	Time    time.Time
	Nonce   string
}

// message has the members that tell a question from an answer, and those of both
// that are read here. Members that were not sent are nil.
type message struct {
	AppID       *string `json:"appid"`
	Time        *string `json:"time"`
	Nonce       *string `json:"nonce"`
	AccessToken *string `json:"access_token"`
	Error       *string `json:"error"`
	Message     string  `json:"message"`
	Size        int     `json:"size"`
}

func (w *message) isAnswer() bool {
	return (w.AccessToken != nil || w.Error != nil) && w.Time == nil
}

func members(name string) map[string]string { return map[string]string{"kid": name} }

// encode seals the question and pads it to at least size bytes.
func (q question) encode(name string, key []byte, size int) ([]byte, error) {
	asked := struct {
		AppID string    `json:"appid"`
		Time  wire.Time `json:"time"`
		Nonce string    `json:"nonce"`
		Pad   string    `json:"pad,omitempty"`
	}{AppID: q.Account, Time: wire.Time{Time: q.Time}, Nonce: q.Nonce}
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
			asked.Pad += strings.Repeat("0", max((missing+1)*3/4, 1))
			continue
		}
		datagram, err := jwe.Seal(key, members(name), plain)
		return []byte(datagram), err
	}
}

func decodeQuestion(plain []byte) (question, error) {
	var w message
	if err := json.Unmarshal(plain, &w); err != nil {
		return question{}, errors.New("not a JSON object")
	}
	switch {
	case w.AccessToken != nil || w.Error != nil:
		return question{}, errors.New("an answer, not a question")
	case w.AppID == nil || w.Time == nil || w.Nonce == nil:
		return question{}, errors.New("appid, time or nonce is missing")
	case !usableNonce().MatchString(*w.Nonce):
		return question{}, errors.New("the nonce is not 16 to 64 letters, digits, '-', '_', '+', '/' or '='")
	}
	sent, err := time.Parse(time.RFC3339, *w.Time)
	if err != nil {
		return question{}, errors.New("time is not in the format of RFC 3339")
	}
	return question{Account: *w.AppID, Time: sent, Nonce: *w.Nonce}, nil
}

// usableNonce accepts only characters that JSON does not escape, because the
// answer repeats the nonce unescaped.
var usableNonce = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_+/=-]{16,64}$`) })
