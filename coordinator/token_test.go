package coordinator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestTokenShowsItselfToNobody(t *testing.T) {
	const secret = "90_abcdefghijklmnop"
	token := NewToken(secret)
	nested := struct {
		hidden Token
		Shown  *Token
	}{token, &token}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p"} {
		fmt.Fprintf(&out, verb+"\n", token)
		fmt.Fprintf(&out, verb+"\n", &token)
		fmt.Fprintf(&out, verb+"\n", nested)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("text", "token", token, "nested", nested)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("json", "token", token, "nested", nested)
	if err := json.NewEncoder(&out).Encode(map[string]any{"token": token, "nested": nested}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), secret) || strings.Contains(out.String(), fmt.Sprintf("%x", secret)) {
		t.Errorf("the token shows itself in\n%s", &out)
	}
	if token.Reveal() != secret {
		t.Errorf("Reveal() = %q, want %q", token.Reveal(), secret)
	}
}

func TestTokensCompareByTheirCharacters(t *testing.T) {
	tests := []struct {
		a, b string
		want bool
	}{{"x", "x", true}, {"x", "y", false}, {"x", "xy", false}, {"", "", true}, {"", "x", false}}
	for _, tt := range tests {
		if got := NewToken(tt.a).Equal(NewToken(tt.b)); got != tt.want {
			t.Errorf("Equal(%q, %q) = %v, want %v", tt.a, tt.b, got, tt.want)
		}
	}
	if !NewToken("").IsZero() || NewToken("x").IsZero() {
		t.Error("only the empty token is zero")
	}
}
