package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

const (
	sigKill = syscall.SIGKILL
	sigStop = syscall.SIGSTOP
	sigCont = syscall.SIGCONT
	sigTerm = syscall.SIGTERM
)

// grantFault is one kind of fault. It returns when it is over, or, if it lasts, when it
// has begun: others overlap it at random.
type grantFault struct {
	name   string
	weight int
	inject func(b *grantBed, r *rand.Rand)
}

// The faults that only one topology has.
const (
	diskLost = "Redis lost with its disk"
	failover = "a failover"
)

func grantFaults() []grantFault {
	return []grantFault{
		{"kill -9 of a process", 6, func(b *grantBed, r *rand.Rand) {
			p := pick(r, b.fleet)
			b.loses(time.Now(), time.Now().Add(grantLease))
			p.signal(sigCont)
			p.kill(sigKill)
			time.Sleep(between(r, 0, 2*time.Second))
			_ = p.start()
		}},
		{"SIGTERM and a new start", 2, func(b *grantBed, r *rand.Rand) {
			p := pick(r, b.fleet)
			p.signal(sigCont)
			p.kill(sigTerm)
			_ = p.start()
		}},
		{"a pause beyond the lock", 4, func(b *grantBed, r *rand.Rand) { b.pause(r, between(r, 3*time.Second, 20*time.Second)) }},
		{"a pause past every deadline", 1, func(b *grantBed, r *rand.Rand) {
			b.loses(time.Now(), time.Now().Add(grantLease))
			b.pause(r, grantLease+between(r, time.Second, 20*time.Second))
		}},
		{"a request that never arrives", 4, func(b *grantBed, _ *rand.Rand) { b.issuer.Inject(oauthtest.Fault{Kind: "drop"}) }},
		{"an answer that is lost", 3, func(b *grantBed, _ *rand.Rand) {
			b.loses(time.Now(), time.Now().Add(10*time.Second))
			b.issuer.Inject(oauthtest.Fault{Kind: "drop", Issued: true})
		}},
		{"a server error after the token was used", 2, func(b *grantBed, _ *rand.Rand) {
			b.loses(time.Now(), time.Now().Add(10*time.Second))
			b.issuer.Inject(oauthtest.Fault{Kind: "html", Issued: true})
		}},
		{"a server error before", 2, func(b *grantBed, _ *rand.Rand) {
			b.issuer.Inject(oauthtest.Fault{Kind: "error", Error: "temporarily_unavailable", Status: 503})
		}},
		{"a late answer", 4, func(b *grantBed, r *rand.Rand) {
			b.issuer.Inject(oauthtest.Fault{Kind: "late", Issued: true, After: oauthtest.Duration(between(r, 2*time.Second, 40*time.Second))})
		}},
		{"a late request", 2, func(b *grantBed, r *rand.Rand) {
			b.issuer.Inject(oauthtest.Fault{Kind: "late", After: oauthtest.Duration(between(r, 2*time.Second, 30*time.Second))})
		}},
		{"locks that are lost", 6, func(b *grantBed, r *rand.Rand) {
			for range 8 {
				b.command("del", "zhongkong:{"+pick(r, b.accounts)+"}:lock")
			}
		}},
		{"connections that are cut", 3, func(b *grantBed, _ *rand.Rand) { b.command("client", "kill", "type", "normal") }},
		{"Redis killed", 3, func(b *grantBed, r *rand.Rand) { b.killRedis(r, false) }},
		{diskLost, 1, func(b *grantBed, r *rand.Rand) { b.killRedis(r, true) }},
		{failover, 2, func(b *grantBed, _ *rand.Rand) {
			b.sentinels("sentinel", "failover", redistest.MasterName)
		}},
	}
}

// inject injects so many faults, a few at a time.
func (b *grantBed) inject(r *rand.Rand, faults int, out *grantOutcome, trace bool) {
	kinds, weights := grantFaults(), 0
	for _, k := range kinds {
		weights += k.weight
	}
	var lasting sync.WaitGroup
	lanes := make(chan struct{}, 4)
	for out.Faults < faults {
		n := r.IntN(weights)
		i := 0
		for ; n >= kinds[i].weight; i++ {
			n -= kinds[i].weight
		}
		k, own := kinds[i], rand.New(rand.NewPCG(r.Uint64(), r.Uint64()))
		if b.replicas == nil && k.name == failover || b.replicas != nil && k.name == diskLost {
			continue
		}
		out.Faults++
		out.Injected[k.name]++
		if trace {
			fmt.Fprintln(os.Stderr, time.Now().Format("15:04:05.000"), k.name)
		}
		lanes <- struct{}{}
		lasting.Go(func() {
			defer func() { <-lanes }()
			k.inject(b, own)
		})
		time.Sleep(between(r, 0, 2400*time.Millisecond))
	}
	lasting.Wait()
	b.issuer.ClearFaults()
	for _, p := range b.fleet {
		p.signal(sigCont)
		_ = p.start()
	}
}

// killRedis kills a server and starts it again, one at a time. With lost, its data is gone.
func (b *grantBed) killRedis(r *rand.Rand, lost bool) {
	b.killing.Lock()
	defer b.killing.Unlock()
	s := pick(r, b.redis)
	s.Kill()
	if lost {
		b.wiped.Add(1)
		_ = os.RemoveAll(filepath.Join(s.Dir(), "appendonlydir"))
	}
	time.Sleep(between(r, 0, 3*time.Second))
	for deadline := time.Now().Add(time.Minute); s.Start() != nil && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond)
	}
}

// pause stops a process and has it go on later.
func (b *grantBed) pause(r *rand.Rand, d time.Duration) {
	p := pick(r, b.fleet)
	p.signal(sigStop)
	time.Sleep(d)
	p.signal(sigCont)
}

// command runs a command on every server that takes it.
func (b *grantBed) command(args ...any) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, s := range b.redis {
		_, _ = s.Do(ctx, args...)
	}
}

func (b *grantBed) sentinels(args ...any) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _ = b.replicas.Sentinels[0].Do(ctx, args...)
}
