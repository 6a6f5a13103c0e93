package redisstore

import (
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// Cluster editions behind proxies look through a script before they run it.
func TestEveryScriptDeclaresItsKeys(t *testing.T) {
	files, err := fs.Glob(luaFiles, "lua/*.lua")
	if err != nil || len(files) < 7 {
		t.Fatalf("the scripts are %v, %v", files, err)
	}
	header := regexp.MustCompile(`(?m)^-- KEYS  (?:.* )?(\d+) [^,\d]+$`)
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(file, "lua/"), ".lua")
		if name == "prelude" || name == "change" || name == "json" {
			continue
		}
		text, err := fs.ReadFile(luaFiles, file)
		if err != nil {
			t.Fatal(err)
		}
		last := header.FindStringSubmatch(string(text))
		if last == nil {
			t.Errorf("%s does not say what its keys are", file)
			continue
		}
		n, _ := strconv.Atoi(last[1])
		command := []string{"eval", assemble(source("prelude"), source("change"), source(name)), last[1]}
		for i := range n {
			command = append(command, "{a}:"+strconv.Itoa(i))
		}
		if refusal := redistest.Strict(command); refusal != "" {
			t.Errorf("%s: %s", file, refusal)
		}
	}
}

func TestAScriptHasOnlyTheDeclarationsThatItUses(t *testing.T) {
	got := assemble(`
local a, other = 1, 2

local function unused() return a end

local function b()
  local c = 'unused'
  return a
end
`, `
local unused_too, d = 'b', 3
`, `
if b() > day_ms then
  return 'unused d day_ms'
end
`)
	want := `local a, other = 1, 2
local function b()
local c = 'unused'
return a
end
if b() > 86400000 then
return 'unused d day_ms'
end
`
	if got != want {
		t.Errorf("the script is\n%s\nwant\n%s", got, want)
	}
}
