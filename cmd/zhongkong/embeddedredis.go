package main

import (
	"cmp"
	"errors"
	"net"
	"syscall"

	"github.com/alicebob/miniredis/v2"
)

// embeddedAddr is the default address of Redis.
const embeddedAddr = "127.0.0.1:6379"

// startEmbeddedRedis listens at the given address; "": embeddedAddr.
func startEmbeddedRedis(address string) (*miniredis.Miniredis, error) {
	address = cmp.Or(address, embeddedAddr)
	m := miniredis.NewMiniRedis()
	m.ClockTTL(true) // let keys expire by themselves, not only by a call of FastForward
	if err := m.StartAddr(address); err != nil {
		if isInUse(err) {
			return nil, usagef("%s is in use, probably by a Redis: pass --redis redis://%s to use it (the embedded Redis would start there)", address, address)
		}
		return nil, usagef("cannot start the embedded Redis at %s: %v; pass --redis URL to use a real one", address, cause(err))
	}
	return m, nil
}

func isInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

// cause removes the address from an error of net.Listen: the message around it names
// it already.
func cause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}
