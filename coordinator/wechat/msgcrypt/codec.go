package msgcrypt

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // WeChat's algorithm
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Why a push is not accepted.
var (
	// ErrSignature means that the signature is not that of the Token: the push is forged,
	// or the Token here is not the one in the console.
	ErrSignature = errors.New("msgcrypt: the signature does not match: the push is forged, or the Token differs from the one in the console")

	// ErrKey means that no EncodingAESKey decrypts the message.
	ErrKey = errors.New("msgcrypt: no key decrypts the message: the EncodingAESKey differs from the one in the console")

	// ErrReceiver means that the message is for none of the Receivers.
	ErrReceiver = errors.New("msgcrypt: the message is for another receiver")

	// ErrMalformed means that the push does not have the form of one.
	ErrMalformed = errors.New("msgcrypt: not an encrypted push")

	// ErrEvent means that the push is the issuer's, but the event in it lacks what it is
	// about. Pushing it again does not help. It is an ErrMalformed, too.
	ErrEvent error = eventError{}
)

type eventError struct{}

func (eventError) Error() string {
	return "msgcrypt: the push is the issuer's, but the event in it cannot be used"
}
func (eventError) Is(target error) bool { return target == ErrMalformed }

// MaxBody is the greatest length in bytes of a push's body, and of the message in it.
const MaxBody = 256 << 10

const (
	keyLength    = 43 // of an EncodingAESKey: 32 bytes in base64 without the padding
	randomLength = 16 // of the random bytes that a plain text begins with
	lengthLength = 4  // of the message's length, which follows them
	padBlock     = 32 // the padding is PKCS#7's for blocks of 32 bytes, not for AES' 16
)

// Config describes a Codec.
type Config struct {
	// Token signs the pushes. It is set in the console.
	Token string

	// EncodingAESKey encrypts them: 43 characters, set in the console.
	EncodingAESKey string

	// PreviousKey is the EncodingAESKey before its last change; empty: there is none.
	PreviousKey string

	// Receivers are the ids for which messages are accepted, at least one: a platform's or
	// an account's AppID, a suite's id, a CorpID. Seal uses the first.
	Receivers []string
}

// Format prints the configuration without its secrets, whatever the verb.
func (c Config) Format(w fmt.State, _ rune) {
	_, _ = fmt.Fprintf(w, "msgcrypt.Config{%q}", c.Receivers)
}

// Codec opens and seals the messages of one URL. It is safe for concurrent use.
type Codec struct {
	token     string
	keys      []key // the current one first
	receivers []string
}

// key is an AES key with the initialization vector that goes with it.
type key struct {
	block cipher.Block
	iv    []byte
}

// Codec validates c and returns the codec that it describes. The errors do not quote
// secrets.
func (c Config) Codec() (*Codec, error) {
	switch {
	case c.Token == "":
		return nil, errors.New("msgcrypt: no Token")
	case len(c.Receivers) == 0:
		return nil, errors.New("msgcrypt: no receiver: name the AppID, the suite id or the CorpID whose messages these are")
	}
	codec := &Codec{token: c.Token, receivers: slices.Clone(c.Receivers)}
	current, err := parseKey(c.EncodingAESKey)
	if err != nil {
		return nil, fmt.Errorf("msgcrypt: the EncodingAESKey %w", err)
	}
	codec.keys = []key{current}
	if c.PreviousKey != "" {
		previous, err := parseKey(c.PreviousKey)
		if err != nil {
			return nil, fmt.Errorf("msgcrypt: the previous EncodingAESKey %w", err)
		}
		codec.keys = append(codec.keys, previous)
	}
	return codec, nil
}

// Format prints the codec without its secrets, whatever the verb.
func (c *Codec) Format(w fmt.State, _ rune) { _, _ = fmt.Fprintf(w, "msgcrypt.Codec(%q)", c.receivers) }

// parseKey reads an EncodingAESKey. The last of its 43 characters may have bits that
// belong to no byte, which a strict decoder refuses.
func parseKey(text string) (key, error) {
	if len(text) != keyLength {
		return key{}, fmt.Errorf("has %d characters instead of %d", len(text), keyLength)
	}
	bytes, err := base64.StdEncoding.DecodeString(text + "=")
	if err != nil || len(bytes) != 32 {
		return key{}, errors.New("may have the letters a-z, A-Z, the digits, + and / only")
	}
	block, err := aes.NewCipher(bytes)
	if err != nil {
		return key{}, errors.New("is no AES key") // never happens: there are 32 bytes
	}
	return key{block, bytes[:aes.BlockSize]}, nil
}

// Push is a message as it is pushed: three parameters of the query, and the text of the
// element Encrypt, or the parameter echostr.
type Push struct {
	Signature string // msg_signature
	Timestamp string
	Nonce     string
	Encrypt   string
}

// Message is a decrypted message.
type Message struct {
	Body     []byte
	Receiver string // whom it is for: one of the Receivers, unless OpenEcho has opened it
	Previous bool   // the previous key decrypted it
}

// Open verifies the signature of a push and decrypts its message. The error is one of
// the package's, which errors.Is tells apart, and never quotes the push.
func (c *Codec) Open(p Push) (Message, error) {
	return c.open(p, func(receiver string) bool { return slices.Contains(c.receivers, receiver) })
}

// OpenEcho is Open for what ParseEcho returns, whoever the receiver is: it may be another
// one than that of the events. WeCom checks the URL of a suite as the provider.
//
// The caller sends the message back. So an event is no echo: whoever has a copy of a push
// could have it decrypted.
func (c *Codec) OpenEcho(p Push) (Message, error) {
	m, err := c.open(p, func(string) bool { return true })
	if text := bytes.TrimSpace(m.Body); err == nil && (bytes.HasPrefix(text, []byte("<")) || bytes.HasPrefix(text, []byte("{"))) {
		return Message{}, fmt.Errorf("%w: the message is an event, and no text to be sent back", ErrMalformed)
	}
	return m, err
}

func (c *Codec) open(p Push, accepts func(receiver string) bool) (Message, error) {
	if subtle.ConstantTimeCompare([]byte(c.sign(p)), []byte(p.Signature)) != 1 {
		return Message{}, ErrSignature
	}
	if base64.StdEncoding.DecodedLen(len(p.Encrypt)) > MaxBody {
		return Message{}, fmt.Errorf("%w: more than %d bytes", ErrMalformed, MaxBody)
	}
	text, err := base64.StdEncoding.DecodeString(p.Encrypt)
	if err != nil || len(text) == 0 || len(text)%aes.BlockSize != 0 {
		return Message{}, fmt.Errorf("%w: its text is not base64 of whole AES blocks", ErrMalformed)
	}
	failure := ErrKey
	for i, k := range c.keys {
		body, receiver, ok := k.open(text)
		switch {
		case !ok:
		case accepts(receiver):
			return Message{Body: body, Receiver: receiver, Previous: i > 0}, nil
		default:
			failure = ErrReceiver
		}
	}
	return Message{}, failure
}

// Seal encrypts a message for the first receiver with the current key, and signs it.
func (c *Codec) Seal(message []byte, now time.Time) Push {
	var random [randomLength]byte
	_, _ = rand.Read(random[:]) // never fails
	p := Push{
		Timestamp: strconv.FormatInt(now.Unix(), 10),
		Nonce:     rand.Text(),
		Encrypt:   c.keys[0].seal(random, message, c.receivers[0]),
	}
	p.Signature = c.sign(p)
	return p
}

// sign returns the msg_signature of a push.
func (c *Codec) sign(p Push) string {
	parts := []string{c.token, p.Timestamp, p.Nonce, p.Encrypt}
	slices.Sort(parts)
	sum := sha1.Sum([]byte(strings.Join(parts, ""))) //nolint:gosec // WeChat's algorithm
	return hex.EncodeToString(sum[:])
}

// seal encrypts random bytes, the length of the message, the message and the receiver.
func (k key) seal(random [randomLength]byte, message []byte, receiver string) string {
	text := make([]byte, 0, randomLength+lengthLength+len(message)+len(receiver)+padBlock)
	text = append(text, random[:]...)
	text = binary.BigEndian.AppendUint32(text, uint32(len(message)))
	text = append(text, message...)
	text = append(text, receiver...)
	pad := padBlock - len(text)%padBlock
	for range pad {
		text = append(text, byte(pad))
	}
	cipher.NewCBCEncrypter(k.block, k.iv).CryptBlocks(text, text)
	return base64.StdEncoding.EncodeToString(text)
}

// open undoes seal. It is not ok if the text was not sealed with this key. text is whole
// AES blocks, and is not changed.
func (k key) open(text []byte) (message []byte, receiver string, ok bool) {
	plain := make([]byte, len(text))
	cipher.NewCBCDecrypter(k.block, k.iv).CryptBlocks(plain, text)
	pad := int(plain[len(plain)-1])
	if pad < 1 || pad > padBlock || pad > len(plain)-randomLength-lengthLength {
		return nil, "", false
	}
	for _, b := range plain[len(plain)-pad:] {
		if int(b) != pad {
			return nil, "", false
		}
	}
	length := uint64(binary.BigEndian.Uint32(plain[randomLength:]))
	rest := plain[randomLength+lengthLength : len(plain)-pad]
	if length > uint64(len(rest)) {
		return nil, "", false
	}
	return rest[:length:length], string(rest[length:]), true
}
