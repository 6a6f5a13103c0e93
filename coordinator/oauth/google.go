package oauth

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/httpsource"
)

// GoogleServiceAccount describes a source for the access tokens of a Google service
// account.
type GoogleServiceAccount struct {
	Key    []byte   // the JSON file that the console makes for a key
	Scopes []string // at least one, such as https://www.googleapis.com/auth/cloud-platform

	// Subject is the user on whose behalf the account acts (domain-wide delegation).
	// Empty: the account itself.
	Subject string

	Transport http.RoundTripper // as in Config
}

// Format prints what is described without the key, whatever the verb.
func (g GoogleServiceAccount) Format(w fmt.State, _ rune) {
	_, _ = fmt.Fprintf(w, "oauth.GoogleServiceAccount{%s}", strings.Join(g.Scopes, " "))
}

// MarshalText returns what Format prints.
func (g GoogleServiceAccount) MarshalText() ([]byte, error) { return fmt.Append(nil, g), nil }

// Source validates g and returns the source that it describes. It makes no call. It
// asks the token_uri in the key.
func (g GoogleServiceAccount) Source() (*Source, error) {
	var key struct {
		Type         string `json:"type"`
		ClientEmail  string `json:"client_email"`
		PrivateKeyID string `json:"private_key_id"`
		PrivateKey   string `json:"private_key"`
		TokenURI     string `json:"token_uri"`
	}
	switch err := json.Unmarshal(g.Key, &key); {
	case err != nil:
		return nil, errors.New("key: it is not the JSON file of a service account's key")
	case key.Type != "service_account":
		return nil, fmt.Errorf("key: its type is %q, not service_account", httpsource.OneLine(key.Type))
	case key.ClientEmail == "" || key.PrivateKey == "":
		return nil, errors.New("key: client_email or private_key is missing")
	case len(g.Scopes) == 0:
		return nil, errors.New("scopes: a service account needs at least one")
	}
	source, err := Config{
		TokenURL:      cmp.Or(key.TokenURI, "https://oauth2.googleapis.com/token"),
		Grant:         JWTBearer,
		PrivateKey:    []byte(key.PrivateKey),
		KeyID:         key.PrivateKeyID,
		Issuer:        key.ClientEmail,
		Subject:       g.Subject,
		Claims:        map[string]any{"scope": strings.Join(g.Scopes, " ")},
		Transport:     g.Transport,
		assertionLife: time.Hour, // the token lives no longer than the assertion allows
		vendor:        key.ClientEmail,
	}.Source()
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	return source, nil
}
