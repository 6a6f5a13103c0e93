package msgcrypt

import (
	"errors"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestAPushSurvivesTheWayOverHTTP(t *testing.T) {
	codec := openPlatform(t)
	sealed := codec.Seal([]byte(ticketEvent), time.Now())
	p, envelope, err := ParsePush(sealed.Query(), sealed.Body("AppId", openID))
	if err != nil || p != sealed || envelope["AppId"] != openID {
		t.Fatalf("ParsePush() = %v of %q, %v, want %v", p, envelope["AppId"], err, sealed)
	}
	message, err := codec.Open(p)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseXML(message.Body)
	want := Fields{
		"AppId": openID, "CreateTime": "1413192605", "InfoType": "component_verify_ticket", "ComponentVerifyTicket": "ticket@@@abc",
	}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("ParseXML() = %v, %v, want %v", got, err, want)
	}
}

func TestAnEchoSurvivesAPlusThatWasNotEncoded(t *testing.T) {
	codec := openPlatform(t)
	sealed := codec.Seal([]byte("1616140317555161061"), time.Now())
	for !strings.Contains(sealed.Encrypt, "+") {
		sealed = codec.Seal([]byte("1616140317555161061"), time.Now())
	}
	for _, echo := range []string{url.QueryEscape(sealed.Encrypt), sealed.Encrypt} {
		query, err := url.ParseQuery(sealed.Query().Encode() + "&echostr=" + echo)
		if err != nil {
			t.Fatal(err)
		}
		p, err := ParseEcho(query)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := codec.Open(p); err != nil || string(got.Body) != "1616140317555161061" {
			t.Errorf("Open() = %q, %v", got.Body, err)
		}
	}
}

func TestParsePushNamesWhatIsMissing(t *testing.T) {
	sealed := openPlatform(t).Seal([]byte(ticketEvent), time.Now())
	good := string(sealed.Body("AppId", openID))
	for _, tt := range []struct{ name, without, body, want string }{
		{"no signature", "msg_signature", good, "no msg_signature"},
		{"no time", "timestamp", good, "no timestamp"},
		{"no nonce", "nonce", good, "no nonce"},
		{"a plain message", "", ticketEvent, "no element Encrypt"},
		{"nothing", "", "", "not XML"},
		{"JSON", "", `{"encrypt":"x"}`, "not XML"},
		{"a DTD", "", `<!DOCTYPE xml [<!ENTITY a "b">]>` + good, "a DTD"},
		{"an entity", "", "<xml><Encrypt>&a;</Encrypt></xml>", "not XML"},
		{"an end of another element", "", "<xml><Encrypt>x</AppId></xml>", "not nested"},
		{"no end", "", "<xml><Encrypt>x</Encrypt>", "not XML"},
		{"a second root", "", good + good, "a second root"},
		{"too long", "", "<xml>" + strings.Repeat(" ", MaxBody) + "</xml>", "more than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			query := sealed.Query()
			query.Del(tt.without)
			_, _, err := ParsePush(query, []byte(tt.body))
			if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ParsePush() = %v, want ErrMalformed with %q", err, tt.want)
			}
		})
	}
	if _, err := ParseEcho(sealed.Query()); !errors.Is(err, ErrMalformed) {
		t.Errorf("ParseEcho() without an echostr = %v, want ErrMalformed", err)
	}
}

func TestParseXMLReadsTheElementsBelowTheRoot(t *testing.T) {
	for _, tt := range []struct {
		name, document string
		want           Fields
	}{
		{"a declaration, a comment and white space", `<?xml version="1.0" encoding="UTF-8"?><!-- c --><xml>` + "\n <A> 1\n</A>\n</xml>\n", Fields{"A": "1"}},
		{"text and CDATA", "<xml><A>1&amp;<![CDATA[<2>]]>3</A></xml>", Fields{"A": "1&<2>3"}},
		{"an element twice", "<xml><A>1</A><A>2</A></xml>", Fields{"A": "1"}},
		{"elements below", "<xml><A><B>1</B><C>2</C></A><B>3</B></xml>", Fields{"A": "", "B": "3"}},
		{"an empty element", "<xml><A/><B></B></xml>", Fields{"A": "", "B": ""}},
		{"an empty root", "<xml/>", Fields{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := ParseXML([]byte(tt.document)); err != nil || !maps.Equal(got, tt.want) {
				t.Errorf("ParseXML() = %v, %v, want %v", got, err, tt.want)
			}
		})
	}
}

func TestXMLIsReadAsItWasWritten(t *testing.T) {
	want := Fields{"A": "]]>", "B": "<&>", "C": ""}
	if got, err := ParseXML(want.XML("A", "B", "C")); err != nil || !maps.Equal(got, want) {
		t.Errorf("ParseXML(%s) = %v, %v, want %v", want.XML("A", "B", "C"), got, err, want)
	}
}
