package main

import (
	"net"
	"os"
	"testing"
)

func TestAConnectionIsToldByWhoMadeIt(t *testing.T) {
	f := newProcessTable()
	pid := os.Getpid()
	f.add("me", func() int { return pid })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if name := f.owner(conn); name != "me" {
		t.Errorf("owner() = %q, want me", name)
	}
	pid = 0
	if name := f.owner(conn); name != "" {
		t.Errorf("owner() = %q after the process has ended, want none", name)
	}
	_ = client.Close()
}
