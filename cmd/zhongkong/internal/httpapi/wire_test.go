package httpapi

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
)

// The records are encoded by hand, because most requests ask for one.
func TestRecordsHaveTheFormOfTheWirePackage(t *testing.T) {
	s := newStage(t)
	for name, body := range map[string]string{
		"GET /v1/tokens/{name}":          s.ask(reader, "GET", "/v1/tokens/"+wxa, "").body,
		"POST /v1/tokens/{name}/refresh": s.ask(admin, "POST", "/v1/tokens/"+wxa+"/refresh", "").body,
		"datagram":                       string(s.api.Answer(auth.Caller{}, wxa)),
	} {
		record := decodeStrictly[wire.Token](t, name, body)
		if record.Name != wxa || record.AccessToken == "" || record.UseFor == nil || record.IssuedBy != "" {
			t.Errorf("%s: %s", name, body)
		}
	}
	for name, body := range map[string]string{
		"an unknown account":      s.ask(admin, "GET", "/v1/tokens/unknown", "").body,
		"a datagram for an error": string(s.api.Answer(auth.Caller{}, "unknown")),
	} {
		if e := decodeStrictly[wire.Error](t, name, body); e.Code != "unknown_account" || e.Message == "" {
			t.Errorf("%s: %s", name, body)
		}
	}
}

// decodeStrictly decodes a body and checks that T encodes to the same bytes.
func decodeStrictly[T any](t *testing.T, name, body string) T {
	t.Helper()
	var v T
	d := json.NewDecoder(strings.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v: %s", name, err, body)
	}
	again, err := json.Marshal(v)
	if err != nil || !bytes.Equal(again, []byte(strings.TrimSpace(body))) {
		t.Errorf("%s:\n%s\nis not the form of %T:\n%s", name, body, v, again)
	}
	return v
}
