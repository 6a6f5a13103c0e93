package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
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
		Description: `Without URL it checks the serve at the configured listen address. Exits with 0 if
GET /healthz answers 200, or else with 1 and the reason.

   HEALTHCHECK CMD ["/zhongkong", "health"]

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
	listen, certFile, err := config.Listener(p.input(c))
	if err != nil && c.NArg() == 0 {
		return fmt.Errorf("it is not known where serve listens: give the URL, or set ZHONGKONG_LISTEN: %w", err)
	}
	address, err := healthURL(c.Args().First(), listen, certFile != "")
	if err != nil {
		return err
	}
	client := http.Client{
		Timeout: healthTimeout,
		Transport: &http.Transport{ // uses no proxy
			DisableKeepAlives: true,
			TLSClientConfig:   trusting(certFile, address.Hostname()),
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequestWithContext(c.Context, http.MethodGet, address.String(), http.NoBody)
	if err != nil {
		return usagef("%v", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		if failed := new(url.Error); errors.As(err, &failed) {
			err = failed.Err // the message names the URL already
		}
		return fmt.Errorf("%s: %w", address.Redacted(), err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: answered %s", address.Redacted(), resp.Status)
	}
	return nil
}

// healthURL returns the address of /healthz: below the given URL, or at the listen
// address.
func healthURL(given, listen string, secure bool) (*url.URL, error) {
	if given != "" {
		u, err := url.Parse(given)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, usagef("%q is not a web address: write http:// or https:// and a host, such as http://127.0.0.1:8080", given)
		}
		u.RawQuery, u.Fragment = "", ""
		u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/healthz") + "/healthz"
		return u, nil
	}
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
	u := &url.URL{Scheme: "http", Host: net.JoinHostPort(host, port), Path: "/healthz"}
	if secure {
		u.Scheme = "https"
	}
	return u, nil
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
