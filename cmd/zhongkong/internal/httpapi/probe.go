package httpapi

import "net/http"

// Kubelets, load balancers and health checks of containers have no certificate to
// show, and cannot be given one. Where clients need one, the probes are therefore
// answered without it, at the same address: a port of its own for them would be
// one more thing to configure, to expose and to watch. What they are told is what
// a stranger is told elsewhere. Everything else is refused before anything is
// done for the request, so that nobody without a certificate can try passwords.

// admits reports whether the request may be answered: its client has shown a
// certificate, if it needs one, or it is a probe. Of a probe's credentials nothing
// is left then.
func (s *Server) admits(r *http.Request) bool {
	if s.keys == nil || s.keys.files.ClientCAFile == "" || r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		return true
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead || r.URL.Path != "/healthz" && r.URL.Path != "/readyz" {
		return false
	}
	r.Header.Del("Authorization")
	return true
}

var problemCertificate = problem{http.StatusForbidden, "certificate_required",
	"this server needs a client certificate of one of its authorities, besides name and password; only /healthz and /readyz are answered without", 0}

// refuseUncertified answers a client that has shown no certificate, and ends its
// connection: it can show none on this one.
func refuseUncertified(w http.ResponseWriter) {
	w.Header().Set("Connection", "close")
	writeProblem(w, problemCertificate)
}
