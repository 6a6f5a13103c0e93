// Package source has what the sources of all issuers have in common.
package source

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/netip"
	"net/url"
	"strings"
)

// Fingerprint tells credentials apart. It has 32 bits, too few to find a secret by.
func Fingerprint(secret string, identity ...string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = io.WriteString(mac, "zhongkong credential\x00"+strings.Join(identity, "\x00"))
	return hex.EncodeToString(mac.Sum(nil)[:4])
}

// BaseURL returns u without a trailing slash. Its errors are predicates and do not quote
// u, which may contain a password. official is an URL as it must look like.
func BaseURL(u, official string) (string, error) {
	parsed, err := url.Parse(u)
	switch {
	case err != nil:
		return "", errors.New("cannot be parsed")
	case parsed.Scheme != "https" && parsed.Scheme != "http" || parsed.Host == "":
		return "", errors.New("must look like " + official)
	case parsed.User != nil || parsed.RawQuery != "" || parsed.Fragment != "":
		return "", errors.New("must have no user, query or fragment")
	case parsed.Scheme == "http" && IsWeixin(parsed.Hostname()):
		return "", errors.New("would send the secret unencrypted: use https")
	}
	return strings.TrimRight(u, "/"), nil
}

// IsWeixin reports whether a host is one of WeChat's or WeCom's.
func IsWeixin(hostname string) bool {
	hostname = strings.ToLower(hostname)
	return hostname == "weixin.qq.com" || strings.HasSuffix(hostname, ".weixin.qq.com")
}

// IsLocal reports whether a host is on this machine or on a local network, by its address
// or by the form of its name.
func IsLocal(host string) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast()
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if !strings.Contains(host, ".") {
		return true
	}
	for _, zone := range []string{".svc", ".cluster.local", ".internal", ".local", ".localhost", ".test"} {
		if strings.HasSuffix(host, zone) {
			return true
		}
	}
	return false
}

// Advice returns the issuer's message, or what its code means if there is none, and what
// to do.
func Advice(message, meaning, hint string) string {
	message = cmp.Or(message, meaning)
	if hint == "" {
		return message
	}
	return message + "; " + hint
}
