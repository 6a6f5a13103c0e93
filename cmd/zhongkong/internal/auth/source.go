package auth

import "net/netip"

// Addr returns the address in an http.Request's RemoteAddr; the zero Addr if
// there is none.
func Addr(remote string) netip.Addr {
	addrPort, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return addrPort.Addr()
}

// Source returns the source that an address belongs to, which is what failed
// attempts are counted for: an IPv4 address itself, or the /64 of an IPv6
// address, which is what one subscriber has. The zero Addr is a source too.
func Source(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if !addr.Is6() {
		return addr
	}
	prefix, err := addr.Prefix(64)
	if err != nil {
		return addr
	}
	return prefix.Addr()
}
