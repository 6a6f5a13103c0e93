package sdktest

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"text/template"

	"github.com/PaesslerAG/jsonpath"
	"go.yaml.in/yaml/v3"
)

// resource is what External Secrets' webhook provider reads of the page.
type resource struct {
	Kind string
	Spec struct {
		Provider struct {
			Webhook struct {
				URL     string
				Headers map[string]string
				Result  struct {
					JSONPath string `yaml:"jsonPath"`
				}
				Secrets []struct {
					Name      string
					SecretRef struct{ Name string } `yaml:"secretRef"`
				}
			}
		}
		RefreshInterval string                      `yaml:"refreshInterval"`
		SecretStoreRef  struct{ Kind, Name string } `yaml:"secretStoreRef"`
		Target          struct{ Name string }
		Data            []struct {
			SecretKey string                         `yaml:"secretKey"`
			RemoteRef struct{ Key, Property string } `yaml:"remoteRef"`
		}
	}
	APIVersion string `yaml:"apiVersion"`
	Metadata   struct{ Name string }
}

// externalSecrets does with the page's YAML what the webhook provider
// does, with the libraries that it uses: its own package needs four minutes of a
// processor to compile, because it links Kubernetes' clients.
func (s *stack) externalSecrets(t *testing.T, appID string) {
	var store, secret resource
	page := strings.ReplaceAll(blocksOf(t, recipesPage, "yaml")[1], "wx8acdb7df5beb68fd", appID)
	decoder := yaml.NewDecoder(strings.NewReader(page))
	decoder.KnownFields(true)
	for _, into := range []*resource{&store, &secret} {
		if err := decoder.Decode(into); err != nil {
			t.Fatal(err)
		}
	}
	if store.Kind != "SecretStore" || secret.Kind != "ExternalSecret" || secret.Spec.SecretStoreRef.Name != store.Metadata.Name {
		t.Fatalf("%+v and %+v do not belong together", store, secret)
	}
	made := blocksOf(t, recipesPage, "sh")[1]
	for _, ref := range store.Spec.Provider.Webhook.Secrets {
		if !strings.Contains(made, "generic "+ref.SecretRef.Name+" ") || !strings.Contains(made, "secret "+ref.SecretRef.Name+" external-secrets.io/type=webhook") {
			t.Errorf("the commands do not make the Secret %s", ref.SecretRef.Name)
		}
	}
	webhook, wanted := store.Spec.Provider.Webhook, secret.Spec.Data[0]
	values := map[string]map[string]string{
		"remoteRef": {"key": wanted.RemoteRef.Key, "property": wanted.RemoteRef.Property}, // nothing in them is escaped
		"caller":    {"name": caller, "password": key},
	}
	filled := func(text string) string {
		var b strings.Builder
		if err := template.Must(template.New("webhook").Parse(text)).Execute(&b, values); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
		strings.Replace(filled(webhook.URL), "http://zhongkong.zhongkong.svc:8080", s.zhongkong, 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range webhook.Headers {
		request.Header.Add(name, filled(value))
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var got any
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v: %v", answer.Status, err, got)
	}
	token, err := jsonpath.Get(filled(webhook.Result.JSONPath), got)
	if err != nil || token != s.record(appID).AccessToken {
		t.Errorf("the Secret gets %v, %v", token, err)
	}
}
