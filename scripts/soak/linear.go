package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
)

// The store's operations on one account are those of a register with fences. The
// operations of clients with broken links are recorded with the time of each call and
// answer, and porcupine searches an order in which every answer is right. An operation
// without an answer may have been carried out at any time after its call, or never.

// operation is the input of one call.
type operation struct {
	op    string // begin, commit, load
	seen  uint64
	fence uint64 // commit
	token string // commit
}

// answer is the output of one call. The zero answer is unknown and fits everything.
type answer struct {
	known      bool
	fence      uint64 // begin: handed out, 0: not needed; load: the newest
	generation uint64
	token      string
	superseded bool
}

// register is the model of one account.
type register struct {
	last       uint64 // the newest fence, or less than it if not exact
	exact      bool   // false: a fence was handed out in a lost reply
	generation uint64
	token      string
}

func registerModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return register{exact: true} },
		Step: func(state, input, output any) (bool, any) {
			s, in, out := state.(register), input.(operation), output.(answer)
			switch in.op {
			case "begin":
				return s.begin(in, out)
			case "commit":
				return s.commit(in, out)
			}
			return s.load(out)
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
	}
}

func (s register) begin(in operation, out answer) (bool, any) {
	needed := s.generation <= in.seen
	switch {
	case !out.known && needed:
		s.last, s.exact = max(s.last, in.seen)+1, false
		return true, s
	case !out.known:
		return true, s
	case out.fence == 0:
		return !needed && out.generation == s.generation && out.token == s.token, s
	}
	ok := needed && out.fence > s.last && out.fence > in.seen
	s.last, s.exact = out.fence, true
	return ok, s
}

func (s register) commit(in operation, out answer) (bool, any) {
	switch {
	case s.generation == in.fence: // a repetition
		return !out.known || !out.superseded, s
	case !s.exact || s.last != in.fence:
		return !out.known || out.superseded, s
	}
	s.generation, s.token = in.fence, in.token
	return !out.known || !out.superseded, s
}

func (s register) load(out answer) (bool, any) {
	if !out.known {
		return true, s
	}
	ok := out.generation == s.generation && out.token == s.token && (out.fence == s.last || !s.exact && out.fence > s.last)
	s.last, s.exact = out.fence, true
	return ok, s
}

// history is what clients did to one account.
type history struct {
	mu  sync.Mutex
	ops []porcupine.Operation // guarded by mu
}

func (h *history) add(client int, in operation, out answer, call time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	end := time.Now().UnixNano()
	if !out.known {
		end = math.MaxInt64
	}
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: in, Output: out, Call: call.UnixNano(), Return: end})
}

// linearClient uses an account until ctx ends.
func linearClient(ctx context.Context, n int, store *redisstore.Store, name string, h *history, r *rand.Rand) {
	var seen uint64
	for i := 0; ctx.Err() == nil; i++ {
		time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
		call := time.Now()
		if r.IntN(2) == 0 {
			states, err := store.Load(ctx, name)
			out := answer{known: err == nil}
			if err == nil {
				out.fence, out.generation, out.token = uint64(states[0].Fence), uint64(states[0].Record.Generation), states[0].Record.Token.Reveal()
				seen = out.generation
			}
			h.add(n, operation{op: "load"}, out, call)
			continue
		}
		attempt, err := store.Begin(ctx, name, coordinator.BeginRequest{Seen: coordinator.Fence(seen), Reason: coordinator.ReasonForced, TTL: time.Second})
		out := answer{known: err == nil}
		if err == nil {
			out.fence, out.generation, out.token = uint64(attempt.Fence), uint64(attempt.Record.Generation), attempt.Record.Token.Reveal()
		}
		h.add(n, operation{op: "begin", seen: seen}, out, call)
		seen = max(seen, out.generation)
		if err != nil || attempt.Fence == 0 {
			continue
		}
		time.Sleep(time.Duration(r.IntN(30)) * time.Millisecond)
		in := operation{op: "commit", fence: uint64(attempt.Fence), token: fmt.Sprintf("token-%d-%d", n, i)}
		for range 2 { // the second one repeats a commit whose answer was lost
			call = time.Now()
			_, err = store.Commit(ctx, name, coordinator.CommitRequest{
				Attempt: attempt, Reason: coordinator.ReasonForced, Token: coordinator.NewToken(in.token), Lifetime: time.Hour, Calls: 1,
			})
			superseded := errors.Is(err, coordinator.ErrSuperseded)
			h.add(n, in, answer{known: err == nil || superseded, superseded: superseded}, call)
			if err == nil || superseded {
				break
			}
		}
	}
}

// linearFigures is the result of the check.
type linearFigures struct {
	Seed       uint64    `json:"seed"`
	Histories  int       `json:"histories"`
	Operations int       `json:"operations"`
	Unknown    int       `json:"without_answer"`
	Faults     int       `json:"faults"`
	Wrong      int       `json:"not_linearizable"`
	Undecided  int       `json:"undecided"`
	At         time.Time `json:"at"`
}

const (
	linearClients = 5
	linearRound   = 6 * time.Second
)

// linear records rounds of operations under faults and checks each.
func (f flags) linear() error {
	dir, err := os.MkdirTemp("", "zklinear")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	n := newNetwork(newProcessTable())
	t, err := newServers(n, single, dir, options{})
	if err != nil {
		return err
	}
	defer t.kill()
	fig := linearFigures{Seed: f.seed, At: time.Now()}
	for round := range f.runs {
		h, faults, err := f.linearRound(n, t, round)
		if err != nil {
			return err
		}
		fig.Histories++
		fig.Faults += faults
		fig.Operations += len(h.ops)
		for _, op := range h.ops {
			if !op.Output.(answer).known {
				fig.Unknown++
			}
		}
		result, info := porcupine.CheckOperationsVerbose(registerModel(), h.ops, time.Minute)
		switch result {
		case porcupine.Illegal:
			fig.Wrong++
			file := filepath.Join(os.TempDir(), fmt.Sprintf("soak-linear-%d-%d.html", f.seed, round))
			_ = porcupine.VisualizePath(registerModel(), info, file)
			fmt.Fprintf(os.Stderr, "round %d is not linearizable; see %s\n", round, file)
		case porcupine.Unknown:
			fig.Undecided++
		}
	}
	fmt.Printf("linearizable: %d of %d histories, %d undecided, %d operations, %d without an answer, %d faults\n",
		fig.Histories-fig.Wrong-fig.Undecided, fig.Histories, fig.Undecided, fig.Operations, fig.Unknown, fig.Faults)
	if err := f.save("linear", fig); err != nil {
		return err
	}
	if fig.Wrong > 0 {
		return errBroken
	}
	return nil
}

// linearRound lets clients use a new account, each over its own link.
func (f flags) linearRound(n *network, t *servers, round int) (*history, int, error) {
	h := new(history)
	name := fmt.Sprintf("account%d", round)
	ctx, cancel := context.WithTimeout(context.Background(), linearRound)
	defer cancel()
	var clients sync.WaitGroup
	for i := range linearClients {
		link, err := newProxy(n, fmt.Sprintf("link%d-%d", round, i), t.data[0].Addr)
		if err != nil {
			return nil, 0, err
		}
		defer link.close()
		store, err := redisstore.Open("redis://"+link.addr(), redisstore.Options{Prefix: prefix, Timeout: 300 * time.Millisecond})
		if err != nil {
			return nil, 0, err
		}
		defer store.Close()
		clients.Go(func() { // ends with ctx
			linearClient(ctx, i, store, name, h, rand.New(rand.NewPCG(f.seed, uint64(round*100+i))))
		})
	}
	r := rand.New(rand.NewPCG(f.seed, uint64(round)))
	faults := 0
	for ; ctx.Err() == nil; faults++ {
		f.linearFault(n, t, round, r)
		sleep(ctx, between(r, 10*time.Millisecond, 300*time.Millisecond))
	}
	clients.Wait()
	time.Sleep(100 * time.Millisecond) // late commands
	return h, faults, nil
}

func (f flags) linearFault(n *network, t *servers, round int, r *rand.Rand) {
	to, d := fmt.Sprintf("link%d-%d", round, r.IntN(linearClients)), between(r, 20*time.Millisecond, time.Second)
	switch r.IntN(8) {
	case 0:
		_, _ = t.data[0].do("client", "kill", "type", "normal", "skipme", "yes")
	case 1:
		_, _ = t.data[0].do("script", "flush")
	case 2:
		t.data[0].Pause()
		time.Sleep(d)
		t.data[0].Resume()
	default:
		lift := n.add(rule{to: to, mode: pick(r, []mode{hold, deaf, deaf, drop, reset, slow}), delay: 50 * time.Millisecond})
		time.Sleep(d)
		lift()
	}
}
