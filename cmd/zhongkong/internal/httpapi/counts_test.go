package httpapi

import "testing"

func TestRequestsWithoutCredentialsAreCountedApartFromWrongOnes(t *testing.T) {
	s := newStage(t)
	for path, credentials := range map[string]string{
		"/v1/tokens/" + wxa: "", "/": "", "/v1/events": "ci:wrong", "/metrics": reader, "/healthz": "", "/openapi.yaml": "nobody:x",
	} {
		s.ask(credentials, "GET", path, "")
	}
	s.ask("", "POST", "/GetToken", "name=ci", "Content-Type", "application/x-www-form-urlencoded")
	refused := uint64(0)
	s.api.Served(func(_ string, status int, n uint64) {
		if status == 401 {
			refused += n
		}
	})
	if got := s.api.WithoutCredentials(); got != 3 || refused != 5 {
		t.Errorf("%d requests of %d with status 401 had no credentials, want 3 of 5", got, refused)
	}
}
