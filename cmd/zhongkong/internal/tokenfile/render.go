package tokenfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/template"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator"
)

// CheckTemplate reports what is wrong with a template. It tries it with a record.
func CheckTemplate(text string) error {
	at := time.Date(2026, time.January, 2, 3, 4, 5, 0, time.UTC)
	content, err := File{Account: "wx0123456789abcdef", Template: text}.render(coordinator.Record{
		Token: coordinator.NewToken(strings.Repeat("0123456789", 16)), Generation: 1, IssuedAt: at, ExpiresAt: at.Add(2 * time.Hour),
	})
	if err == nil && len(bytes.TrimSpace(content)) == 0 {
		err = errors.New("it writes nothing: put in {{.access_token}}")
	}
	return err
}

// render returns the content of the file with a token. It depends on the record alone.
// An error does not contain the token.
func (f File) render(r coordinator.Record) ([]byte, error) {
	record := f.record(r)
	if err := record.Check(); err != nil {
		return nil, err
	}
	switch {
	case f.Template != "":
		return f.renderTemplate(r)
	case f.Format == JSON:
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		err := e.Encode(record)
		return b.Bytes(), err
	}
	return []byte(record.AccessToken), nil
}

// record is the record of GET /v1/tokens. A file does not count down, so ExpiresIn is the
// token's whole life.
func (f File) record(r coordinator.Record) wire.Token {
	return wire.Token{
		Name: f.Account, AccessToken: r.Token.Reveal(), Generation: r.Generation,
		IssuedAt: wire.Time{Time: r.IssuedAt}, ExpiresAt: wire.Time{Time: r.ExpiresAt},
		ExpiresIn: int64(r.ExpiresAt.Sub(r.IssuedAt) / time.Second), Attributes: r.Attributes,
	}
}

func (f File) renderTemplate(r coordinator.Record) ([]byte, error) {
	t, err := template.New("line").Option("missingkey=error").Parse(f.Template)
	if err != nil {
		return nil, templateError(err, r.Token)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, fields(f.record(r))); err != nil {
		return nil, templateError(err, r.Token)
	}
	return b.Bytes(), nil
}

// fields are the members of a record, by the names that they have in JSON.
func fields(r wire.Token) map[string]any {
	attributes := r.Attributes
	if attributes == nil {
		attributes = map[string]string{}
	}
	return map[string]any{
		"name": r.Name, "access_token": r.AccessToken, "generation": uint64(r.Generation),
		"issued_at": r.IssuedAt.String(), "expires_at": r.ExpiresAt.String(), "expires_in": r.ExpiresIn,
		"stale": r.Stale, "attributes": attributes,
	}
}

// templateError says what is wrong with a template, without the names of Go's types.
func templateError(err error, token coordinator.Token) error {
	text := strings.TrimPrefix(err.Error(), "template: ")
	if secret := token.Reveal(); secret != "" {
		text = strings.ReplaceAll(text, secret, "[token]")
	}
	if _, name, found := strings.Cut(text, "map has no entry for key "); found {
		return fmt.Errorf("there is no field %s: there are name, access_token, generation, issued_at, expires_at, expires_in, stale and "+
			`attributes (of which {{index .attributes "NAME"}} writes one)`, name)
	}
	return errors.New(text)
}
