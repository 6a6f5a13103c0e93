package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
)

func (p program) healthCommand() *cli.Command {
	return &cli.Command{
		Name:      "health",
		Usage:     "check that a serve is alive; for containers",
		ArgsUsage: "[URL]",
		Description: `Without URL it checks the serve at the configured listen address, whatever its
certificate is. Exits with 0 if GET /healthz answers 200, or else with 1 and the reason; with 2 if it
is not known where to ask.

   HEALTHCHECK CMD ["/zhongkong", "health"]

A serve goes on with the configuration that it has when the file on disk becomes
unreadable or names another address. So give the address to serve and health by
$ZHONGKONG_LISTEN, as the image does: it overrides the file.

It does not check Redis or the issuer: while they are down, a serve goes on serving
the tokens it has.`,
		Action: p.health,
	}
}

// healthTimeout is below the usual timeout of a container's check.
const healthTimeout = 4 * time.Second

func (p program) health(c *cli.Context) error {
	if c.NArg() > 1 {
		return usagef("more than one URL: %s", strings.Join(c.Args().Slice(), " "))
	}
	ctx, cancel := context.WithTimeout(c.Context, healthTimeout)
	defer cancel()
	listen, certFile, unknown := config.Listener(p.input(c))
	if c.Args().Present() {
		at, err := givenHealthURL(c.Args().First())
		if err != nil {
			return err
		}
		return checkHealth(ctx, at, trusting(certFile, at.Hostname()))
	}
	if unknown != nil {
		return &configError{fmt.Errorf("where serve listens is unknown: set ZHONGKONG_LISTEN for it and for health, or give the URL: zhongkong health URL\n%w", unknown)}
	}
	at, err := ownHealthURL(listen)
	if err != nil {
		return err
	}
	return checkOwnHealth(ctx, at, certFile != "")
}

// checkOwnHealth checks the serve beside this process. It tries HTTP and HTTPS, the
// configured one first, because the files may have changed since serve read them.
func checkOwnHealth(ctx context.Context, at *url.URL, secure bool) error {
	schemes := []string{"http", "https"}
	if secure {
		slices.Reverse(schemes)
	}
	// serve may have refused the certificate that is in the file now. The request has no
	// secret, so any certificate will do.
	anyone := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true} //nolint:gosec // see above
	var first error
	for _, scheme := range schemes {
		at.Scheme = scheme
		err := checkHealth(ctx, at, anyone)
		if err == nil {
			return nil
		}
		first = cmp.Or(first, err)
	}
	return first
}

// checkHealth returns nil if the address answers 200.
func checkHealth(ctx context.Context, at *url.URL, secured *tls.Config) error {
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: secured}, // uses no proxy
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), http.NoBody)
	if err != nil {
		return usagef("%v", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		if failed := new(url.Error); errors.As(err, &failed) {
			err = failed.Err // the message names the URL already
		}
		return fmt.Errorf("%s: %w", at.Redacted(), err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: answered %s", at.Redacted(), resp.Status)
	}
	return nil
}

// givenHealthURL returns the address of /healthz below a URL.
func givenHealthURL(given string) (*url.URL, error) {
	u, err := url.Parse(given)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, usagef("%q is not a web address: write http:// or https:// and a host, such as http://127.0.0.1:8080", given)
	}
	u.RawQuery, u.Fragment = "", ""
	u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/healthz") + "/healthz"
	return u, nil
}

// ownHealthURL returns the address of /healthz at a listen address, without a scheme.
func ownHealthURL(listen string) (*url.URL, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil || port == "0" {
		return nil, usagef("serve listens at %s, which has no port: give the URL", listen)
	}
	switch host { // all addresses include the loopback address
	case "", "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	return &url.URL{Host: net.JoinHostPort(host, port), Path: "/healthz"}, nil
}

// trusting returns a TLS configuration that accepts the certificate in a file and
// whatever the system trusts for the host: serve's own certificate may come from any
// authority and may be for another name than this command uses.
func trusting(certFile, host string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		// VerifyConnection verifies.
		InsecureSkipVerify: true, //nolint:gosec // verified below
		VerifyConnection: func(state tls.ConnectionState) error {
			chain := state.PeerCertificates
			if own := firstCertificate(certFile); own != nil && bytes.Equal(own.Raw, chain[0].Raw) {
				return nil
			}
			others := x509.NewCertPool()
			for _, c := range chain[1:] {
				others.AddCert(c)
			}
			_, err := chain[0].Verify(x509.VerifyOptions{DNSName: host, Intermediates: others})
			return err
		},
	}
}

// firstCertificate returns the certificate that a server with this file shows; nil if
// there is none.
func firstCertificate(file string) *x509.Certificate {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			cert, _ := x509.ParseCertificate(block.Bytes)
			return cert
		}
	}
	return nil
}
