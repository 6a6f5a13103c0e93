package main

import (
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
