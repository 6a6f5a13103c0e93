package main

import (
	"context"
	"errors"
	"strings"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
)

// refusals finds commands that the server, or a proxy in front of it, refuses to
// every user: managed and unusual kinds of Redis lack some. The user has rights to all
// accounts, or to some of these.
func (x checks) refusals(ctx context.Context, names []string) {
	role := x.role()
	refusals, err := redisadmin.New(x.store).Refusals(ctx, role, singleNames(names)...)
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
			lost := "so no account can be refreshed"
			if role == coordinator.Reader {
				lost = "like transactions, so tokens cannot be read"
			}
			x.fail("scripts", allowScripts(r.Err), "scripts are refused, %s: %v", lost, r.Err)
		case redisadmin.RefusedTransactions:
			if scripts {
				x.warn("transactions", "readers also need the rules +eval and +evalsha there", "MULTI is refused, so tokens are read by script: %v", r.Err)
			}
		case redisadmin.RefusedSubscriptions:
			x.fail("subscriptions", "use an edition of Redis with publish/subscribe, or connect to it directly instead of through the proxy",
				"SUBSCRIBE is refused, so new tokens are found only by polling: %v", r.Err)
		case redisadmin.RefusedWait:
			x.fail("replication", "connect to the master directly instead of through the proxy, or set replicas: 0",
				"WAIT is refused, so a new token waits for no replica: %v", r.Err)
		}
	}
	if len(refusals) == 0 {
		x.ok("commands", "Redis accepts all commands that a %s uses", role)
	}
}

// allowScripts returns which setting lets scripts through, judged by the server's
// error.
func allowScripts(err error) string {
	switch words := err.Error(); {
	case errors.Is(err, redisstore.ErrDenied):
		return "allow MULTI, or ACL SETUSER <user> +eval +evalsha"
	case strings.Contains(words, "bad lua script"), strings.Contains(words, "for redis cluster"):
		return "set the parameter script_check_enable to 0 in the console of Alibaba Cloud, or connect directly instead of through the proxy"
	case strings.Contains(words, "undeclared key"):
		return "start Dragonfly with --default_lua_flags=allow-undeclared-keys"
	case strings.Contains(words, "not support for normal user"):
		return "upgrade the minor version of the instance in the console of Alibaba Cloud"
	}
	return "allow EVAL and EVALSHA (on a managed Redis: a parameter in its console), connect directly instead of through a proxy, " +
		"or use a Redis that runs Lua scripts"
}
