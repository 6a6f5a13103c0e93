package proxy

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestAPhantomsHolderCannotAskForPartsOfTheToken(t *testing.T) {
	s := newStage(t, weChatRoute(t, serve(t, http.HandlerFunc(echo))), &fixed{}, nil)
	ranged := []string{"Range: bytes=0-9", "If-Range: x"}
	w := callWith(s, "GET", "/proxy/wx/x?access_token="+s.phantom(t, "veil", time.Hour), "", ranged...)
	if got := w.Body.String(); !strings.HasPrefix(got, "GET /x") || strings.Contains(got, "Range") {
		t.Errorf("a phantom: %s", got)
	}
	if got := callWith(s, "GET", "/proxy/wx/x", "", append(ranged, "Authorization: "+basic)...).Body.String(); !strings.Contains(got, "Range: bytes=0-9") {
		t.Errorf("one with the token: %s", got)
	}
}

func TestTheBeginningOfASecretAtTheEndOfACutBodyIsMasked(t *testing.T) {
	const secret = "T0KEN-of-the-account"
	for kept := 1; kept < len(secret); kept++ {
		text := "bad token " + secret[:kept]
		want := "bad token " + strings.Repeat("*", kept)
		cut := io.MultiReader(strings.NewReader(text), iotest.ErrReader(io.ErrUnexpectedEOF))
		if got, err := io.ReadAll(newMasked(cut, secretsOf(secret), -1)); string(got) != want || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
}

// A body that ends with its connection may have been cut: its end says nothing.
func TestTheBeginningOfTheTokenAtTheEndOfAConnectionIsMasked(t *testing.T) {
	account := &fixed{}
	upstream := serveRaw(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nbad token "+account.text()[:15])
		_ = conn.Close()
	})
	s := newStage(t, weChatRoute(t, upstream), account, nil)
	w := callWith(s, "GET", "/proxy/wx/x?access_token="+s.phantom(t, "veil", time.Hour), "")
	if got := w.Body.String(); got != "bad token "+strings.Repeat("*", 15) {
		t.Error(got)
	}
}

func TestAHeaderOrTrailerWhoseNameHoldsTheTokenDoesNotPass(t *testing.T) {
	account := &fixed{}
	upstream := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-"+account.text(), "1")
		w.Header().Set("X-Own", "kept")
		w.Header().Set("Trailer", "T-"+account.text()+", X-End")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("T-"+account.text(), "2")
		w.Header().Set("X-End", "kept")
		w.Header().Set(http.TrailerPrefix+"U-"+account.text(), "3")
	}))
	s := newStage(t, weChatRoute(t, upstream), account, nil)
	token := s.phantom(t, "veil", time.Hour)
	answer := raw(t, serve(t, s), "GET /proxy/wx/x?access_token="+token+" HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: close\r\n\r\n")
	if strings.Contains(strings.ToLower(answer), "t0ken") || !strings.Contains(answer, "X-Own: kept") || !strings.Contains(answer, "X-End: kept") {
		t.Error(answer)
	}
}
