package sdktest

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const recipesPage = "../../cmd/zhongkong/docs/recipes.md"

// recipe is a program of the page about recipes, with an account to itself.
type recipe struct {
	language string // of its code block
	begins   string // "" if the page has one block of the language
	file     string
	command  []string
	account
}

func recipes() []*recipe {
	all := []*recipe{
		{language: "sh", begins: "#!/bin/sh\n", file: "recipe.sh", command: []string{"sh"}},
		{language: "python", file: "recipe.py", command: []string{"/usr/bin/python3"}},
		{language: "php", file: "recipe.php", command: []string{"php"}},
		{language: "java", file: "Recipe.java", command: []string{"java", "-XX:TieredStopAtLevel=1"}},
		{language: "js", file: "recipe.js", command: []string{"node"}},
	}
	for i, one := range all {
		one.account = account{fmt.Sprintf("wx%016x", 0x100+i), fmt.Sprintf("recipe%d", i)}
	}
	return all
}

// TestTheRecipesWork runs each program of the page as it is there: with a living token,
// with one that died, and with one that WeChat goes on rejecting.
func TestTheRecipesWork(t *testing.T) {
	all := recipes()
	var accounts []account
	for _, one := range all {
		accounts = append(accounts, one.account)
	}
	s := newStack(t, accounts)
	wechat, err := url.Parse(s.wechat)
	if err != nil {
		t.Fatal(err)
	}
	var called atomic.Int64
	forward := httputil.NewSingleHostReverseProxy(wechat)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		called.Add(1)
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(api.Close)
	each := func(when string, calls, issues int, succeeds bool) {
		called.Store(0)
		var group sync.WaitGroup
		for _, one := range all {
			group.Go(func() {
				before := s.issued(one.appID)
				out, err := s.cook(t, one, api.URL)
				if (err == nil) != succeeds || succeeds && !strings.Contains(out, "101.226.62.0") {
					t.Errorf("%s, %s: %v\n%s", one.file, when, err, out)
				}
				if n := s.issued(one.appID) - before; n != issues {
					t.Errorf("%s, %s: %d new tokens, want %d", one.file, when, n, issues)
				}
			})
		}
		group.Wait()
		if n := called.Load(); n != int64(calls*len(all)) {
			t.Errorf("%s: %d calls, want %d of each program", when, n, calls)
		}
	}
	each("a living token", 1, 0, true)
	t.Run("External Secrets", func(t *testing.T) { s.externalSecrets(t, accounts[0].appID) })
	for _, one := range all {
		s.kill(one.appID)
	}
	each("a dead token", 2, 1, true)
	s.must("POST", s.wechat+"/sandbox/faults", `{"kind":"errcode","path":"/cgi-bin/getcallbackip","code":40001}`)
	each("a token that is always rejected", 2, 1, false)
}

// cook runs a recipe with WeChat's API at an address, and returns what it printed.
func (s *stack) cook(t *testing.T, one *recipe, api string) (string, error) {
	var code string
	for _, block := range blocksOf(t, recipesPage, one.language) {
		if strings.HasPrefix(block, one.begins) {
			code = block
			break
		}
	}
	dir := t.TempDir()
	code = strings.NewReplacer("wx8acdb7df5beb68fd", one.appID, "http://127.0.0.1:8080", s.zhongkong, "https://api.weixin.qq.com", api,
		`"app:`, `"`+caller+`:`, `"app"`, `"`+caller+`"`).Replace(code)
	path := filepath.Join(dir, one.file)
	if err := os.WriteFile(path, []byte(code), 0o600); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, one.command[0], append(one.command[1:], path)...)
	c.Env = append(os.Environ(), "ZK_PASSWORD="+key)
	out, err := c.CombinedOutput()
	if strings.Contains(string(out), key) {
		t.Errorf("%s prints the password", one.file)
	}
	return string(out), err
}
