package main

import (
	"errors"
	"net"
	"syscall"

	"github.com/alicebob/miniredis/v2"
)

// embeddedAddr is where everybody looks for a Redis.
const embeddedAddr = "127.0.0.1:6379"

// embeddedRedis is a Redis inside this process, for trying things out.
type embeddedRedis struct{ server *miniredis.Miniredis }

// startEmbeddedRedis listens at the given address; "": embeddedAddr.
func startEmbeddedRedis(address string) (*embeddedRedis, error) {
	if address == "" {
		address = embeddedAddr
	}
	m := miniredis.NewMiniRedis()
	m.ClockTTL(true) // keys expire as time goes by, not only when a test says so
	if err := m.StartAddr(address); err != nil {
		if isInUse(err) {
			return nil, usagef("%s is taken, probably by a Redis: pass --redis redis://%s to use it (an embedded one would be started there)", address, address)
		}
		return nil, usagef("cannot start the embedded Redis at %s: %v; pass --redis URL to use a real one", address, cause(err))
	}
	return &embeddedRedis{m}, nil
}

func (e *embeddedRedis) addr() string { return e.server.Addr() }
func (e *embeddedRedis) url() string  { return "redis://" + e.server.Addr() }
func (e *embeddedRedis) close()       { e.server.Close() }

// isTaken reports whether a port could not be had because somebody has it.
func isInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

// cause takes the address, which the message names already, out of an error of
// net.Listen.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
