package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// starts measures whole processes that print the token, and the size of their programs.
func starts(e *env, r *record) error {
	versions, err := e.inTurn(r)
	if err != nil {
		return err
	}
	server, kill, err := e.redis()
	if err != nil {
		return err
	}
	defer kill()
	if err := storeToken(server.URL()); err != nil {
		return err
	}
	type contender struct {
		name, program string
		args          []string
		took, cpu     []time.Duration
	}
	all := []*contender{{name: "redis-cli hget", program: "redis-cli",
		args: []string{"-p", strconv.Itoa(server.Port()), "hget", "zhongkong:{" + appID + "}:token", "access_token"}}}
	for _, v := range versions {
		all = append(all, &contender{name: v.contender("show"), program: v.zhongkong, args: []string{"--redis", server.URL(), "show", appID}})
	}
	for range e.or(60, 3) {
		for _, c := range all {
			cmd := exec.Command(c.program, c.args...)
			began := time.Now()
			out, err := cmd.Output()
			c.took = append(c.took, time.Since(began))
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			if string(bytes.TrimSpace(out)) != tokenText(1) {
				return fmt.Errorf("%s printed %q", c.name, out)
			}
			c.cpu = append(c.cpu, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
		}
	}
	for _, c := range all {
		values := []value{ms("p50-ms", percentile(c.took, .5)), ms("cpu-ms", percentile(c.cpu, .5))}
		if info, err := os.Stat(c.program); err == nil {
			values = append(values, of("binary-MB", float64(info.Size())/1e6))
		}
		r.add(c.name, values...)
	}
	return nil
}
