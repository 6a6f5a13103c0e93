package main

import (
	"context"
	"fmt"

	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
)

// memory finds out whether the configured accounts fit into Redis. Those that it has are
// part of what it uses.
func (x checks) memory(ctx context.Context, servers []redisadmin.Diagnosis) {
	names := x.configuredNames()
	if len(names) == 0 {
		return
	}
	states, err := x.store.Load(ctx, names...)
	if err != nil {
		return // other checks say why
	}
	absent := 0
	for _, s := range states {
		if s.Err == nil && s.Record.Generation == 0 {
			absent++
		}
	}
	for _, d := range servers {
		if d.Denied == nil && d.UsedMemory > 0 { // else not reported, or an embedded one
			x.fits(d, len(names), absent, len(servers))
		}
	}
}

// fits compares what the accounts of one of several masters need with its limit.
func (x checks) fits(d redisadmin.Diagnosis, accounts, absent, masters int) {
	need := func(accounts int) int64 { return redisadmin.Memory(accounts, d.Mode == "cluster") }
	all := need(accounts) / int64(masters)
	later := d.UsedMemory + (need(absent)-need(0))/int64(masters)
	detail := fmt.Sprintf("%d accounts need about %s for ever; Redis uses %s", accounts, megabytes(all), megabytes(d.UsedMemory))
	if masters > 1 {
		detail = fmt.Sprintf("of %d accounts this master needs about %s for ever; it uses %s", accounts, megabytes(all), megabytes(d.UsedMemory))
	}
	fix := fmt.Sprintf("CONFIG SET maxmemory %d or more (and in redis.conf; on a managed Redis: a larger one), or use a separate Redis for the tokens", max(all, later)*3/2)
	switch limit := d.MaxMemory; {
	case limit == 0:
		x.ok("memory", "%s, and maxmemory is not set", detail)
	case later > limit || all > limit:
		x.fail("memory", fix, "%s, and maxmemory is %s: when it is reached no token can be stored", detail, megabytes(limit))
	case max(all, later) > limit/10*9:
		x.warn("memory", fix, "%s, and maxmemory is %s: when it is reached no token can be stored", detail, megabytes(limit))
	default:
		x.ok("memory", "%s, and maxmemory is %s", detail, megabytes(limit))
	}
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
