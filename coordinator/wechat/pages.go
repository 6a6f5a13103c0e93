package wechat

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Pages are the hosts whose pages may be signed. Without such a list, a service that
// signs what browsers ask for would sign the pages of anybody. The zero value allows
// none; ParsePages makes one.
type Pages struct {
	hosts    []string // as in a URL, with the port if there is one
	suffixes []string // ".example.com" of "*.example.com"
}

// ErrForeignPage is returned for a page that is not on one of the allowed hosts.
var ErrForeignPage = errors.New("wechat: the page's host is not one of the allowed hosts")

// ParsePages reads a list of hosts: "m.example.com", "m.example.com:8443" (a host
// without a port stands for the default ports only), or "*.example.com" for every host
// below example.com, but not example.com itself. A host is written as browsers show it,
// in ASCII ("xn--..."); the case of letters does not matter. The list must not be empty.
func ParsePages(hosts []string) (Pages, error) {
	if len(hosts) == 0 {
		return Pages{}, errors.New("wechat: no hosts whose pages may be signed")
	}
	var p Pages
	for _, entry := range hosts {
		host := strings.ToLower(entry)
		below, wildcard := strings.CutPrefix(host, "*.")
		switch {
		case !isAuthority(below):
			return Pages{}, fmt.Errorf("wechat: %q is not a host: write it like m.example.com, m.example.com:8443 or *.example.com", entry)
		case wildcard && !strings.Contains(below, "."):
			return Pages{}, fmt.Errorf("wechat: %q would allow the hosts of many owners: name at least two labels, as in *.example.com", entry)
		case wildcard:
			p.suffixes = append(p.suffixes, "."+below)
		default:
			p.hosts = append(p.hosts, below)
		}
	}
	return p, nil
}

// check returns the URL to sign for a page.
func (p Pages) check(page string) (string, error) {
	page, _, _ = strings.Cut(page, "#")
	origin, host, path, err := splitPage(page)
	switch {
	case err != nil:
		return "", err
	case !p.allow(host):
		return "", ErrForeignPage
	case p.signsAnother(path):
		return "", errors.New("wechat: the page's URL has a parameter timestamp and then another page's URL as the parameter url: " +
			"its signature would be valid for that page as well; percent-encode the parameter")
	case !strings.HasPrefix(path, "/"):
		path = "/" + path // as browsers do
	}
	return origin + path, nil
}

// splitPage splits a page's URL after its host. It accepts only what location.href of
// every browser shows in the same way.
func splitPage(page string) (origin, host, path string, err error) {
	scheme, rest, _ := strings.Cut(page, "://")
	if scheme != "http" && scheme != "https" {
		return "", "", "", errors.New("wechat: the page's URL must begin with http:// or https:// in lower case")
	}
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	host, path = rest[:end], rest[end:]
	switch {
	case !isAuthority(host):
		return "", "", "", errors.New("wechat: the page's URL must be what location.href shows: " +
			"the host in lower-case ASCII, without a user")
	case strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return "", "", "", errors.New("wechat: the page's URL must be what location.href shows: " +
			"without blanks and control characters")
	}
	return scheme + "://" + host, host, path, nil
}

// signsAnother reports whether the signature of a URL with this path and query is that
// of a foreign page as well. What is signed has no escapes, so that
//
//	noncestr=N&timestamp=1&url=https://ours/?a&timestamp=2&url=https://theirs/
//
// is also the text for the page https://theirs/ with the timestamp 2 and the nonce
// "N&timestamp=1&url=https://ours/?a".
func (p Pages) signsAnother(path string) bool {
	_, rest, _ := strings.Cut(path, "&timestamp=")
	for {
		_, other, found := strings.Cut(rest, "&url=")
		if !found {
			return false
		}
		if strings.HasPrefix(other, "http://") || strings.HasPrefix(other, "https://") {
			if _, host, _, err := splitPage(other); err != nil || !p.allow(host) {
				return true
			}
		}
		rest = other
	}
}

func (p Pages) allow(host string) bool {
	return slices.Contains(p.hosts, host) ||
		slices.ContainsFunc(p.suffixes, func(s string) bool { return strings.HasSuffix(host, s) })
}

// isAuthority reports whether s is a host, with a port or without, in the one form in
// which every reader of URLs finds the same host: lower-case ASCII letters, digits, "-" and
// "_" in labels that are not empty.
func isAuthority(s string) bool {
	host, port, found := strings.Cut(s, ":")
	if n, err := strconv.ParseUint(port, 10, 16); found && (err != nil || n == 0 || port[0] == '0') {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}
