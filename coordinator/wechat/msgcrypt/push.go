package msgcrypt

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
)

// Fields are the elements directly below the root of an XML document, by name, each with
// its text without space around it. Of elements with the same name the first counts, and
// the text within elements below them is left out.
type Fields map[string]string

// ParsePush reads a POST request: the parameters of its query, and its body. The envelope
// is what is readable in the body without a key: AppId or ToUserName, AgentID, Encrypt. It
// is not proved by the signature.
func ParsePush(query url.Values, body []byte) (p Push, envelope Fields, err error) {
	envelope, err = ParseXML(body)
	if err != nil {
		return Push{}, nil, err
	}
	p = parameters(query)
	p.Encrypt = envelope["Encrypt"]
	if p.Encrypt == "" {
		return Push{}, nil, fmt.Errorf("%w: the body has no element Encrypt: choose the encrypted mode in the console", ErrMalformed)
	}
	return p, envelope, p.check()
}

// ParseEcho reads the GET request by which WeCom verifies a URL when it is saved in the
// console. The answer is the message that OpenEcho finds in the push, as it is.
func ParseEcho(query url.Values) (Push, error) {
	p := parameters(query)
	// A "+" that was not percent-encoded has become a blank, which base64 does not have.
	p.Encrypt = strings.ReplaceAll(query.Get("echostr"), " ", "+")
	if p.Encrypt == "" {
		return Push{}, fmt.Errorf("%w: the query has no echostr", ErrMalformed)
	}
	return p, p.check()
}

func parameters(query url.Values) Push {
	return Push{Signature: query.Get("msg_signature"), Timestamp: query.Get("timestamp"), Nonce: query.Get("nonce")}
}

func (p Push) check() error {
	for _, parameter := range []struct{ name, value string }{
		{"msg_signature", p.Signature}, {"timestamp", p.Timestamp}, {"nonce", p.Nonce},
	} {
		if parameter.value == "" {
			return fmt.Errorf("%w: the query has no %s", ErrMalformed, parameter.name)
		}
	}
	return nil
}

// Query returns the parameters as they are in the query of a push's URL.
func (p Push) Query() url.Values {
	return url.Values{"msg_signature": {p.Signature}, "timestamp": {p.Timestamp}, "nonce": {p.Nonce}, "encrypt_type": {"aes"}}
}

// Body returns the body of a push. The element name (AppId, ToUserName) holds id.
func (p Push) Body(name, id string) []byte {
	return Fields{name: id, "Encrypt": p.Encrypt}.XML(name, "Encrypt")
}

// XML returns a document of the fields with these names, in this order, as WeChat writes
// it. The names must be names of XML.
func (f Fields) XML(names ...string) []byte {
	var b bytes.Buffer
	b.WriteString("<xml>")
	for _, name := range names {
		// "]]>" would end the section.
		text := strings.ReplaceAll(f[name], "]]>", "]]]]><![CDATA[>")
		fmt.Fprintf(&b, "<%s><![CDATA[%s]]></%s>", name, text, name)
	}
	b.WriteString("</xml>")
	return b.Bytes()
}

// ParseXML reads a document of at most MaxBody bytes. A document with a DTD is an error,
// and so is an entity other than the five of XML.
func ParseXML(document []byte) (Fields, error) {
	if len(document) > MaxBody {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrMalformed, MaxBody)
	}
	fields := make(Fields)
	r := reader{fields: fields}
	d := xml.NewDecoder(bytes.NewReader(document))
	for {
		token, err := d.RawToken()
		switch {
		case errors.Is(err, io.EOF) && r.done:
			return fields, nil
		case err != nil:
			return nil, fmt.Errorf("%w: the body is not XML", ErrMalformed) // err quotes the body
		}
		if err := r.read(token); err != nil {
			return nil, err
		}
	}
}

// reader collects the fields of a document.
type reader struct {
	fields Fields
	path   []string // the elements that are open
	text   strings.Builder
	done   bool // the root is closed
}

func (r *reader) read(token xml.Token) error {
	switch t := token.(type) {
	case xml.Directive:
		return fmt.Errorf("%w: the body has a DTD", ErrMalformed)
	case xml.StartElement:
		if r.done {
			return fmt.Errorf("%w: the body has a second root", ErrMalformed)
		}
		r.path = append(r.path, t.Name.Local)
		r.text.Reset()
	case xml.EndElement:
		return r.end(t.Name.Local)
	case xml.CharData:
		const field = 2 // the depth
		if len(r.path) == field {
			r.text.Write(t)
		}
	}
	return nil
}

func (r *reader) end(name string) error {
	last := len(r.path) - 1
	if last < 0 || r.path[last] != name {
		return fmt.Errorf("%w: the body's elements are not nested", ErrMalformed)
	}
	r.path = r.path[:last]
	if _, exists := r.fields[name]; last == 1 && !exists {
		r.fields[name] = strings.TrimSpace(r.text.String())
	}
	r.done = last == 0
	return nil
}
