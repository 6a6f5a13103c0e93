package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

func TestStrangersCannotFillTheLog(t *testing.T) {
	d := newBench(t).serve()
	d.ready()
	for range 100 {
		if status, _ := d.send("", "GET", "/v1/tokens/"+appID, ""); status != http.StatusUnauthorized {
			t.Fatalf("status %d, want 401", status)
		}
	}
	d.send("ops:wrong", "GET", "/v1/tokens/"+appID, "")
	d.says("wrong name or password")
	if n := strings.Count(d.stderr.String(), `why="no credentials"`); n == 0 || n > 20 {
		t.Errorf("%d lines of 100 refused callers, want 20", n)
	}
	if _, metrics := d.get("/metrics"); !strings.Contains(metrics, "zhongkong_log_lines_dropped_total 0\n") {
		t.Error("dropped lines are not counted")
	}
}

func TestEveryLineOfAJSONLogIsARecordWhoseNumbersHaveUnits(t *testing.T) {
	b := newBench(t)
	b = b.with(envUsers, ops, "ZHONGKONG_LOG_FORMAT", "json", "ZHONGKONG_SECRET_FILE", "", "ZHONGKONG_UDP", "127.0.0.1:0", "ZHONGKONG_REFRESH_EVERY", "30s")
	r := b.start(t.Context(), "", "serve", "--listen", "127.0.0.1:0")
	r.says("token refreshed")
	out := r.stop()
	records := map[string]map[string]any{}
	for line := range strings.Lines(out.stderr) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Errorf("not a record: %s", line)
			continue
		}
		message, _ := record["msg"].(string)
		records[message] = record
	}
	serving := records["serving"]
	if serving["version"] != version() || serving["url"] == nil || serving["accounts"] != appID+" (refresher)" {
		t.Errorf("serving = %v, want the version, the address and the accounts", serving)
	}
	refreshed := records["token refreshed"]
	if ttl, _ := refreshed["ttl_seconds"].(float64); ttl < 7000 || ttl > 7200 {
		t.Errorf("ttl_seconds = %v, want about two hours: %v", refreshed["ttl_seconds"], refreshed)
	}
	if took, ok := refreshed["took_seconds"].(float64); !ok || took <= 0 || took > 60 {
		t.Errorf("took_seconds = %v: %v", refreshed["took_seconds"], refreshed)
	}
	if records["no user has a udp_key, so no datagram can be answered: set one in users: of the configuration"] == nil {
		t.Errorf("nothing says that datagrams cannot be answered:\n%s", out.stderr)
	}
}
