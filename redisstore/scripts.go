package redisstore

import (
	"embed"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/internal/layout"
)

//go:embed lua/*.lua
var luaFiles embed.FS

// scripts are the operations of the protocol, one Lua file each.
type scripts struct {
	load, begin, extend, commit, fail, restore *redis.Script
}

func newScripts() scripts { return scriptsOf(source) }

// scriptsOf returns the scripts of these sources.
func scriptsOf(source func(name string) string) scripts {
	reads := func(name string) *redis.Script { return redis.NewScript(source("prelude") + "\n" + source(name)) }
	changes := func(names ...string) *redis.Script {
		text := source("prelude") + "\n" + source("change")
		for _, name := range names {
			text += "\n" + source(name)
		}
		return redis.NewScript(text)
	}
	return scripts{
		load:    reads("load"),
		begin:   changes("begin"),
		extend:  reads("extend"),
		commit:  changes("commit"),
		fail:    changes("json", "fail"),
		restore: changes("json", "restore"),
	}
}

const (
	// oldLogLife is how long the log that an account had of its own is kept.
	oldLogLife = 7 * 24 * time.Hour

	// callsLife is how long a day's calls are kept from its first one on: longer than the
	// day, because the clock may be set back. So there are those of three days.
	callsLife = 3 * 24 * time.Hour
)

// clockSlack is by how much the clocks of a store's servers may differ.
const clockSlack = 5 * time.Second

// grantScripts are the operations of grants, one Lua file each; those of a record
// share grant.lua.
type grantScripts struct {
	load, save, restore, drop, reseal, setMember *redis.Script
}

// newGrantScripts returns the scripts of a store that waits so long for newer records.
func newGrantScripts(settle time.Duration) grantScripts {
	shared := fmt.Sprintf("%s\n%s\n%s\nlocal settle_ms, slack_ms = %d, %d\n%s\n",
		source("prelude"), source("change"), source("json"), settle.Milliseconds(), clockSlack.Milliseconds(), source("grant"))
	of := func(name string) *redis.Script { return redis.NewScript(shared + source(name)) }
	return grantScripts{
		load: of("loadgrant"), save: of("savegrant"), restore: of("restoregrant"), drop: of("dropgrant"), reseal: of("resealgrant"),
		setMember: redis.NewScript(source("prelude") + "\n" + source("setmember")),
	}
}

// constants declares in Lua what the scripts share with Go. Durations are in ms,
// fences in us.
func constants() string {
	return fmt.Sprintf(`local most_ahead, fence_ahead, retry_ahead, life_most = %d, %d, %d, %d
local pace_burst, failures_most, attempts_most = %d, %d, '%d'
local log_most, log_own_most, old_log_seconds, calls_seconds = '%d', '%d', '%d', '%d'
local daily_budget, call_budget, minimum_interval, back_off, loop_brake = '%s', '%s', '%s', '%s', '%s'
`,
		coordinator.MaxAhead.Milliseconds(), coordinator.MaxFenceAhead.Microseconds(),
		coordinator.MaxRetry.Milliseconds(), coordinator.MaxLifetime.Milliseconds(),
		coordinator.PaceBurst, maxFailures, maxAttempts,
		layout.MaxLog, layout.MaxOwnLog, int(oldLogLife.Seconds()), int(callsLife.Seconds()),
		coordinator.LimitBudget, coordinator.LimitWindow, coordinator.LimitInterval, coordinator.LimitBackOff, coordinator.LimitLoop)
}

// source returns a Lua file without its comments and blank lines: after a restart of
// Redis each connection may have to send whole scripts again. The prelude begins
// with the constants.
func source(name string) string {
	text, err := luaFiles.ReadFile("lua/" + name + ".lua")
	if err != nil {
		panic(err) // the files are part of the binary
	}
	var out strings.Builder
	if name == "prelude" {
		out.WriteString(constants())
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "--") {
			out.WriteString(line)
			out.WriteByte('\n')
		}
	}
	return out.String()
}
