package httpsource_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/httpsource/httpsourcetest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

// theParentToken is valid at the simulators of issuers that need another account's.
const theParentToken = "parent-token-0123456789"

// eachPreset runs a test for each preset, on virtual time.
func eachPreset(t *testing.T, test func(t *testing.T, wire httpsourcetest.Wire, issuer *httpsourcetest.Server)) {
	t.Helper()
	for _, wire := range httpsourcetest.Wires() {
		t.Run(wire.Preset, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				issuer := httpsourcetest.New(httpsourcetest.Config{Wire: wire, ParentLives: func(token string) bool { return token == theParentToken }})
				test(t, wire, issuer)
				for _, complaint := range issuer.Complaints() {
					t.Errorf("the request differs from the documentation: %s", complaint)
				}
			})
		})
	}
}

func presetSource(t *testing.T, wire httpsourcetest.Wire, rt http.RoundTripper) *httpsource.Source {
	t.Helper()
	s, err := httpsource.Config{Preset: wire.Preset, Parameters: wire.Parameters, Transport: rt}.Source()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask is what a coordinator asks with.
func ask(current string) coordinator.FetchRequest {
	return coordinator.FetchRequest{
		Reason: coordinator.ReasonSchedule, Current: coordinator.NewToken(current),
		Parent: coordinator.Record{Token: coordinator.NewToken(theParentToken)},
	}
}

// recorder remembers the URLs of requests.
type recorder struct {
	http.RoundTripper
	urls []string
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.urls = append(r.urls, req.URL.Scheme+"://"+req.URL.Host+req.URL.Path)
	return r.RoundTripper.RoundTrip(req)
}

func TestEveryPresetHasAWireAndEveryWireAPreset(t *testing.T) {
	var presets, wires []string
	for _, p := range httpsource.Presets() {
		presets = append(presets, p.Name)
		if i := p.Issuer; i.Title == "" || !strings.HasPrefix(i.Documentation, "https://") {
			t.Errorf("%s: title %q, documentation %q", p.Name, i.Title, i.Documentation)
		}
		for _, parameter := range p.Issuer.Parameters {
			if parameter.Meaning == "" {
				t.Errorf("%s: the parameter %s has no meaning", p.Name, parameter.Name)
			}
		}
	}
	for _, w := range httpsourcetest.Wires() {
		wires = append(wires, w.Preset)
	}
	slices.Sort(wires)
	if !slices.Equal(presets, wires) {
		t.Errorf("presets %v, wires %v", presets, wires)
	}
}

func TestPresetsAskAsDocumentedAndReadTheAnswer(t *testing.T) {
	eachPreset(t, func(t *testing.T, wire httpsourcetest.Wire, issuer *httpsourcetest.Server) {
		rec := &recorder{RoundTripper: issuer.Transport()}
		source := presetSource(t, wire, rec)
		got, err := source.Fetch(t.Context(), ask(""))
		if err != nil {
			t.Fatal(err)
		}
		if got.Token.Reveal() != issuer.Issued()[0] || got.Lifetime != wire.Knobs.Life || got.Doubt != "" || got.Calls != 1 {
			t.Errorf("Fetch() = %q for %v, doubt %q, %d calls", got.Token.Reveal(), got.Lifetime, got.Doubt, got.Calls)
		}
		for path := range source.Issuer().Answer.Attributes {
			if value := got.Attributes[path]; strings.Contains(wire.Answer, `"`+path+`"`) != (value != "") {
				t.Errorf("attribute %s = %q of %s", path, value, wire.Answer)
			}
		}
		_, address, _ := strings.Cut(strings.Split(wire.Request, "\n")[0], " ")
		address, _, _ = strings.Cut(address, "?")
		for name, value := range wire.Parameters {
			address = strings.ReplaceAll(address, "{"+name+"}", value)
		}
		if !slices.Equal(rec.urls, []string{address}) {
			t.Errorf("asked %v, want %s", rec.urls, address)
		}
	})
}

func TestPresetsKnowWhatACallDoes(t *testing.T) {
	eachPreset(t, func(t *testing.T, wire httpsourcetest.Wire, issuer *httpsourcetest.Server) {
		source := presetSource(t, wire, issuer.Transport())
		d, i := source.Description(), source.Issuer()
		if d.Repeat != wire.Knobs.Repeat || time.Duration(i.Rollover) != wire.Knobs.Rollover {
			t.Errorf("repeat %q, rollover %v", d.Repeat, time.Duration(i.Rollover))
		}
		if wire.Knobs.Repeat == coordinator.RepeatKills && time.Duration(i.Overlap) != wire.Knobs.Overlap {
			t.Errorf("overlap %v, want %v", time.Duration(i.Overlap), wire.Knobs.Overlap)
		}
		if k := wire.Knobs; k.Calls > 0 && k.Calls < 10000 && (d.Limits.PerDay != k.Calls || d.Limits.Window != k.Window) {
			t.Errorf("limits %+v, want %d in %v", d.Limits, k.Calls, k.Window)
		}
		if d.Repeat == coordinator.RepeatSame && d.Limits.MinInterval < 30*time.Second {
			t.Errorf("minimum interval %v", d.Limits.MinInterval)
		}
	})
}

func TestPresetsClassifyEachFailure(t *testing.T) {
	eachPreset(t, func(t *testing.T, wire httpsourcetest.Wire, issuer *httpsourcetest.Server) {
		source := presetSource(t, wire, issuer.Transport())
		for _, f := range wire.Failures {
			issuer.Inject(httpsourcetest.Fault{Reply: f.Reply})
			_, err := source.Fetch(t.Context(), ask("the-current-token"))
			var failed *coordinator.FetchError
			if !errors.As(err, &failed) || failed.Kind != f.Kind || failed.Code != f.Code || failed.RetryIn != f.RetryIn || failed.Calls != 1 {
				t.Errorf("%s: %#v, want %s %s in %v", f.Body, failed, f.Kind, f.Code, f.RetryIn)
			}
		}
	})
}

func TestPresetsAreRefusedWithAWrongSecret(t *testing.T) {
	eachPreset(t, func(t *testing.T, wire httpsourcetest.Wire, issuer *httpsourcetest.Server) {
		parameters := maps.Clone(wire.Parameters)
		preset, _ := httpsource.PresetNamed(wire.Preset)
		wrong := coordinator.FetchRequest{}
		want := coordinator.FailedParent
		for _, p := range preset.Issuer.Parameters {
			if p.Secret {
				parameters[p.Name], wrong, want = "sesame-sesame", ask(""), coordinator.FailedRefused
			}
		}
		source, err := httpsource.Config{Preset: wire.Preset, Parameters: parameters, Transport: issuer.Transport()}.Source()
		if err != nil {
			t.Fatal(err)
		}
		_, err = source.Fetch(t.Context(), wrong)
		var failed *coordinator.FetchError
		if !errors.As(err, &failed) || failed.Kind != want || failed.Code == "" {
			t.Errorf("Fetch() = %v, want %s", err, want)
		}
	})
}

func TestPresetsSurviveWhatGatewaysDo(t *testing.T) {
	eachPreset(t, func(t *testing.T, wire httpsourcetest.Wire, issuer *httpsourcetest.Server) {
		source := presetSource(t, wire, issuer.Transport())
		for name, c := range map[string]struct {
			fault httpsourcetest.Fault
			kind  coordinator.FailureKind // "": a token
		}{
			"a page with 502":        {httpsourcetest.Fault{Reply: httpsourcetest.Reply{Status: 502, Body: "<html>Bad Gateway</html>"}, Issue: true}, coordinator.FailedUnknown},
			"a page with 404":        {httpsourcetest.Fault{Reply: httpsourcetest.Reply{Status: 404, Body: "Not Found"}}, coordinator.FailedBusy},
			"a lost answer":          {httpsourcetest.Fault{Cut: true, Issue: true}, coordinator.FailedUnknown},
			"an empty body":          {httpsourcetest.Fault{Issue: true, Transform: func(string) string { return "" }}, coordinator.FailedUnknown},
			"too long":               {httpsourcetest.Fault{Issue: true, Transform: func(b string) string { return strings.Repeat(" ", httpsource.MaxBody) + b }}, coordinator.FailedUnknown},
			"a byte order mark":      {httpsourcetest.Fault{Issue: true, Transform: func(b string) string { return "\xef\xbb\xbf" + b }}, ""},
			"text around":            {httpsourcetest.Fault{Issue: true, Transform: func(b string) string { return "<!-- proxy {} -->" + b + "<!-- -->" }}, ""},
			"another status":         {httpsourcetest.Fault{Reply: httpsourcetest.Reply{Status: 203}, Issue: true, Transform: func(b string) string { return b }}, ""},
			"the last brace missing": {httpsourcetest.Fault{Issue: true, Transform: func(b string) string { return strings.TrimSuffix(b, "}") }}, ""},
		} {
			issuer.Inject(c.fault)
			got, err := source.Fetch(t.Context(), ask(""))
			var failed *coordinator.FetchError
			switch errors.As(err, &failed); {
			case c.kind == "" && (err != nil || got.Token.Reveal() != last(issuer.Issued())):
				t.Errorf("%s: %v", name, err)
			case c.kind != "" && (failed == nil || failed.Kind != c.kind):
				t.Errorf("%s: %#v, want %s", name, failed, c.kind)
			}
		}
	})
}

func last(values []string) string { return values[len(values)-1] }

func TestPresetsTakeTokensOf32KB(t *testing.T) {
	eachPreset(t, func(t *testing.T, wire httpsourcetest.Wire, issuer *httpsourcetest.Server) {
		issuer.Tune(func(k *httpsourcetest.Knobs) { k.Length = maxToken })
		got, err := presetSource(t, wire, issuer.Transport()).Fetch(t.Context(), ask(""))
		if err != nil || len(got.Token.Reveal()) != maxToken {
			t.Errorf("%d bytes, %v", len(got.Token.Reveal()), err)
		}
	})
}

func TestPresetsNeverQuoteASecret(t *testing.T) {
	eachPreset(t, func(t *testing.T, wire httpsourcetest.Wire, issuer *httpsourcetest.Server) {
		source := presetSource(t, wire, issuer.Transport())
		secrets := []string{theParentToken, "the-current-token"}
		for _, p := range source.Issuer().Parameters {
			if p.Secret {
				secrets = append(secrets, wire.Parameters[p.Name])
			}
		}
		var errs []error
		for _, f := range wire.Failures {
			for _, secret := range secrets {
				body := f.Body
				if at := strings.LastIndex(body, `":"`); at > 0 {
					body = body[:at+3] + "you sent " + secret + " " + body[at+3:]
				}
				issuer.Inject(httpsourcetest.Fault{Reply: httpsourcetest.Reply{Status: f.Status, Body: body}})
				_, err := source.Fetch(t.Context(), ask("the-current-token"))
				errs = append(errs, err)
			}
		}
		refusing := presetSource(t, wire, failing(fmt.Errorf("dial with %s", strings.Join(secrets, " "))))
		_, err := refusing.Fetch(t.Context(), ask("the-current-token"))
		errs = append(errs, err)
		errs = append(errs, fmt.Errorf("%v %+v %#v %s", source, source, source, source.Credential()))
		for _, secret := range secrets {
			for _, err := range errs {
				if strings.Contains(fmt.Sprintf("%v %+v", err, errors.Unwrap(err)), secret) {
					t.Errorf("the error quotes %s: %v", secret, err)
				}
			}
		}
	})
}

func TestPresetsProbeTheirTokens(t *testing.T) {
	eachPreset(t, func(t *testing.T, wire httpsourcetest.Wire, issuer *httpsourcetest.Server) {
		source := presetSource(t, wire, issuer.Transport())
		if source.Issuer().Probe.URL == "" {
			if err := source.Probe(t.Context(), coordinator.NewToken("x")); !errors.Is(err, httpsource.ErrNoProbe) {
				t.Errorf("Probe() = %v, want ErrNoProbe", err)
			}
			return
		}
		got, err := source.Fetch(t.Context(), ask(""))
		if err != nil {
			t.Fatal(err)
		}
		if err := source.Probe(t.Context(), got.Token); err != nil {
			t.Errorf("Probe() = %v of a valid token", err)
		}
		issuer.Revoke()
		if err := source.Probe(t.Context(), got.Token); !errors.Is(err, httpsource.ErrRejected) || strings.Contains(err.Error(), got.Token.Reveal()) {
			t.Errorf("Probe() = %v of a dead token", err)
		}
	})
}

func TestPresetsPutTheTokenWhereItBelongs(t *testing.T) {
	eachPreset(t, func(t *testing.T, wire httpsourcetest.Wire, issuer *httpsourcetest.Server) {
		source := presetSource(t, wire, issuer.Transport())
		use := source.Use()
		if wire.Use == "" {
			return
		}
		got, err := source.Fetch(t.Context(), ask(""))
		if err != nil {
			t.Fatal(err)
		}
		for _, token := range []string{got.Token.Reveal(), "a-dead-token"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, use.Base+"/business?a=1", nil)
			if err != nil {
				t.Fatal(err)
			}
			use.Apply(req, token)
			answer, err := httpsource.NewClient(issuer.Transport(), 0).Do(req, httpsource.MaxBody)
			if err != nil {
				t.Fatal(err)
			}
			lives := token == got.Token.Reveal()
			if !lives && len(use.RejectedCodes)+len(use.RejectedStatuses) == 0 {
				continue // how the issuer rejects a token is not documented
			}
			if source.Issuer().RejectsToken(answer) == lives {
				t.Errorf("a token that is valid: %t: %d %s", lives, answer.Status, answer.Body)
			}
		}
	})
}

func TestFiveColdProcessesMakeOneCall(t *testing.T) {
	eachPreset(t, func(t *testing.T, wire httpsourcetest.Wire, issuer *httpsourcetest.Server) {
		store := memstore.New()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		var running sync.WaitGroup
		results := make(chan string)
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			source := presetSource(t, wire, issuer.Transport())
			c, err := coordinator.New(coordinator.Config{
				Store:    store.Instance(name),
				Accounts: []coordinator.AccountConfig{{Name: "account", Source: withParent{source}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			running.Go(func() { _ = c.Run(ctx) })
			running.Go(func() {
				token, err := c.Token(ctx, "account")
				results <- token.Reveal() + fmt.Sprint(err)
			})
		}
		for range 5 {
			if got := <-results; got != issuer.Issued()[0]+"<nil>" {
				t.Errorf("a process has %s", got)
			}
		}
		if n := issuer.Calls(); n != 1 {
			t.Errorf("%d calls, want 1", n)
		}
		cancel()
		running.Wait()
	})
}

// withParent is a Source whose parent has a token, as a coordinator supplies it.
type withParent struct{ *httpsource.Source }

func (w withParent) Fetch(ctx context.Context, req coordinator.FetchRequest) (coordinator.FetchResult, error) {
	req.Parent = ask("").Parent
	return w.Source.Fetch(ctx, req)
}
