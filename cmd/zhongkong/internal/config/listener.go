package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// listener is an address at which this server listens, at a port that is known.
type listener struct {
	host, port string
	where      string // for errors
}

// listeners returns the server's own address, that of the profiles and those of the routes, and reports
// those that another one takes.
func (c *Config) listeners(p *problems) []listener {
	var all []listener
	add := func(address, where, field string) {
		host, port, err := net.SplitHostPort(address)
		if err != nil || strings.Trim(port, "0") == "" { // any free port
			return
		}
		for _, l := range all {
			if l.port == port && (sameHost(l.host, host) || isWildcard(l.host) || isWildcard(host)) {
				p.addf("%s: %s: %s is used before, at %s: addresses must differ", where, field, address, l.where)
				return
			}
		}
		all = append(all, listener{host, port, where})
	}
	if !c.isRefused("listen") {
		add(c.Listen, c.Where("listen"), "listen")
	}
	if !c.isRefused("pprof") {
		add(c.Pprof, c.Where("pprof"), "pprof")
	}
	for _, r := range c.Routes {
		add(r.Listen, r.where, fmt.Sprintf("routes[%d].listen", r.index))
	}
	return all
}

// isReachedBy reports whether a URL certainly leads to the listener.
func (l listener) isReachedBy(to string) bool {
	u, err := url.Parse(to)
	if err != nil || to == "" {
		return false
	}
	host, port := u.Hostname(), u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	if isWildcard(host) { // leads to this machine
		host = "localhost"
	}
	return l.port == port && (sameHost(l.host, host) || isWildcard(l.host) && isLoopback(host))
}

// isThisMachine reports whether a URL leads to loopback.
func isThisMachine(to string) bool {
	u, err := url.Parse(to)
	return err == nil && isLoopback(u.Hostname())
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return isLocalhost(host) || err == nil && ip.Unmap().IsLoopback()
}

func isLocalhost(host string) bool { return strings.EqualFold(host, "localhost") }

// isWildcard reports whether a listener's host stands for all addresses of the machine.
func isWildcard(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.Unmap().IsUnspecified()
}

// sameHost reports whether two hosts are one, or may be: localhost is 127.0.0.1 or ::1.
func sameHost(a, b string) bool {
	if isLocalhost(a) {
		a, b = b, a
	}
	if isLocalhost(b) {
		return isLocalhost(a) || a == "127.0.0.1" || a == "::1"
	}
	ip, errA := netip.ParseAddr(a)
	other, errB := netip.ParseAddr(b)
	return strings.EqualFold(a, b) || errA == nil && errB == nil && ip.Unmap() == other.Unmap()
}
