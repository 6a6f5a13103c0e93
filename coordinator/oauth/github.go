package oauth

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
)

// GitHubApp describes a source for the installation access tokens of a GitHub App. They
// live for an hour, and a new one leaves the others alive.
type GitHubApp struct {
	AppID          string // the App's id, or its client id
	InstallationID string
	PrivateKey     []byte // the PEM file that GitHub made

	// Repositories (names without the owner) and Permissions ("contents": "read") narrow
	// what the token may do. Empty: everything that the installation may.
	Repositories []string
	Permissions  map[string]string

	// APIBase is https://api.github.com if empty; https://HOST/api/v3 for a GitHub
	// Enterprise Server.
	APIBase string

	Transport http.RoundTripper // as in Config
}

// Format prints what is described without the key, whatever the verb.
func (a GitHubApp) Format(w fmt.State, _ rune) {
	_, _ = fmt.Fprintf(w, "oauth.GitHubApp{%s %s}", a.AppID, a.InstallationID)
}

// MarshalText returns what Format prints.
func (a GitHubApp) MarshalText() ([]byte, error) { return fmt.Append(nil, a), nil }

// Source validates a and returns the source that it describes. It makes no call.
func (a GitHubApp) Source() (*Source, error) {
	base := strings.TrimRight(cmp.Or(a.APIBase, "https://api.github.com"), "/")
	installation, err := strconv.ParseUint(a.InstallationID, 10, 64)
	switch {
	case a.AppID == "" || !vschar(a.AppID):
		return nil, errors.New("app_id: it is missing or holds a control or a non-ASCII character")
	case err != nil:
		return nil, errors.New("installation_id: it must be a number; it ends the address of the installation's settings page")
	case len(a.PrivateKey) == 0:
		return nil, errors.New("private_key: it is missing")
	}
	if err := checkURL("api_base", base); err != nil {
		return nil, err
	}
	key, err := newSigner(a.PrivateKey, "", "RS256")
	if err != nil {
		return nil, fmt.Errorf("private_key: %w", err)
	}
	body, err := json.Marshal(struct {
		Repositories []string          `json:"repositories,omitempty"`
		Permissions  map[string]string `json:"permissions,omitempty"`
	}{a.Repositories, a.Permissions})
	if err != nil {
		return nil, fmt.Errorf("permissions: %w", err)
	}
	address := fmt.Sprintf("%s/app/installations/%d/access_tokens", base, installation)
	return &Source{
		name:        a.AppID,
		endpoint:    place(address),
		issuer:      &installationRequest{appID: a.AppID, url: address, body: string(body), signer: key},
		client:      newClient(a.Transport, 0),
		timeout:     defaultTimeout,
		credential:  source.Fingerprint(string(a.PrivateKey), "github_app", a.AppID, address, string(body)),
		description: describe(coordinator.RepeatKeeps),
		hidden:      true,
	}, nil
}

// installationRequest is GitHub as an issuer.
type installationRequest struct {
	appID, url, body string
	signer           *signer
}

func (i *installationRequest) message(now time.Time, _ coordinator.FetchRequest) (*message, error) {
	// GitHub allows ten minutes from iat to exp, and advises an iat a minute in the past
	// for clocks that are fast.
	assertion, err := i.signer.assertion(now, 9*time.Minute, map[string]any{
		"iss": i.appID, "iat": now.Add(-time.Minute).Unix(),
	})
	if err != nil {
		return nil, err
	}
	m := &message{url: i.url, body: i.body, sent: now, header: http.Header{
		"Authorization":        {"Bearer " + assertion},
		"Accept":               {"application/vnd.github+json"},
		"Content-Type":         {"application/json"},
		"X-Github-Api-Version": {"2022-11-28"},
	}}
	m.hide(assertion)
	return m, nil
}

func (i *installationRequest) grant(r reply) (grant, *coordinator.FetchError) {
	m, err := r.members()
	if err != nil {
		return grant{}, r.unreadable(err, false)
	}
	if r.Status/100 != 2 {
		said := &Error{Code: coordinator.NumericCode(r.Status), Description: r.clean(m.text("message")), Status: r.Status}
		return grant{}, r.refused(said, classifyGitHub(r))
	}
	g, err := m.token("token")
	if err != nil {
		return grant{}, r.unreadable(err, false)
	}
	ends, err := time.Parse(time.RFC3339, m.text("expires_at"))
	// By GitHub's own clock, lest this machine's be off.
	switch g.life = ends.Sub(r.Now()); {
	case err != nil:
		g.life = source.CautiousLife
		g.doubt("expires_at is missing or not a time, so the token is taken to live for " + g.life.String())
	case g.life < time.Second:
		g.life = source.CautiousLife
		g.doubt("expires_at has passed, so the token is taken to live for " + g.life.String())
	}
	return g, nil
}

// classifyGitHub returns the class of a failed request for an installation token.
func classifyGitHub(r reply) Class {
	limited := r.Header.Get("X-Ratelimit-Remaining") == "0" || r.Header.Get("Retry-After") != ""
	switch {
	case r.Status == http.StatusForbidden && limited, r.Status == http.StatusTooManyRequests:
		class := classifyStatus(http.StatusTooManyRequests)
		if reset, err := strconv.ParseInt(r.Header.Get("X-Ratelimit-Reset"), 10, 64); err == nil {
			class.RetryIn = max(time.Minute, min(time.Unix(reset, 0).Sub(r.Now()), coordinator.MaxRetry))
		}
		return class
	case r.Status == http.StatusUnauthorized:
		return Class{Kind: coordinator.FailedRefused, Meaning: "GitHub does not accept the App's assertion",
			Hint: "check app_id, private_key and this machine's clock"}
	case r.Status == http.StatusForbidden:
		return Class{Kind: coordinator.FailedRefused, Meaning: "the installation may not have a token",
			Hint: "check whether the installation is suspended"}
	case r.Status == http.StatusNotFound:
		return Class{Kind: coordinator.FailedRefused, Meaning: "the App has no such installation",
			Hint: "check installation_id, and that the App is still installed"}
	case r.Status == http.StatusUnprocessableEntity:
		return Class{Kind: coordinator.FailedRefused, Meaning: "the installation does not have what is asked for",
			Hint: "check repositories and permissions"}
	}
	return classifyStatus(r.Status)
}
