package redisstore

import (
	"embed"
	"strings"

	"github.com/redis/go-redis/v9"
)

//go:embed lua/*.lua
var sources embed.FS

// scripts are the operations of the protocol, one Lua file each.
type scripts struct {
	load, begin, extend, commit, fail, restore *redis.Script
}

func newScripts() scripts {
	return scripts{
		load:    newScript("load"),
		begin:   newScript("begin"),
		extend:  newScript("extend"),
		commit:  newScript("commit"),
		fail:    newScript("fail"),
		restore: newScript("restore"),
	}
}

func newScript(name string) *redis.Script {
	return redis.NewScript(source("prelude") + "\n" + source(name))
}

// source returns a Lua file without its comments and blank lines: after a
// restart of Redis each connection may have to send whole scripts again.
func source(name string) string {
	text, err := sources.ReadFile("lua/" + name + ".lua")
	if err != nil {
		panic(err) // the files are part of the binary
	}
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "--") {
			out.WriteString(line)
			out.WriteByte('\n')
		}
	}
	return out.String()
}
