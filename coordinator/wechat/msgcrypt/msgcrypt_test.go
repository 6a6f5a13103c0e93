package msgcrypt

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// The keys of the vectors. The last character of either has bits that belong to no byte.
const (
	workKey = "4Ma3YBrSBbX2aez8MJpXGBne5LSDwgGqHbhM9WPYIws"
	openKey = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	openID  = "wxb11529c136998cb6"

	ticketEvent = "<xml><AppId><![CDATA[wxb11529c136998cb6]]></AppId><CreateTime>1413192605</CreateTime>" +
		"<InfoType><![CDATA[component_verify_ticket]]></InfoType>" +
		"<ComponentVerifyTicket><![CDATA[ticket@@@abc]]></ComponentVerifyTicket></xml>"
	sealedTicketEvent = "jn1L23DB+6ELqJ+6bruv264GIqOIqkeJAdhivydiKmyAq7HPQN7NvPjxXlYpzKNSwcl5fN+/KJy5VxTBJpNbowRflq92oEUjJuIyVXS45g/IDIH0BG" +
		"XH5nqThcVq4fgOPMInJ0TPY6lzt5IC1v4ftUpr/g8IKKR9dw/DZUi4WzC8GgvxA+QVVIcu7f65DqvJ8BVrMsQ3zHfkuFGphYa7qM3Xgf1aT3Vwh4ouV8aMY4YIzwIA" +
		"8CExgWNKqigev0ULwkbs13kdSJoGBWCgCLKeeV/r89TWElX4SkoZGei8BqPnOLQoEOLZtJS/8XNvohFNtahiR1Mt5RiiDYj8fHqVrQhijsjojaHit2Pstbp1vN3aSn" +
		"FhATFtdkxMl7MpAaav"
)

func newCodec(t testing.TB, c Config) *Codec {
	t.Helper()
	codec, err := c.Codec()
	if err != nil {
		t.Fatalf("Codec() = %v", err)
	}
	return codec
}

func openPlatform(t testing.TB) *Codec {
	return newCodec(t, Config{Token: "pamtest", EncodingAESKey: openKey, Receivers: []string{openID}})
}

func TestMessagesOfWeComAndWeChatOpen(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    Config
		p    Push
		want string
	}{
		{"a message of a WeCom app",
			Config{Token: "kjr2TKI8umCBfVF3wAHk8JiPwma5VBme", EncodingAESKey: workKey, Receivers: []string{"ww6a112864f8022910"}},
			Push{
				Signature: "1ba3cb09c0d2c2b3ed6900d37f91a6efae6cb011", Timestamp: "1583940690", Nonce: "VHh7ymSeb0jc4lSb",
				Encrypt: "6KmUQuPVu7UhjyVqRdbo5SfcRqaHvbUlKSHFvBV2ZuR6TIlKsygcfeSd1GDplg1C5KSKr6UPHCaC/nIX3ZNt9w==",
			},
			"94966531020182955848408"},
		{"a verify ticket of a platform",
			Config{Token: "pamtest", EncodingAESKey: openKey, Receivers: []string{openID}},
			Push{
				Signature: "f55db912ab75d57c4fa2eb885e119e48127382e4", Timestamp: "1409304348", Nonce: "xxxxxx",
				Encrypt: sealedTicketEvent,
			},
			ticketEvent},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := newCodec(t, tt.c).Open(tt.p)
			if err != nil || string(got.Body) != tt.want || got.Receiver != tt.c.Receivers[0] || got.Previous {
				t.Errorf("Open() = %q for %q (previous %t), %v, want %q", got.Body, got.Receiver, got.Previous, err, tt.want)
			}
		})
	}
}

func TestMessagesAreSealedAsWeChatDoes(t *testing.T) {
	random := [randomLength]byte([]byte("aaaabbbbccccdddd"))
	for _, tt := range []struct{ name, message, want string }{
		{"a padding of 7 bytes", "我是中文abcd123",
			"jn1L23DB+6ELqJ+6bruv21Y6MD7KeIfP82D6gU39rmkgczbWwt5+3bnyg5K55bgVtVzd832WzZGMhkP72vVOfg=="},
		{"a whole block of padding", "01234567890123456789012340",
			"jn1L23DB+6ELqJ+6bruv23Dq0qB4jLJj+gWsXyywpxLzzu3t4jGk/K2Selcj62+PT/paVRsdVhHluIvbg35vNRyt8g0in8AcotEg/7CW5LfPRh573137/nMv3fSc+DU8"},
		{"a verify ticket", ticketEvent, sealedTicketEvent},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k, err := parseKey(openKey)
			if err != nil {
				t.Fatal(err)
			}
			if got := k.seal(random, []byte(tt.message), openID); got != tt.want {
				t.Errorf("seal() = %s, want %s", got, tt.want)
			}
		})
	}
}

func TestEveryLengthOfMessageSurvivesSealing(t *testing.T) {
	codec := openPlatform(t)
	for n := range 100 {
		message := bytes.Repeat([]byte("x"), n)
		got, err := codec.Open(codec.Seal(message, time.Unix(1_409_304_348, 0)))
		if err != nil || !bytes.Equal(got.Body, message) || got.Receiver != openID {
			t.Errorf("Open(Seal()) of %d bytes = %q for %q, %v", n, got.Body, got.Receiver, err)
		}
	}
}

func TestTheParametersOfThePushAreSigned(t *testing.T) {
	codec := openPlatform(t)
	for name, change := range map[string]func(*Push){
		"another time":        func(p *Push) { p.Timestamp += "1" },
		"another nonce":       func(p *Push) { p.Nonce += "1" },
		"another text":        func(p *Push) { p.Encrypt = "AAAA" + p.Encrypt },
		"no signature":        func(p *Push) { p.Signature = "" },
		"a signature cut off": func(p *Push) { p.Signature = p.Signature[:39] },
		"capitals":            func(p *Push) { p.Signature = strings.ToUpper(p.Signature) + "G" },
		"another Token's": func(p *Push) {
			*p = sealWith(t, Config{Token: "other", EncodingAESKey: openKey, Receivers: []string{openID}})
		},
		"neither Token nor ID": func(p *Push) {
			*p = sealWith(t, Config{Token: "other", EncodingAESKey: workKey, Receivers: []string{"x"}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := codec.Seal([]byte(ticketEvent), time.Now())
			change(&p)
			if got, err := codec.Open(p); !errors.Is(err, ErrSignature) || got.Body != nil {
				t.Errorf("Open() = %q, %v, want ErrSignature", got.Body, err)
			}
		})
	}
}

func sealWith(t *testing.T, c Config) Push {
	t.Helper()
	return newCodec(t, c).Seal([]byte(ticketEvent), time.Now())
}

func TestAMessageOfThePreviousKeyOpensAfterAChange(t *testing.T) {
	before := sealWith(t, Config{Token: "pamtest", EncodingAESKey: openKey, Receivers: []string{openID}})
	changed := Config{Token: "pamtest", EncodingAESKey: workKey, PreviousKey: openKey, Receivers: []string{openID}}
	got, err := newCodec(t, changed).Open(before)
	if err != nil || string(got.Body) != ticketEvent || !got.Previous {
		t.Errorf("Open() with the previous key = %q (previous %t), %v", got.Body, got.Previous, err)
	}
	after := sealWith(t, Config{Token: "pamtest", EncodingAESKey: workKey, Receivers: []string{openID}})
	if got, err := newCodec(t, changed).Open(after); err != nil || got.Previous {
		t.Errorf("Open() with the current key = previous %t, %v", got.Previous, err)
	}
	changed.PreviousKey = ""
	if _, err := newCodec(t, changed).Open(before); !errors.Is(err, ErrKey) {
		t.Errorf("Open() without the previous key = %v, want ErrKey", err)
	}
}

func TestAMessageForAnotherReceiverIsNotOpened(t *testing.T) {
	other := sealWith(t, Config{Token: "pamtest", EncodingAESKey: openKey, Receivers: []string{"wx0000000000000000"}})
	if _, err := openPlatform(t).Open(other); !errors.Is(err, ErrReceiver) {
		t.Errorf("Open() = %v, want ErrReceiver", err)
	}
	other = sealWith(t, Config{Token: "pamtest", EncodingAESKey: openKey, Receivers: []string{"wx0000000000000000"}})
	both := newCodec(t, Config{Token: "pamtest", EncodingAESKey: openKey, Receivers: []string{openID, "wx0000000000000000"}})
	if got, err := both.Open(other); err != nil || got.Receiver != "wx0000000000000000" {
		t.Errorf("Open() by a codec of both = %q, %v", got.Receiver, err)
	}
}

func TestAnEchoIsOpenedWhoeverItIsForAndAnEventIsNone(t *testing.T) {
	sealer := newCodec(t, Config{Token: "pamtest", EncodingAESKey: openKey, Receivers: []string{"wx0000000000000000"}})
	const text = "1616140317555161061"
	echo := sealer.Seal([]byte(text), time.Now())
	if got, err := openPlatform(t).OpenEcho(echo); err != nil || got.Receiver != "wx0000000000000000" || string(got.Body) != text {
		t.Errorf("OpenEcho() = %+v, %v", got, err)
	}
	echo.Nonce += "x"
	if _, err := openPlatform(t).OpenEcho(echo); !errors.Is(err, ErrSignature) {
		t.Errorf("OpenEcho() with a wrong signature = %v", err)
	}
	for _, event := range []string{ticketEvent, "\n" + ticketEvent, `{"InfoType":"suite_ticket"}`} {
		if got, err := openPlatform(t).OpenEcho(sealer.Seal([]byte(event), time.Now())); !errors.Is(err, ErrMalformed) || len(got.Body) > 0 {
			t.Errorf("OpenEcho() of an event = %+v, %v, want %v", got, err, ErrMalformed)
		}
	}
}

// A holder of the Token alone can sign what does not decrypt to a message.
func TestWhatIsSignedButNoMessageIsAnError(t *testing.T) {
	codec := openPlatform(t)
	sealed := codec.Seal([]byte(ticketEvent), time.Now()).Encrypt
	for _, encrypt := range []string{
		"", "=", "not base64", "AAAA", sealed[:64], sealed[1:], sealed + "AAAA",
		strings.Repeat("A", 64), strings.Repeat("A", 43) + "=", strings.Repeat("A", 2*MaxBody),
	} {
		p := Push{Timestamp: "1", Nonce: "2", Encrypt: encrypt}
		p.Signature = codec.sign(p)
		if got, err := codec.Open(p); err == nil || errors.Is(err, ErrSignature) {
			t.Errorf("Open(%.20q) = %q, %v, want another error", encrypt, got.Body, err)
		}
	}
}

func TestConfigNamesWhatIsWrong(t *testing.T) {
	good := Config{Token: "pamtest", EncodingAESKey: openKey, Receivers: []string{openID}}
	for want, change := range map[string]func(*Config){
		"no Token":    func(c *Config) { c.Token = "" },
		"no receiver": func(c *Config) { c.Receivers = nil },
		"the EncodingAESKey has 42 characters instead of 43":         func(c *Config) { c.EncodingAESKey = openKey[1:] },
		"the EncodingAESKey may have":                                func(c *Config) { c.EncodingAESKey = "-" + openKey[1:] },
		"the previous EncodingAESKey has 3 characters instead of 43": func(c *Config) { c.PreviousKey = "abc" },
	} {
		c := good
		change(&c)
		codec, err := c.Codec()
		if err == nil || codec != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Codec() = %v, want an error with %q", err, want)
			continue
		}
		if strings.Contains(err.Error(), openKey[1:]) {
			t.Errorf("Codec() = %v, which quotes the key", err)
		}
	}
	codec := newCodec(t, good)
	if text := fmt.Sprintf("%v %+v %#v %v %#v", good, good, good, codec, codec); strings.Contains(text, openKey) || strings.Contains(text, "pamtest") {
		t.Errorf("printed: %s", text)
	}
}
