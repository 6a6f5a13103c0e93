package msgcrypt

import (
	"testing"
	"time"
)

// FuzzOpen signs whatever it is given, so that the decryption is reached.
func FuzzOpen(f *testing.F) {
	codec := newCodec(f, Config{Token: "t", EncodingAESKey: openKey, PreviousKey: workKey, Receivers: []string{openID, ""}})
	f.Add("1", "2", sealedTicketEvent)
	f.Add("", "", "")
	f.Add("1", "2", codec.Seal(nil, time.Unix(0, 0)).Encrypt)
	f.Fuzz(func(t *testing.T, timestamp, nonce, encrypt string) {
		p := Push{Timestamp: timestamp, Nonce: nonce, Encrypt: encrypt}
		p.Signature = codec.sign(p)
		m, err := codec.Open(p)
		if err != nil && m.Body != nil {
			t.Errorf("Open() = %q and %v", m.Body, err)
		}
		if _, err := ParseXML(m.Body); err == nil && m.Body == nil {
			t.Error("ParseXML() of nothing succeeds")
		}
	})
}

func FuzzParseXML(f *testing.F) {
	for _, seed := range []string{ticketEvent, "", "<xml/>", "<a><b/></a>", "<!DOCTYPE a><a/>", "</a>", "<a></b>", "<a:b></a:b>", "<?xml?><a>&lt;</a>"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		fields, err := ParseXML(document)
		if (err == nil) != (fields != nil) {
			t.Errorf("ParseXML() = %v, %v", fields, err)
		}
	})
}
