package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/coordinator"
)

// postGetToken answers POST /GetToken, the form that old clients send, with
// the bare token. An error has another status than 200, and is a JSON object,
// which nobody takes for a token.
func (a *API) postGetToken(w http.ResponseWriter, r *request) int {
	form, err := a.readFields(w, r)
	if err != nil {
		return a.fail(w, r, err)
	}
	credentials := form.credentials()
	if credentials == nil && form.Values["name"] == nil && form.Values["password"] == nil {
		if c, ok := auth.FromAuthorization(first(r.Header["Authorization"])); ok {
			credentials = append(credentials, c)
		}
	}
	if credentials == nil {
		a.refuse(r, "", noCredentials)
		p := problemCredentials
		p.message = "the form needs name (or UserName) and password (or Password), once each, in the body of the request"
		return answerProblem(w, p)
	}
	if err := a.prove(r, credentials...); err != nil {
		return a.fail(w, r, err)
	}
	name, err := a.meant(r, form.Values["appid"])
	if err != nil {
		return a.fail(w, r, err)
	}
	account, refused := a.permit(r, name)
	if refused != nil {
		return answerProblem(w, *refused)
	}
	s, err := a.current(r, account, firstToken)
	if err != nil {
		return a.fail(w, r, err)
	}
	if s.Stale {
		a.counts.stale.Add(1)
	}
	h := w.Header()
	h["Content-Type"], h["Cache-Control"] = typeText, noStore
	_, _ = w.Write([]byte(s.Token.Reveal())) // the client has gone: nobody to tell
	return http.StatusOK
}

// meant returns the account that a form is about: the one it names, else the
// caller's only one.
func (a *API) meant(r *request, appid []string) (string, error) {
	switch {
	case len(appid) == 1 && appid[0] != "":
		return appid[0], nil
	case len(appid) > 1:
		return "", badf("appid: is given more than once")
	}
	var only *coordinator.Account
	for _, account := range a.zk.Accounts() {
		if !r.caller.May(account.Name()) {
			continue
		}
		if only != nil {
			return "", badf("appid: is needed, because the caller has several accounts")
		}
		only = account
	}
	if only == nil {
		return "", badf("appid: is needed, because none of the caller's accounts is configured")
	}
	return only.Name(), nil
}

// readFields returns the fields that /GetToken knows, however the body has
// them: clients send forms of both kinds and JSON, and do not always say which
// one, or say another. So what the body begins with decides. Fields of the query
// string are none: proxies log them.
func (a *API) readFields(w http.ResponseWriter, r *request) (sentForm, error) {
	body, err := a.read(w, r)
	if err != nil {
		return sentForm{}, err
	}
	body = bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimSpace(body), []byte("\xef\xbb\xbf"))) // as C# begins a text
	switch {
	case bytes.HasPrefix(body, []byte("{")):
		values, err := fieldsOfJSON(body)
		return sentForm{Values: values}, err
	case bytes.HasPrefix(body, []byte("--")): // no field of a form begins so
		boundary, _, _ := bytes.Cut(body[2:], []byte("\n"))
		values, err := fieldsOfParts(append([]byte("\r\n"), body...), string(bytes.TrimSpace(boundary)))
		return sentForm{Values: values}, err
	case bytes.HasPrefix(body, []byte("[")), bytes.HasPrefix(body, []byte("\"")), bytes.HasPrefix(body, []byte("<")), bytes.HasPrefix(body, []byte("\x1f\x8b")):
		return sentForm{}, errMediaType
	}
	return fieldsOf(bytes.TrimPrefix(body, []byte("?")))
}

// sentForm is what /GetToken is asked with.
type sentForm struct {
	url.Values

	// passwords are the readings of the password, the likeliest first, if it
	// was sent in a way that has several.
	passwords []string
}

// credentials returns what the fields may mean, nil if they are none.
func (f sentForm) credentials() []auth.Credentials {
	c, ok := auth.FromForm(f.Values)
	if !ok {
		return nil
	}
	all := []auth.Credentials{c}
	for _, password := range f.passwords {
		if password != c.Password {
			all = append(all, auth.Credentials{Name: c.Name, Password: password})
		}
	}
	return all
}

// fieldsOf reads an urlencoded form.
func fieldsOf(body []byte) (sentForm, error) {
	sent, err := parseFields(string(body))
	if err != nil {
		return sentForm{}, badf("the body is not a well-formed form")
	}
	form := sentForm{Values: make(url.Values)}
	for name, values := range sent {
		for _, value := range values {
			addField(form.Values, name, decode(value))
			if strings.EqualFold(name, "password") {
				form.passwords = readings(value)
			}
		}
	}
	return form, nil
}

func fieldsOfParts(body []byte, boundary string) (url.Values, error) {
	fields := make(url.Values)
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return fields, nil
		}
		if err != nil {
			return nil, badf("the body is not a well-formed multipart form")
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return nil, badf("the body is not a well-formed multipart form")
		}
		addField(fields, part.FormName(), string(value))
	}
}

// fieldsOfJSON reads an object name by name: a map would hide that a name is
// given twice.
func fieldsOfJSON(body []byte) (url.Values, error) {
	malformed := badf("the body is not one well-formed JSON object")
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
			addField(fields, name.(string), v)
		case json.Number: // a password of digits alone
			addField(fields, name.(string), v.String())
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

// addField adds values under the one spelling of a field's name.
func addField(fields url.Values, name string, values ...string) {
	switch name = strings.ToLower(name); name {
	case "username":
		name = "name"
	case "name", "password", "appid":
	default:
		return
	}
	fields[name] = append(fields[name], values...)
}
