package formdata

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net/url"
	"strings"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
)

// Login is the body of POST /GetToken: the fields name, password and appid in
// any case, with UserName as another spelling of name.
type Login struct {
	url.Values

	// passwords are the decodings of the password if the body was urlencoded.
	passwords []string
}

// ErrMediaType is returned for a body that is neither a form nor a JSON object.
var ErrMediaType = errors.New("send a form (application/x-www-form-urlencoded or multipart/form-data) or a JSON object")

// ParseLogin reads a body whose first bytes say what it is: clients send forms
// of both kinds and JSON, with any Content-Type. An error other than
// ErrMediaType says what is malformed, and does not quote the body.
func ParseLogin(body []byte) (Login, error) {
	body = bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimSpace(body), []byte("\xef\xbb\xbf"))) // C# begins a text with a BOM
	switch {
	case bytes.HasPrefix(body, []byte("{")):
		values, err := parseJSON(body)
		return Login{Values: values}, err
	case bytes.HasPrefix(body, []byte("--")): // no name of a field begins so
		boundary, _, _ := bytes.Cut(body[2:], []byte("\n"))
		values, err := parseMultipart(append([]byte("\r\n"), body...), string(bytes.TrimSpace(boundary)))
		return Login{Values: values}, err
	case bytes.HasPrefix(body, []byte("[")), bytes.HasPrefix(body, []byte("\"")), // other JSON
		bytes.HasPrefix(body, []byte("<")), bytes.HasPrefix(body, []byte("\x1f\x8b")): // XML, gzip
		return Login{}, ErrMediaType
	}
	return parseURLEncoded(bytes.TrimPrefix(body, []byte("?")))
}

// Credentials returns what the fields can mean, the likeliest first; nil if a
// name or a password is missing or given twice.
func (l Login) Credentials() []auth.Credentials {
	c, ok := auth.FromForm(l.Values)
	if !ok {
		return nil
	}
	all := []auth.Credentials{c}
	for _, password := range l.passwords {
		if password != c.Password {
			all = append(all, auth.Credentials{Name: c.Name, Password: password})
		}
	}
	return all
}

// IsAnonymous reports whether the body has neither a name nor a password.
func (l Login) IsAnonymous() bool { return l.Values["name"] == nil && l.Values["password"] == nil }

func parseURLEncoded(body []byte) (Login, error) {
	sent, err := Parse(string(body))
	if err != nil {
		return Login{}, errors.New("the body is not a well-formed form")
	}
	login := Login{Values: make(url.Values)}
	for name, values := range sent {
		for _, value := range values {
			add(login.Values, name, decode(value))
			if strings.EqualFold(name, "password") {
				login.passwords = Decodings(value)
			}
		}
	}
	return login, nil
}

func parseMultipart(body []byte, boundary string) (url.Values, error) {
	malformed := errors.New("the body is not a well-formed multipart form")
	fields := make(url.Values)
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return fields, nil
		}
		if err != nil {
			return nil, malformed
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return nil, malformed
		}
		add(fields, part.FormName(), string(value))
	}
}

// parseJSON reads an object member by member: decoding into a map would hide a
// name that is given twice.
func parseJSON(body []byte) (url.Values, error) {
	malformed := errors.New("the body is not one well-formed JSON object")
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, malformed
	}
	fields := make(url.Values)
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, malformed
		}
		var value any
		if err := d.Decode(&value); err != nil {
			return nil, malformed
		}
		switch v := value.(type) {
		case string:
			add(fields, name.(string), v)
		case json.Number: // a password of digits alone
			add(fields, name.(string), v.String())
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, malformed
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, malformed
	}
	return fields, nil
}

// add adds a value under the canonical name of a field, and drops fields that
// /GetToken does not have.
func add(fields url.Values, name, value string) {
	switch name = strings.ToLower(name); name {
	case "username":
		name = "name"
	case "name", "password", "appid":
	default:
		return
	}
	fields[name] = append(fields[name], value)
}
