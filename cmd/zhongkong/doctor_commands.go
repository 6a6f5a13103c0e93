package main

import (
	"context"
	"errors"
	"strings"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
)

// refusals finds what the server, or a proxy in front of it, does for nobody:
// managed and unusual kinds of Redis leave some of it out.
func (x checks) refusals(ctx context.Context) {
	role := x.role()
	refusals, err := redisadmin.New(x.store).Refusals(ctx, role)
	if err != nil {
		x.warn("commands", "", "could not be tried: %v", err)
		return
	}
	scripts := true
	for _, r := range refusals {
		scripts = scripts && r.Of != redisadmin.RefusedScripts
	}
	for _, r := range refusals {
		switch r.Of {
		case redisadmin.RefusedScripts:
			lost := "nothing can be refreshed"
			if role == coordinator.Reader {
				lost = "neither by transaction nor by script can tokens be read"
			}
			x.fail("scripts", allowScripts(r.Err), "scripts are refused, %s: %v", lost, r.Err)
		case redisadmin.RefusedTransactions:
			if scripts {
				x.warn("transactions", "readers there need the rules +eval and +evalsha besides", "MULTI is refused, tokens are read by script instead: %v", r.Err)
			}
		case redisadmin.RefusedSubscriptions:
			x.fail("subscriptions", "use an edition of Redis with publish/subscribe, or connect to it directly and not through the proxy",
				"SUBSCRIBE is refused, a new token is noticed only when somebody looks: %v", r.Err)
		case redisadmin.RefusedWait:
			x.fail("replication", "connect to the master directly and not through the proxy, or set replicas: 0",
				"WAIT is refused, a new token waits for no replica: %v", r.Err)
		}
	}
	if len(refusals) == 0 {
		x.ok("commands", "nothing that a %s uses is refused", role)
	}
}

// allowScripts says which setting lets scripts through, as well as the server's
// words tell.
func allowScripts(err error) string {
	switch words := err.Error(); {
	case errors.Is(err, redisstore.ErrDenied):
		return "let MULTI through, or ACL SETUSER <user> +eval +evalsha"
	case strings.Contains(words, "bad lua script"), strings.Contains(words, "for redis cluster"):
		return "set the parameter script_check_enable to 0 in the console of Alibaba Cloud, or connect directly and not through the proxy"
	case strings.Contains(words, "undeclared key"):
		return "start Dragonfly with --default_lua_flags=allow-undeclared-keys"
	case strings.Contains(words, "not support for normal user"):
		return "upgrade the minor version of the instance in the console of Alibaba Cloud"
	}
	return "let EVAL and EVALSHA through (on a managed Redis: a parameter in its console), connect directly and not through a proxy, " +
		"or use a Redis that runs Lua scripts"
}
