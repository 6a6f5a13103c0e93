package redisstore

import (
	"embed"
	"fmt"
	"strconv"
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
	// of puts a script together of these files. The last one is the operation; the others
	// have the declarations that it may use.
	of := func(names ...string) *redis.Script {
		text := make([]string, len(names))
		for i, name := range names {
			text[i] = source(name)
		}
		return newScript(text...)
	}
	return scripts{
		load:    of("prelude", "load"),
		begin:   of("prelude", "change", "begin"),
		extend:  of("prelude", "extend"),
		commit:  of("prelude", "change", "commit"),
		fail:    of("prelude", "change", "json", "fail"),
		restore: of("prelude", "change", "json", "restore"),
	}
}

const (
	// oldLogLife is how long the log that an account had of its own is kept.
	oldLogLife = 7 * 24 * time.Hour

	// callsLife is how long a day's calls are kept from its first one on: longer than the
	// day, because the clock may be set back. So there are those of three days.
	callsLife = 3 * 24 * time.Hour
)

// grantScripts are the operations of grants, one Lua file each; those of a record
// share grant.lua.
type grantScripts struct {
	load, save, restore, drop, reseal, setMember *redis.Script
}

// newGrantScripts returns the scripts of a store that waits so long for newer records.
func newGrantScripts(settle time.Duration) grantScripts {
	times := fmt.Sprintf("local settle_ms, slack_ms = %d, %d\n", settle.Milliseconds(), coordinator.ClockSlack.Milliseconds())
	of := func(name string) *redis.Script {
		return newScript(source("prelude"), source("change"), source("json"), times+source("grant")+source(name))
	}
	return grantScripts{
		load: of("loadgrant"), save: of("savegrant"), restore: of("restoregrant"), drop: of("dropgrant"), reseal: of("resealgrant"),
		setMember: newScript(source("prelude"), source("setmember")),
	}
}

// constants are what the scripts share with Go, in Lua. Durations are in ms, fences in us.
func constants() map[string]string {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	text := func(s string) string { return "'" + s + "'" }
	return map[string]string{
		"most_ahead":       number(coordinator.MaxAhead.Milliseconds()),
		"fence_ahead":      number(coordinator.MaxFenceAhead.Microseconds()),
		"retry_ahead":      number(coordinator.MaxRetry.Milliseconds()),
		"life_most":        number(coordinator.MaxLifetime.Milliseconds()),
		"pace_burst":       number(coordinator.PaceBurst),
		"failures_most":    number(maxFailures),
		"attempts_most":    text(number(maxAttempts)),
		"log_most":         text(number(layout.MaxLog)),
		"log_own_most":     text(number(layout.MaxOwnLog)),
		"old_log_seconds":  text(number(int64(oldLogLife.Seconds()))),
		"calls_seconds":    text(number(int64(callsLife.Seconds()))),
		"day_ms":           number((24 * time.Hour).Milliseconds()),
		"utc8_ms":          number((8 * time.Hour).Milliseconds()),
		"daily_budget":     text(string(coordinator.LimitBudget)),
		"call_budget":      text(string(coordinator.LimitWindow)),
		"minimum_interval": text(string(coordinator.LimitInterval)),
		"back_off":         text(string(coordinator.LimitBackOff)),
		"loop_brake":       text(string(coordinator.LimitLoop)),
	}
}

// source returns a Lua file without its comments.
func source(name string) string {
	text, err := luaFiles.ReadFile("lua/" + name + ".lua")
	if err != nil {
		panic(err) // the files are part of the binary
	}
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		code, _, comment := strings.Cut(line, "--")
		out.WriteString(code)
		if comment && strings.TrimSpace(code) != "" {
			out.WriteByte('\n')
		}
	}
	return out.String()
}
