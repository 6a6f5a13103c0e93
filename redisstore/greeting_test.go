package redisstore_test

import (
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// withUser returns the URL with a user and a database.
func withUser(address, user, password, db string) string {
	u, _ := url.Parse(address)
	u.User = url.UserPassword(user, password)
	u.Path = "/" + db
	return u.String()
}

// HELLO, AUTH, SELECT and the first reading are one write; a first write waits for the
// answer to them.
func TestConnectionsGreetInTheirFirstWrite(t *testing.T) {
	server := redistest.Start(t)
	server.MustDo(t, "acl", "setuser", "one", "on", ">right", "allkeys", "allchannels", "+@all")
	for name, test := range map[string]struct {
		url   func(string) string
		first func(*testing.T, *redisstore.Store) error
		want  int
	}{
		"reading": {
			func(u string) string { return u },
			func(t *testing.T, s *redisstore.Store) error { _, err := s.Load(t.Context(), "a"); return err }, 2,
		},
		"reading, as a user, in a database": {
			func(u string) string { return withUser(u, "one", "right", "3") },
			func(t *testing.T, s *redisstore.Store) error { _, err := s.Load(t.Context(), "a"); return err }, 2,
		},
		"writing, as a user, in a database": {
			func(u string) string { return withUser(u, "one", "right", "3") },
			func(t *testing.T, s *redisstore.Store) error {
				_, err := s.Lock(t.Context(), "a", time.Minute)
				return err
			}, 3,
		},
	} {
		t.Run(name, func(t *testing.T) {
			redistest.CountTrips(t, server, test.want, func(trips *redistest.Trips) int {
				server.MustDo(t, "flushall")
				if err := test.first(t, open(t, test.url(trips.URL()), redisstore.Options{Timeout: 5 * time.Second})); err != nil {
					t.Fatal(err)
				}
				return trips.Last(nil)
			})
		})
	}
}

// A server that takes no connections says why before it closes them.
func TestAServerThatTurnsConnectionsAwayIsNotJustUnreachable(t *testing.T) {
	for line, fix := range map[string]string{
		"-ERR max number of clients reached":         "raise maxclients",
		"-DENIED Redis is running in protected mode": "turn protected-mode off",
	} {
		for _, user := range []string{"", ":secret@"} {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = listener.Close() })
			go func() { // ends with the listener
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					_, _ = conn.Read(make([]byte, 1)) // so that the client has written
					_, _ = io.WriteString(conn, line+"\r\n")
					_, _ = io.Copy(io.Discard, conn) // a close with something unread resets
					_ = conn.Close()
				}
			}()
			store := open(t, "redis://"+user+listener.Addr().String(), redisstore.Options{})
			_, reading := store.Load(t.Context(), "a")
			_, locking := store.Lock(t.Context(), "a", time.Minute)
			for _, err := range []error{reading, locking} {
				if !errors.Is(err, coordinator.ErrUnreachable) || !strings.Contains(err.Error(), fix) {
					t.Errorf("%s: %v, want %q", line, err, fix)
				}
			}
		}
	}
}

// What is written goes to the database of the URL.
func TestGreetingSelectsTheDatabase(t *testing.T) {
	server := redistest.Start(t)
	server.MustDo(t, "acl", "setuser", "one", "on", ">right", "allkeys", "allchannels", "+@all")
	store := open(t, withUser(server.URL(), "one", "right", "3"), redisstore.Options{})
	if _, err := store.Lock(t.Context(), "a", time.Minute); err != nil {
		t.Fatal(err)
	}
	client := server.Client()
	defer client.Close()
	for db, want := range map[int]int64{0: 0, 3: 1} {
		conn := client.Conn()
		if err := conn.Select(t.Context(), db).Err(); err != nil {
			t.Fatal(err)
		}
		if n := conn.DBSize(t.Context()).Val(); n != want {
			t.Errorf("database %d has %d keys, want %d", db, n, want)
		}
		_ = conn.Close()
	}
}

// A refused greeting is reported as go-redis reports it, and nothing is written, although
// the server would let everybody write.
func TestRefusedGreetingWritesNothing(t *testing.T) {
	server := redistest.Start(t)
	for _, test := range []struct{ user, password, db, says string }{
		{"nobody", "wrong", "0", "WRONGPASS"},
		{"", "", "999", "DB index is out of range"},
	} {
		address := withUser(server.URL(), test.user, test.password, test.db)
		if test.user == "" {
			address = server.URL() + "/" + test.db
		}
		store := open(t, address, redisstore.Options{})
		if _, err := store.Lock(t.Context(), "a", time.Minute); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("Lock() = %v, want %q", err, test.says)
		}
		if _, err := store.Load(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("Load() = %v, want %q", err, test.says)
		}
		if n := server.MustDo(t, "dbsize"); n != int64(0) {
			t.Errorf("%v keys were written by a client that could not greet", n)
		}
	}
}

// A server or a proxy that does not know HELLO is authenticated to with AUTH, and a
// subscription to it does not break.
func TestServerWithoutHelloIsGreetedByAuth(t *testing.T) {
	server := redistest.Start(t)
	server.MustDo(t, "acl", "setuser", "one", "on", ">right", "allkeys", "allchannels", "+@all")
	for name, address := range map[string]func(string) string{
		"with a user":    func(u string) string { return withUser(u, "one", "right", "0") },
		"without a user": func(u string) string { return u },
	} {
		t.Run(name, func(t *testing.T) {
			proxy := redistest.StartProxy(t, server, func(command []string) string {
				if strings.EqualFold(command[0], "hello") {
					return "ERR unknown command 'HELLO'"
				}
				return ""
			})
			store := open(t, address(proxy.URL()), redisstore.Options{Timeout: 5 * time.Second})
			_, r := followed(t, store, coordinator.Refresher, "a")
			lock, err := store.Lock(t.Context(), "a", time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if err := lock.Unlock(t.Context()); err != nil {
				t.Error(err)
			}
			if states, err := store.Load(t.Context(), "a"); err != nil || states[0].Err != nil {
				t.Errorf("Load() = %v, %v", states, err)
			}
			if _, lost, _ := r.counts(); lost != 0 {
				t.Errorf("Lost(%v)", r.lastLost())
			}
		})
	}
}
