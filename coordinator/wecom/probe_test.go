package wecom_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wecom"
	"github.com/zhongkong/zhongkong/coordinator/wecom/wecomtest"
)

func TestBySockets(t *testing.T) {
	sandbox := wecomtest.New(wecomtest.Config{})
	server := httptest.NewServer(sandbox)
	defer server.Close()
	ask := coordinator.FetchRequest{Parent: appToken(t, sandbox)}
	for path, c := range allKinds() {
		c.BaseURL = server.URL + "/"
		s, err := c.Source()
		if err != nil {
			t.Fatal(err)
		}
		if got := fetch(t, s, ask); !sandbox.Valid(got.Token.Reveal()) {
			t.Errorf("%s: %+v", path, got)
		}
		sandbox.Inject(wecomtest.Fault{Path: path, Reset: true})
		if failure := failing(t, s, ask); failure.Kind != coordinator.FailedUnknown {
			t.Errorf("%s, reset: %+v", path, failure)
		}
	}
	if err := (wecom.Prober{BaseURL: server.URL}).Probe(t.Context(), ask.Parent.Token); err != nil {
		t.Errorf("Probe = %v", err)
	}
	server.Close()
	closed := newSource(t, sandbox, wecom.Config{CorpID: corpID, Secret: secret, BaseURL: server.URL, Transport: http.DefaultTransport})
	if failure := failing(t, closed, ask); failure.Kind != coordinator.FailedBusy || failure.Calls != 0 {
		t.Errorf("without a server: %+v", failure)
	}
}

func TestProbe(t *testing.T) {
	sandbox := wecomtest.New(wecomtest.Config{})
	probe := wecom.Prober{Transport: sandbox.TransportFrom("203.0.113.7")}
	token := appToken(t, sandbox).Token
	if err := probe.Probe(t.Context(), token); err != nil {
		t.Errorf("Probe = %v", err)
	}
	if err := probe.Probe(t.Context(), coordinator.NewToken("x")); !wecom.Rejected(err) {
		t.Errorf("of garbage: %v, want rejected", err)
	}
	if err := sandbox.SetTrusted(corpID, app, []string{"127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	err := probe.Probe(t.Context(), token)
	if address, ok := wecom.SeenAddress(err); !ok || address != "203.0.113.7" || wecom.Rejected(err) {
		t.Errorf("from an address that is not trusted: %v", err)
	}
	for _, f := range []wecomtest.Fault{{Dial: true}, {Reset: true}, {Status: 502}, {Body: "x"}} {
		sandbox.Inject(f)
		if err := probe.Probe(t.Context(), token); err == nil || wecom.Rejected(err) {
			t.Errorf("%+v: %v", f, err)
		}
	}
}

func TestProbeOfTickets(t *testing.T) {
	sandbox := wecomtest.New(wecomtest.Config{})
	probe := wecom.Prober{Transport: sandbox.Transport()}
	parent := appToken(t, sandbox)
	for _, kind := range []wecom.Kind{wecom.JSAPITicket, wecom.AgentTicket} {
		ticket := fetch(t, newSource(t, sandbox, wecom.Config{Kind: kind}), coordinator.FetchRequest{Parent: parent}).Token
		if err := probe.ProbeTicket(t.Context(), kind, parent.Token, ticket); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if err := probe.ProbeTicket(t.Context(), kind, coordinator.NewToken("x"), ticket); !wecom.Rejected(err) {
			t.Errorf("%s with garbage: %v", kind, err)
		}
		if err := errors.Join(sandbox.EndTicket(corpID, ""), sandbox.EndTicket(corpID, app)); err != nil {
			t.Fatal(err)
		}
		if err := probe.ProbeTicket(t.Context(), kind, parent.Token, ticket); !errors.Is(err, wecom.ErrTicketReplaced) {
			t.Errorf("%s, replaced: %v", kind, err)
		}
		sandbox.Inject(wecomtest.Fault{Body: "{}"})
		if err := probe.ProbeTicket(t.Context(), kind, parent.Token, ticket); err == nil || errors.Is(err, wecom.ErrTicketReplaced) {
			t.Errorf("%s, nothing: %v", kind, err)
		}
	}
	if err := probe.ProbeTicket(t.Context(), wecom.App, parent.Token, parent.Token); err == nil {
		t.Error("a token is no ticket: no error")
	}
}
