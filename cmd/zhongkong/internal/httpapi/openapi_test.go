package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
)

// node is a piece of the description.
type node = map[string]any

// description is the document with what is needed to check answers by it.
type descriptionDoc struct {
	t    *testing.T
	root node
}

func loadDescription(t *testing.T) descriptionDoc {
	t.Helper()
	var root node
	if err := yaml.Unmarshal(description, &root); err != nil {
		t.Fatal(err)
	}
	return descriptionDoc{t, root}
}

// at follows keys and references.
func (d descriptionDoc) at(n any, keys ...string) node {
	found, _ := d.resolve(n).(node)
	for _, key := range keys {
		if found == nil {
			return nil
		}
		found, _ = d.resolve(found[key]).(node)
	}
	return found
}

func (d descriptionDoc) resolve(n any) any {
	fields, ok := n.(node)
	if !ok {
		return n
	}
	ref, ok := fields["$ref"].(string)
	if !ok {
		return n
	}
	at := d.at(d.root, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
	if at == nil {
		d.t.Fatalf("%s leads nowhere", ref)
	}
	return at
}

// conforms says what is wrong with v by a schema; it knows the keywords that
// the description uses, and no others.
func (d descriptionDoc) conforms(schema, v any, where string) error {
	for keyword, want := range d.at(schema) {
		if err := d.keyword(keyword, want, v, where); err != nil {
			return err
		}
	}
	return nil
}

func (d descriptionDoc) keyword(keyword string, want, v any, where string) error {
	wrong := fmt.Errorf("%s: %v is not by %s: %v", where, v, keyword, want)
	switch keyword {
	case "description", "examples", "default":
		return nil
	case "type":
		kinds, several := want.([]any)
		if !several {
			kinds = []any{want}
		}
		return failIf(!slices.ContainsFunc(kinds, func(kind any) bool { return hasType(v, kind.(string)) }), wrong)
	case "const":
		return failIf(fmt.Sprint(v) != fmt.Sprint(want), wrong)
	case "enum":
		return failIf(!slices.ContainsFunc(want.([]any), func(one any) bool { return fmt.Sprint(one) == fmt.Sprint(v) }), wrong)
	case "not":
		return failIf(d.conforms(want, v, where) == nil, wrong)
	case "oneOf":
		matching := 0
		for _, one := range want.([]any) {
			if d.conforms(one, v, where) == nil {
				matching++
			}
		}
		return failIf(matching != 1, wrong)
	case "minLength":
		return failIf(len(v.(string)) < want.(int), wrong)
	case "maxLength":
		return failIf(len(v.(string)) > want.(int), wrong)
	case "pattern":
		return failIf(!regexp.MustCompile(want.(string)).MatchString(v.(string)), wrong)
	case "minimum":
		return failIf(v.(float64) < float64(want.(int)), wrong)
	case "maximum":
		return failIf(v.(float64) > float64(want.(int)), wrong)
	case "required":
		for _, name := range want.([]any) {
			if _, ok := v.(node)[name.(string)]; !ok {
				return fmt.Errorf("%s: %v is missing", where, name)
			}
		}
	case "properties":
		for name, schema := range want.(node) {
			if value, ok := v.(node)[name]; ok {
				if err := d.conforms(schema, value, where+"."+name); err != nil {
					return err
				}
			}
		}
		// The description allows more, because a later version may answer more.
		for name := range v.(node) {
			if _, ok := want.(node)[name]; !ok {
				return fmt.Errorf("%s: %s is not described", where, name)
			}
		}
	case "additionalProperties": // of an object whose names are not known
		if d.at(want) == nil {
			return fmt.Errorf("%s: clients are to ignore fields that they do not know, and the description has additionalProperties: %v", where, want)
		}
		for name, value := range v.(node) {
			if err := d.conforms(want, value, where+"."+name); err != nil {
				return err
			}
		}
	case "items":
		for i, item := range v.([]any) {
			if err := d.conforms(want, item, fmt.Sprintf("%s[%d]", where, i)); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("%s: this test does not know the keyword %q", where, keyword)
	}
	return nil
}

func failIf(failed bool, err error) error {
	if failed {
		return err
	}
	return nil
}

func hasType(v any, want string) bool {
	switch x := v.(type) {
	case string:
		return want == "string"
	case bool:
		return want == "boolean"
	case float64:
		return want == "number" || want == "integer" && x == float64(int64(x))
	case node:
		return want == "object"
	case []any:
		return want == "array"
	}
	return false
}

// answered checks an answer against the description.
func (d descriptionDoc) answered(path, method string, r reply) error {
	response := d.at(d.root, "paths", path, strings.ToLower(method), "responses", fmt.Sprint(r.status))
	if response == nil {
		return fmt.Errorf("status %d is not described", r.status)
	}
	for name := range d.at(response, "headers") {
		header := d.at(response, "headers", name)
		given := r.header.Get(name)
		if required, _ := header["required"].(bool); required && given == "" {
			return fmt.Errorf("header %s is missing", name)
		}
		if pattern, ok := d.at(header, "schema")["pattern"].(string); ok && !regexp.MustCompile(pattern).MatchString(given) {
			return fmt.Errorf("header %s: %s is not by %s", name, given, pattern)
		}
	}
	content := d.at(response, "content")
	if content == nil {
		return failIf(r.body != "", fmt.Errorf("there is a body: %s", r.body))
	}
	kind, _, err := mime.ParseMediaType(r.header.Get("Content-Type"))
	if err != nil {
		return err
	}
	media := d.at(content, kind)
	if media == nil {
		media = d.at(content, "*/*")
	}
	if media == nil {
		return fmt.Errorf("content type %s is not described", kind)
	}
	if kind != "application/json" {
		return d.conforms(media["schema"], r.body, "body")
	}
	var v any
	if err := json.Unmarshal([]byte(r.body), &v); err != nil {
		return err
	}
	return d.conforms(media["schema"], v, "body")
}

// endpoints returns all that have a path.
func (s *stage) endpoints() []*endpoint {
	return append(slices.Collect(maps.Values(s.api.routes)), s.api.named...)
}

func TestTheDescriptionHasEveryRouteAndNoOther(t *testing.T) {
	d := loadDescription(t)
	s := emptyStage(t)
	described := make(map[string]bool)
	for path, item := range d.at(d.root, "paths") {
		for method := range item.(node) {
			if method != "parameters" {
				described[strings.ToUpper(method)+" "+path] = true
			}
		}
	}
	for _, e := range s.endpoints() {
		for method := range e.methods {
			if method == http.MethodHead {
				continue
			}
			if !described[method+" "+e.path] {
				t.Errorf("%s %s is not described", method, e.path)
			}
			delete(described, method+" "+e.path)
		}
	}
	for left := range described {
		t.Errorf("%s is described and does not exist", left)
	}
}

func TestTheDescriptionHasEveryFieldOfItsRecordsAndNoOther(t *testing.T) {
	d := loadDescription(t)
	for schema, record := range map[string]struct {
		of        reflect.Type
		noServers string // a field that only a process has that reads Redis itself
	}{
		"record":  {reflect.TypeFor[wire.Token](), "issued_by"},
		"account": {reflect.TypeFor[wire.Account](), "overdue_attempts"},
		"grant":   {reflect.TypeFor[wire.Grant](), ""},
		"event":   {reflect.TypeFor[wire.Event](), ""},
	} {
		d.hasFields(d.at(d.root, "components", "schemas", schema), record.of, schema, record.noServers)
	}
}

// hasFields checks that a schema has exactly the fields by which a struct of the wire
// package is encoded, but one, and so on for the structs that it holds.
func (d descriptionDoc) hasFields(schema node, of reflect.Type, where, but string) {
	described := maps.Clone(d.at(schema, "properties"))
	for field := range of.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" || name == but {
			continue
		}
		its := d.at(described, name)
		if its == nil {
			d.t.Errorf("%s.%s is not described", where, name)
		}
		delete(described, name)
		kind := field.Type
		if kind.Kind() == reflect.Slice {
			kind, its = kind.Elem(), d.at(its, "items")
		} else if kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		if kind.Kind() == reflect.Struct && !kind.Implements(reflect.TypeFor[json.Marshaler]()) {
			d.hasFields(its, kind, where+"."+name, "")
		}
	}
	for left := range described {
		d.t.Errorf("%s.%s is described and does not exist", where, left)
	}
}

func TestTheDescriptionKnowsTheFailuresOfEverySource(t *testing.T) {
	d := loadDescription(t)
	for _, kind := range []coordinator.FailureKind{
		coordinator.FailedUnknown, coordinator.FailedBusy, coordinator.FailedLater, coordinator.FailedParent, coordinator.FailedRefused,
	} {
		for _, code := range []coordinator.Code{"", "40001", "invalid_client"} {
			at := wire.Time{Time: time.Unix(1<<30, 0)}
			for schema, record := range map[string]any{
				"account": wire.Account{
					Name: "a", CallsPerDay: 1, Attributes: map[string]string{"instance_url": "https://a.example"}, Repeated: true,
					Parent: "p", ParentError: "no token", LastError: &wire.Failure{Kind: kind, Code: code, At: at},
				},
				"event": wire.Event{
					Time: at, Type: string(coordinator.EventFailed), Attributes: map[string]string{"instance_url": "https://a.example"},
					Kind: kind, Code: code,
				},
			} {
				encoded, err := json.Marshal(record)
				if err != nil {
					t.Fatal(err)
				}
				var v any
				if err := json.Unmarshal(encoded, &v); err != nil {
					t.Fatal(err)
				}
				if err := d.conforms(d.at(d.root, "components", "schemas", schema), v, schema); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

// slowCallers throttles every caller.
type slowCallers struct{}

func (slowCallers) Authenticate(context.Context, netip.Addr, ...auth.Credentials) (auth.Caller, error) {
	return auth.Caller{}, &auth.ThrottledError{Reason: "too many wrong tries", RetryIn: 2 * time.Second}
}

func (slowCallers) Proved(netip.Addr, string, string) (auth.Caller, bool) {
	return auth.Caller{}, false
}

func (slowCallers) Find(string) (auth.Caller, bool) { return auth.Caller{}, false }

// TestEveryDescribedAnswerIsTrue brings about each status that the description
// has, and checks the answer against it.
func TestEveryDescribedAnswerIsTrue(t *testing.T) {
	d := loadDescription(t)
	well := newStage(t, newBook(t).use, takesPushes)
	broken := failingStage(t, coordinatortest.FailsWith(coordinator.FailedRefused, "40125", "invalid appsecret"), newBook(t).use)
	silent := failingStage(t, coordinatortest.Hangs(), newBook(t).use)
	silent.api.Stop() // so that no request is held
	slow := newStage(t, func(c *Config) { c.Callers = slowCallers{} })
	full := newStage(t, func(c *Config) { c.Limits = Limits{Streams: 1} })
	full.api.streams.acquire("another")

	const token, refresh, one = "/v1/tokens/{name}", "/v1/tokens/{name}/refresh", "/accounts/{name}"
	const states, state = "/v1/accounts", "/v1/accounts/{name}"
	const jssdk, sign = "/v1/jssdk/{name}", "/v1/jssdk/" + wxa + "?url=https://m.example.com/"
	const callback = "/callback/{name}"
	const oauth, namedOAuth = "/oauth2/token", "/oauth2/{name}/token"
	const namedMetadata = metadataPath + "/oauth2/{name}"
	mine, theirs := "/v1/tokens/"+wxa, "/v1/tokens/"+wxb
	readerForm := "name=reader&password=reader-password"
	adminForm := "name=admin&password=admin-password&appid=" + wxa
	stable := stableBody(wxa, reader, false)
	large, huge := strings.Repeat(" ", 17<<10), strings.Repeat(" ", 257<<10)
	json := []string{"Accept", "application/json", "Content-Type", formType}
	form := []string{"Content-Type", formType}
	image := foreignPages["an image"]

	seen := make(map[string]bool)
	for _, c := range []struct {
		on                 *stage
		who, method        string
		path, actual, body string
		header             []string
		status             int
	}{
		{well, admin, "GET", token, mine, "", nil, 200},
		{well, admin, "GET", token, mine + "?after=9007199254740991", "", nil, 304},
		{well, admin, "GET", token, mine + "?after=x", "", nil, 400},
		{well, "", "GET", token, mine, "", nil, 401},
		{well, reader, "GET", token, theirs, "", nil, 403},
		{well, admin, "GET", token, "/v1/tokens/none", "", nil, 404},
		{slow, admin, "GET", token, mine, "", nil, 429},
		{broken, admin, "GET", token, mine, "", nil, 502},
		{silent, admin, "GET", token, mine, "", nil, 503},

		{well, admin, "POST", refresh, mine + "/refresh", "", nil, 200},
		{well, admin, "POST", refresh, mine + "/refresh", "x", nil, 400},
		{well, stranger, "POST", refresh, mine + "/refresh", "", nil, 401},
		{well, reader, "POST", refresh, mine + "/refresh", "", nil, 403},
		{well, admin, "POST", refresh, "/v1/tokens/none/refresh", "", nil, 404},
		{well, admin, "POST", refresh, mine + "/refresh", large, nil, 413},
		{slow, admin, "POST", refresh, mine + "/refresh", "", nil, 429},
		{broken, admin, "POST", refresh, mine + "/refresh", "", nil, 502},

		{well, admin, "GET", states, states, "", nil, 200},
		{broken, admin, "GET", states, states, "", nil, 200},
		{well, "", "GET", states, states, "", nil, 401},
		{well, admin, "GET", states, states, "", image, 403},
		{slow, admin, "GET", states, states, "", nil, 429},

		{well, reader, "GET", state, "/v1/accounts/" + wxa, "", nil, 200},
		{silent, admin, "GET", state, "/v1/accounts/" + wxa, "", nil, 200},
		{well, "", "GET", state, "/v1/accounts/" + wxa, "", nil, 401},
		{well, reader, "GET", state, "/v1/accounts/" + wxb, "", nil, 403},
		{well, admin, "GET", state, "/v1/accounts/none", "", nil, 404},
		{slow, admin, "GET", state, "/v1/accounts/" + wxa, "", nil, 429},

		{well, "", "GET", "/v1/events", "/v1/events", "", nil, 401},
		{well, admin, "GET", "/v1/events", "/v1/events", "", image, 403},
		{full, admin, "GET", "/v1/events", "/v1/events", "", nil, 429},

		{well, "", "POST", "/GetToken", "/GetToken", readerForm, form, 200},
		{well, "", "POST", "/GetToken", "/GetToken", "%zz", form, 400},
		{well, "", "POST", "/GetToken", "/GetToken", "", form, 401},
		{well, "", "POST", "/GetToken", "/GetToken", readerForm + "&appid=" + wxb, form, 403},
		{well, "", "POST", "/GetToken", "/GetToken", adminForm + "none", form, 404},
		{well, "", "POST", "/GetToken", "/GetToken", large, form, 413},
		{well, "", "POST", "/GetToken", "/GetToken/", "<a/>", []string{"Content-Type", "application/xml"}, 415},
		{slow, "", "POST", "/GetToken", "/GetToken", readerForm, form, 429},
		{broken, "", "POST", "/GetToken", "/GetToken", readerForm, form, 502},
		{silent, "", "POST", "/GetToken", "/GetToken", readerForm, form, 503},

		{well, "", "GET", "/cgi-bin/token", tokenQuery(wxa, reader), "", nil, 200},
		{well, "", "GET", "/cgi-bin/token", tokenQuery(wxa, stranger), "", nil, 200},
		{silent, "", "GET", "/cgi-bin/token", tokenQuery(wxa, reader), "", nil, 200},
		{well, "", "POST", "/cgi-bin/token", tokenQuery(wxa, reader), "", nil, 200},
		{well, "", "POST", "/cgi-bin/stable_token", "/cgi-bin/stable_token", stable, nil, 200},
		{well, "", "GET", "/cgi-bin/stable_token", "/cgi-bin/stable_token", "", nil, 200},

		{well, admin, "GET", jssdk, sign, "", nil, 200},
		{well, admin, "GET", jssdk, sign + "&x=y", "", nil, 400},
		{well, "", "GET", jssdk, sign, "", nil, 401},
		{well, admin, "GET", jssdk, "/v1/jssdk/" + wxa + "?url=https://evil.example/", "", nil, 403},
		{well, admin, "GET", jssdk, "/v1/jssdk/none", "", nil, 404},
		{slow, admin, "GET", jssdk, sign, "", nil, 429},
		{broken, admin, "GET", jssdk, sign, "", nil, 502},
		{silent, admin, "GET", jssdk, sign, "", nil, 503},

		{well, "", "POST", callback, "/callback/" + wxa, "", nil, 200},
		{well, "", "POST", callback, "/callback/malformed", "", nil, 400},
		{well, "", "POST", callback, "/callback/forged", "", nil, 403},
		{well, "", "POST", callback, "/callback/none", "", nil, 404},
		{well, "", "POST", callback, "/callback/" + wxa, huge, nil, 413},
		{well, "", "POST", callback, "/callback/away", "", nil, 503},
		{well, "", "GET", callback, "/callback/" + wxa, "", nil, 200},
		{well, "", "GET", callback, "/callback/malformed", "", nil, 400},
		{well, "", "GET", callback, "/callback/forged", "", nil, 403},
		{well, "", "GET", callback, "/callback/none", "", nil, 404},
		{well, "", "GET", callback, "/callback/away", "", nil, 503},

		{well, reader, "POST", oauth, "/oauth2/token", grantOnly, form, 200},
		{well, reader, "POST", oauth, "/oauth2/token", "grant_type=password", form, 400},
		{well, stranger, "POST", oauth, "/oauth2/token", grantOnly, form, 401},
		{well, reader, "POST", oauth, "/oauth2/token", grantOnly, image, 403},
		{well, reader, "POST", oauth, "/oauth2/token", large, form, 413},
		{slow, reader, "POST", oauth, "/oauth2/token", grantOnly, form, 429},
		{broken, reader, "POST", oauth, "/oauth2/token", grantOnly, form, 502},
		{silent, reader, "POST", oauth, "/oauth2/token", grantOnly, form, 503},
		{well, reader, "POST", namedOAuth, "/oauth2/" + wxa + "/token", grantOnly, form, 200},
		{well, reader, "POST", namedOAuth, "/oauth2/" + wxa + "/token", "grant_type=password", form, 400},
		{well, stranger, "POST", namedOAuth, "/oauth2/" + wxa + "/token", grantOnly, form, 401},
		{well, reader, "POST", namedOAuth, "/oauth2/" + wxa + "/token", grantOnly, image, 403},
		{well, reader, "POST", namedOAuth, "/oauth2/" + wxa + "/token", large, form, 413},
		{slow, reader, "POST", namedOAuth, "/oauth2/" + wxa + "/token", grantOnly, form, 429},
		{broken, reader, "POST", namedOAuth, "/oauth2/" + wxa + "/token", grantOnly, form, 502},
		{silent, reader, "POST", namedOAuth, "/oauth2/" + wxa + "/token", grantOnly, form, 503},
		{well, "", "GET", metadataPath, metadataPath, "", nil, 200},
		{well, "", "GET", namedMetadata, metadataPath + "/oauth2/none", "", nil, 200},

		{well, "", "GET", "/cgi-bin/gettoken", "/cgi-bin/gettoken?corpid=ww1&corpsecret=" + reader, "", nil, 200},
		{well, "", "POST", "/cgi-bin/gettoken", "/cgi-bin/gettoken?corpid=ww1&corpsecret=" + reader, "", nil, 200},
		{well, "", "GET", "/cgi-bin/gettoken", "/cgi-bin/gettoken", "", nil, 200},
		{well, "", "GET", "/cgi-bin/ticket/getticket", "/cgi-bin/ticket/getticket?type=jsapi&access_token=held", "", nil, 200},
		{well, "", "POST", "/cgi-bin/ticket/getticket", "/cgi-bin/ticket/getticket?type=jsapi&access_token=held", "", nil, 200},
		{well, "", "GET", "/cgi-bin/ticket/getticket", "/cgi-bin/ticket/getticket", "", nil, 200},
		{well, "", "GET", "/cgi-bin/get_jsapi_ticket", "/cgi-bin/get_jsapi_ticket?access_token=held", "", nil, 200},
		{well, "", "POST", "/cgi-bin/get_jsapi_ticket", "/cgi-bin/get_jsapi_ticket?access_token=held", "", nil, 200},
		{well, "", "GET", "/cgi-bin/get_jsapi_ticket", "/cgi-bin/get_jsapi_ticket", "", nil, 200},
		{well, "", "GET", "/cgi-bin/ticket/get", "/cgi-bin/ticket/get?type=agent_config&access_token=held", "", nil, 200},
		{well, "", "POST", "/cgi-bin/ticket/get", "/cgi-bin/ticket/get?type=agent_config&access_token=held", "", nil, 200},
		{well, "", "GET", "/cgi-bin/ticket/get", "/cgi-bin/ticket/get", "", nil, 200},

		{well, "", "POST", componentPath, componentPath, componentBody(reader), nil, 200},
		{well, "", "POST", componentPath, componentPath, componentBody(stranger), nil, 200},
		{well, "", "POST", authorizerPath, authorizerPath + "?component_access_token=held", authorizerBody(neighbor), nil, 200},
		{well, "", "POST", authorizerPath, authorizerPath, authorizerBody(neighbor), nil, 200},
		{well, "", "POST", suitePath, suitePath, suiteBody(reader), nil, 200},
		{well, "", "POST", suitePath, suitePath, suiteBody(stranger), nil, 200},
		{well, "", "POST", corpPath, corpPath + "?suite_access_token=held", corpBody(neighbor), nil, 200},
		{well, "", "POST", corpPath, corpPath, corpBody(neighbor), nil, 200},

		{well, "", "GET", "/healthz", "/healthz", "", nil, 200},
		{well, "", "GET", "/readyz", "/readyz", "", nil, 200},
		{well, stranger, "GET", "/readyz", "/readyz", "", nil, 401},
		{slow, admin, "GET", "/readyz", "/readyz", "", nil, 429},
		{well, "", "GET", "/readyz", "/readyz?all", "", nil, 200},
		{well, "", "GET", "/readyz", "/readyz?account=%zz", "", nil, 400},
		{well, admin, "GET", "/readyz", "/readyz", "", image, 403},
		{broken, "", "GET", "/readyz", "/readyz?all", "", nil, 503},
		{broken, admin, "GET", "/readyz", "/readyz?account=" + wxa, "", nil, 503},

		{well, "", "GET", "/metrics", "/metrics", "", nil, 401},
		{well, reader, "GET", "/metrics", "/metrics", "", nil, 403},
		{slow, admin, "GET", "/metrics", "/metrics", "", nil, 429},

		{well, reader, "GET", "/openapi.yaml", "/openapi.yaml", "", nil, 200},
		{well, "", "GET", "/openapi.yaml", "/openapi.yaml", "", nil, 401},
		{well, admin, "GET", "/openapi.yaml", "/openapi.yaml", "", image, 403},
		{slow, admin, "GET", "/openapi.yaml", "/openapi.yaml", "", nil, 429},

		{well, reader, "GET", "/", "/", "", nil, 200},
		{well, "", "GET", "/", "/", "", nil, 401},
		{well, admin, "GET", "/", "/", "", image, 403},
		{slow, admin, "GET", "/", "/", "", nil, 429},
		{well, admin, "POST", "/", "/", "account=" + wxa, json, 200},
		{well, admin, "POST", "/", "/", "account=" + wxa + "&lang=zh", form, 303},
		{broken, admin, "POST", "/", "/", "account=" + wxa, form, 303},
		{well, admin, "POST", "/", "/", "%zz", form, 400},
		{well, "", "POST", "/", "/", "", form, 401},
		{well, reader, "POST", "/", "/", "account=" + wxa, form, 403},
		{well, admin, "POST", "/", "/", "account=none", form, 404},
		{well, admin, "POST", "/", "/", large, form, 413},
		{well, admin, "POST", "/", "/", "{}", []string{"Content-Type", "application/json"}, 415},
		{slow, admin, "POST", "/", "/", "account=" + wxa, form, 429},
		{broken, admin, "POST", "/", "/", "account=" + wxa, json, 502},

		{well, reader, "GET", one, "/accounts/" + wxa, "", nil, 200},
		{well, "", "GET", one, "/accounts/" + wxa, "", nil, 401},
		{well, reader, "GET", one, "/accounts/" + wxb, "", nil, 403},
		{well, admin, "GET", one, "/accounts/none", "", nil, 404},
		{slow, admin, "GET", one, "/accounts/" + wxa, "", nil, 429},
		{well, admin, "POST", one, "/accounts/" + wxa, "account=" + wxa, json, 200},
		{well, admin, "POST", one, "/accounts/" + wxa, "account=" + wxa + "&lang=zh", form, 303},
		{broken, admin, "POST", one, "/accounts/" + wxa, "account=" + wxa, form, 303},
		{well, admin, "POST", one, "/accounts/" + wxa, "%zz", form, 400},
		{well, "", "POST", one, "/accounts/" + wxa, "", form, 401},
		{well, reader, "POST", one, "/accounts/" + wxa, "account=" + wxa, form, 403},
		{well, admin, "POST", one, "/accounts/" + wxa, "account=none", form, 404},
		{well, admin, "POST", one, "/accounts/" + wxa, large, form, 413},
		{well, admin, "POST", one, "/accounts/" + wxa, "{}", []string{"Content-Type", "application/json"}, 415},
		{slow, admin, "POST", one, "/accounts/" + wxa, "account=" + wxa, form, 429},
		{broken, admin, "POST", one, "/accounts/" + wxa, "account=" + wxa, json, 502},

		{well, "", "GET", "/logout", "/logout", "", nil, 401},
		{well, admin, "GET", "/logout", "/logout", "", image, 403},
	} {
		r := c.on.ask(c.who, c.method, c.actual, c.body, c.header...)
		if r.status != c.status {
			t.Errorf("%s %s as %q: %d %s, want %d", c.method, c.actual, c.who, r.status, r.body, c.status)
			continue
		}
		if err := d.answered(c.path, c.method, r); err != nil {
			t.Errorf("%s %s as %q: %d: %v", c.method, c.actual, c.who, r.status, err)
		}
		seen[fmt.Sprintf("%s %s %d", c.method, c.path, c.status)] = true
	}
	for _, file := range well.api.page.Files() {
		for _, who := range []string{reader, ""} {
			r := well.ask(who, "GET", "/"+file, "")
			if err := d.answered("/"+file, "GET", r); err != nil {
				t.Errorf("GET /%s as %q: %v", file, who, err)
			}
			seen[fmt.Sprintf("GET /%s %d", file, r.status)] = true
		}
	}
	// What other tests bring about: a stream, a race, a store that is away,
	// and the real metrics.
	for _, elsewhere := range []string{
		"GET /v1/events 200", "GET /metrics 200", "POST " + refresh + " 409", "POST / 409", "POST " + refresh + " 503", "POST / 503",
		"POST " + one + " 409", "POST " + one + " 503", "GET " + metadataPath + " 400", "GET " + namedMetadata + " 400",
	} {
		seen[elsewhere] = true
	}
	for _, elsewhere := range grantAnswers {
		seen[elsewhere] = true
	}
	for path, item := range d.at(d.root, "paths") {
		for method, operation := range item.(node) {
			for status := range d.at(operation, "responses") {
				if is := fmt.Sprintf("%s %s %s", strings.ToUpper(method), path, status); !seen[is] {
					t.Errorf("%s is described, but nothing here brings it about", is)
				}
			}
		}
	}
}
