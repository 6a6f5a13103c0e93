package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
)

func TestOnlyRoutesThatPutAWeChatTokenElsewhereAreForeign(t *testing.T) {
	file := filepath.Join(t.TempDir(), "zk.yaml")
	err := os.WriteFile(file, []byte(`accounts:
  - {appid: wx1, secret: s1}
  - {name: crm, source: oauth2, token_url: "https://id.example.com/token", client_id: c, client_secret: s2}
routes:
  - {name: own, account: wx1}
  - {name: mirror, account: wx1, to: "https://mirror.example.com"}
  - {name: elsewhere, account: wx1, to: "https://api.example.com", put: bearer}
  - {name: crm, account: crm, to: "https://api.example.com", put: bearer}
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cfg, _, err := config.Load(config.Input{Env: func(name string) string { return map[string]string{"ZHONGKONG_CONFIG": file}[name] }})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range cfg.Routes {
		if got, err := newRoute(cfg, r); err != nil || got.Foreign != (r.Name == "elsewhere") {
			t.Errorf("%s: Foreign = %v, %v", r.Name, got.Foreign, err)
		}
	}
	if len(cfg.Routes) != 4 {
		t.Errorf("%d routes", len(cfg.Routes))
	}
}
