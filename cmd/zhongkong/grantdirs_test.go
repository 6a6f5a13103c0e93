package main

import (
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/redisstore/seal"
)

func TestGrantsOutsideOfRedisAreSealedForTheirPlace(t *testing.T) {
	keys, err := seal.Parse("keys", []byte("k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="))
	if err != nil {
		t.Fatal(err)
	}
	s := &session{keys: keys, prefix: "zhongkong"}
	spool := s.grantSealer(sealedSpool)
	sealed, err := spool.Seal("wx1", []byte("refresh-token"))
	if err != nil || strings.Contains(sealed, "refresh-token") {
		t.Fatalf("Seal() = %v", err)
	}
	if plain, err := spool.Open("wx1", sealed); err != nil || string(plain) != "refresh-token" {
		t.Errorf("Open() = %q, %v", plain, err)
	}
	if _, err := spool.Open("wx2", sealed); err == nil {
		t.Error("it opens for another account")
	}
	if _, err := s.grantSealer(sealedCopy).Open("wx1", sealed); err == nil {
		t.Error("it opens in another place")
	}
	s.prefix = "other"
	if _, err := s.grantSealer(sealedSpool).Open("wx1", sealed); err == nil {
		t.Error("it opens in another deployment")
	}
}

func TestAnAccountWithAGrantNeedsAKey(t *testing.T) {
	s := grantSession(t)
	s.cfg.SealKeyFile = ""
	words := `account "` + appID + `": its grant (a refresh token, say) is always sealed`
	if problems := s.serveProblems("", false); len(problems) == 0 || !strings.Contains(problems[0].Error(), words) {
		t.Errorf("check: %v", problems)
	}
	if problems := s.serveProblems("", true); len(problems) > 0 && strings.Contains(problems[0].Error(), "sealed") {
		t.Errorf("check --sandbox: %v", problems)
	}
	if _, err := s.coordinator(appID); exitCode(err) != exitUsage || !strings.Contains(err.Error(), words) {
		t.Errorf("a command that refreshes: %v", err)
	}
}
