//go:build unix

package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
)

// memberVariable makes the test binary a member of a fleet with every source. Its value
// is a membership in JSON.
const memberVariable = "FLEET_MEMBER"

// membership is what a member is started with.
type membership struct {
	Redis, Prefix string
	Dir           string            // as in base
	Issuers       map[string]string // the URL of each row's
}

// member is a process that links the coordinator with every row's source. It is told
// what to do over HTTP:
//
//	POST /run                   the coordinator runs from now on
//	GET  /token?account=        the token, once there is one
//	POST /report?account=&n=    the body is reported n times at once; the outcomes, with how often each
//	GET  /busy                  how many accounts it knows another process to ask for
//
// It ends with its standard input.
type member struct{ c *coordinator.Coordinator }

// parentOf is the name of the account whose token a row's needs.
func parentOf(row string) string { return row + ".parent" }

// accountOf is the name of a row's account.
func accountOf(r sourceRow) string {
	name := []rune(r.name)
	for i, c := range name {
		if c == ' ' || c == '/' {
			name[i] = '-'
		}
	}
	return string(name)
}

// asMember is the main function of a member.
func asMember() int {
	ctx, end := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer end()
	m, err := join()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /run", func(http.ResponseWriter, *http.Request) {
		running.Go(func() { _ = m.c.Run(ctx) }) // ends with ctx
	})
	mux.HandleFunc("GET /token", m.answering(func(r *http.Request, a *coordinator.Account) (any, error) {
		s, err := a.Current(r.Context())
		return s.Token.Reveal(), err
	}))
	mux.HandleFunc("POST /report", m.answering(report))
	mux.HandleFunc("GET /busy", func(w http.ResponseWriter, _ *http.Request) {
		n := 0
		for _, a := range m.c.Accounts() {
			if a.Status().OpenAttempts > 0 {
				n++
			}
		}
		_ = json.NewEncoder(w).Encode(n) // the test notices what is missing
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	running.Go(func() { _ = server.Serve(listener) }) // ends with Close
	fmt.Println("http://" + listener.Addr().String())
	_, _ = io.Copy(io.Discard, os.Stdin)
	return closing(server)
}

func closing(server *http.Server) int {
	if err := server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// join makes the coordinator, with a store of its own.
func join() (*member, error) {
	var with membership
	if err := json.Unmarshal([]byte(os.Getenv(memberVariable)), &with); err != nil {
		return nil, err
	}
	store, err := redisstore.Open(with.Redis, redisstore.Options{Prefix: with.Prefix, Timeout: 5 * time.Second}) // closed by the end of the process
	if err != nil {
		return nil, err
	}
	config := coordinator.Config{Store: store, LockTTL: lockTTL, FetchTimeout: patience, MaxFetches: 1000}
	for _, row := range sourceRows() {
		b := base{url: with.Issuers[row.name], dir: with.Dir}
		account := coordinator.AccountConfig{Name: accountOf(row), Limits: coordinator.Limits{MinInterval: row.interval()}}
		if account.Source, err = row.source(b); err != nil {
			return nil, fmt.Errorf("%s: %w", row.name, err)
		}
		if row.parent != nil {
			above := coordinator.AccountConfig{Name: parentOf(account.Name)}
			if above.Source, err = row.parent(b); err != nil {
				return nil, fmt.Errorf("the parent of %s: %w", row.name, err)
			}
			config.Accounts = append(config.Accounts, above)
			account.Parent = above.Name
		}
		config.Accounts = append(config.Accounts, account)
	}
	c, err := coordinator.New(config)
	return &member{c}, err
}

// lockTTL is twice the default: a machine that is busy with all accounts at once must not
// lose a lock, and a killed process keeps the others waiting for it.
const lockTTL = 6 * time.Second

// holding is how long an answer that repeats the token is held before the issuer is
// asked again.
const holding = 5 * time.Second

// interval is the least time between two demanded calls.
func (r sourceRow) interval() time.Duration {
	if r.repeat == coordinator.RepeatSame && !r.forces {
		return holding
	}
	return time.Millisecond
}

// answering makes a handler of what is done with an account. An error is the status 500
// with its text.
func (m *member) answering(do func(*http.Request, *coordinator.Account) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		account, ok := m.c.Account(r.FormValue("account"))
		if !ok {
			http.Error(w, "no such account", http.StatusNotFound)
			return
		}
		answer, err := do(r, account)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(answer) // the test notices what is missing
	}
}

// held is the outcome of a report that a limit answers.
const held = "held"

// report has many callers report one token at once, and counts what they get.
func report(r *http.Request, a *coordinator.Account) (any, error) {
	var n int
	if _, err := fmt.Sscan(r.FormValue("n"), &n); err != nil {
		return nil, err
	}
	rejected, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	outcomes := make(chan string, n)
	var reports sync.WaitGroup
	for range n {
		reports.Go(func() {
			s, err := a.Invalidate(r.Context(), coordinator.NewToken(string(rejected)))
			var throttled *coordinator.ThrottledError
			switch {
			case errors.As(err, &throttled):
				outcomes <- held
			case err != nil:
				outcomes <- "error: " + err.Error()
			default:
				outcomes <- s.Token.Reveal()
			}
		})
	}
	reports.Wait()
	close(outcomes)
	counts := make(map[string]int)
	for outcome := range outcomes {
		counts[outcome]++
	}
	return counts, nil
}
