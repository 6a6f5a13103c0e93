package httpsource_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/httpsource/httpsourcetest"
)

// mutants returns the ways in which a preset could be wrong, by name.
func mutants(i *httpsource.Issuer) map[string]func(i *httpsource.Issuer) {
	all := map[string]func(i *httpsource.Issuer){
		"another path":  func(i *httpsource.Issuer) { i.Request.URL += "x" },
		"another token": func(i *httpsource.Issuer) { i.Answer.Token += "x" },
	}
	if i.Request.Method == "POST" && i.Request.Body != "none" {
		other := map[string]string{"form": "json", "json": "form", "query": "form"}[i.Request.Body]
		all["another body"] = func(i *httpsource.Issuer) { i.Request.Body, i.Request.Numbers = other, nil }
	}
	if i.Request.Body == "form" || i.Request.Body == "json" {
		all["another content type"] = func(i *httpsource.Issuer) { i.Request.Headers = map[string]string{"Content-Type": "text/plain"} }
	}
	if i.Answer.Life.Field != "" {
		all["another life"] = func(i *httpsource.Issuer) { i.Answer.Life.Field += "x" }
		all["another unit"] = func(i *httpsource.Issuer) { i.Answer.Life.Unit = "at_seconds" }
	}
	if len(i.Answer.Success) > 0 && i.Answer.Success[0] != "0" {
		all["another success"] = func(i *httpsource.Issuer) { i.Answer.Success = nil }
	}
	for name := range i.Request.Fields {
		all["without "+name] = func(i *httpsource.Issuer) {
			delete(i.Request.Fields, name)
			i.Request.Numbers = slices.DeleteFunc(i.Request.Numbers, func(n string) bool { return n == name })
		}
		all["another "+name] = func(i *httpsource.Issuer) { i.Request.Fields[name] = "x" }
	}
	if i.Request.Sign.Text != "" {
		all["another signature"] = func(i *httpsource.Issuer) { i.Request.Sign.Text += "x" }
		all["another digest"] = func(i *httpsource.Issuer) {
			i.Request.Sign.Algorithm = map[string]string{"md5": "sha256", "sha256": "md5"}[i.Request.Sign.Algorithm]
		}
	}
	return all
}

func TestAWrongPresetIsNoticed(t *testing.T) {
	for _, wire := range httpsourcetest.Wires() {
		preset, _ := httpsource.PresetNamed(wire.Preset)
		text, err := json.Marshal(preset.Issuer)
		if err != nil {
			t.Fatal(err)
		}
		for name, mutate := range mutants(preset.Issuer) {
			wrong, err := httpsource.DecodeIssuer(text)
			if err != nil {
				t.Fatal(err)
			}
			mutate(wrong)
			issuer := httpsourcetest.New(httpsourcetest.Config{Wire: wire, ParentLives: func(token string) bool { return token == theParentToken }})
			source, err := httpsource.Config{Issuer: wrong, Parameters: wire.Parameters, Transport: issuer.Transport()}.Source()
			if err != nil {
				continue // noticed at once
			}
			got, err := source.Fetch(t.Context(), ask(""))
			if err == nil && got.Doubt == "" && len(issuer.Complaints()) == 0 {
				t.Errorf("%s, %s: nothing is wrong", wire.Preset, name)
			}
		}
	}
}
