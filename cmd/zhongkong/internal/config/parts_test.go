package config

import (
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestPresetsAreReadOnlyForAccountsThatMayHaveOne(t *testing.T) {
	for text, want := range map[string]bool{
		"{name: wx1, secret_file: s, tickets: [jsapi]}":           false,
		"{name: c, source: oauth2, token_url: u, scopes: [a]}":    false,
		"{name: h, source: http, preset: feishu_tenant}":          true,
		"{name: wx1, secret_file: s, preset: feishu_tenant}":      true, // to say that it is another source's
		"{name: w, source: wecom, corpid: c, secret: s, typo: 1}": true,
	} {
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatal(err)
		}
		got := slices.ContainsFunc(accountFields(doc.Content[0]), func(f field[Account]) bool { return f.key == "preset" })
		if got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}
