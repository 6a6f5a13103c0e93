package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// The daemon's user.
const (
	userName     = "bench"
	userPassword = "correct-horse-battery-staple"
)

// daemon is a running `zhongkong serve` with its own Redis and source.
type daemon struct {
	addr   string
	url    string // http or https
	client *http.Client
	cmd    *exec.Cmd
	redis  *redistest.Server
	kill   func() // ends redis
	source *issuer
}

// serving is how a daemon is started.
type serving struct {
	program string   // a zhongkong binary
	global  []string // more global options
	options []string // more options of serve
	client  *http.Client
}

// serve starts the daemon of this tree, with more global options, and waits until it
// has a token.
func (e *env) serve(global ...string) (*daemon, error) {
	return e.serveAs(serving{program: e.zhongkong, global: global, client: http.DefaultClient})
}

// serveAs starts a daemon and waits until it has a token.
func (e *env) serveAs(s serving) (*daemon, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	d := &daemon{addr: addr, url: "http://" + addr, client: s.client}
	if slices.Contains(s.options, "--tls-cert") {
		d.url = "https://" + addr
	}
	if d.redis, d.kill, err = e.redis(); err != nil {
		return nil, err
	}
	if d.source, err = startIssuer(sourceTook); err != nil {
		d.kill()
		return nil, err
	}
	d.cmd = exec.Command(s.program, slices.Concat([]string{"--redis", d.redis.URL(), "--appid", appID, "--api-base", d.source.url,
		"--log-level", "error"}, s.global, []string{"serve", "--listen", d.addr}, s.options)...)
	d.cmd.Env = append(os.Environ(), "ZHONGKONG_SECRET=0123456789abcdef0123456789abcdef", "ZHONGKONG_USERS="+userName+":"+userPassword)
	d.cmd.Stderr = os.Stderr
	if err := d.cmd.Start(); err != nil {
		d.source.close()
		d.kill()
		return nil, err
	}
	for range 200 {
		if _, err = d.get(""); err == nil {
			return d, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil, errors.Join(fmt.Errorf("serve gives no token: %w", err), d.stop())
}

// get requests the token.
func (d *daemon) get(query string) (*http.Response, error) {
	req, err := http.NewRequest(http.MethodGet, d.url+"/v1/tokens/"+appID+query, nil)
	if err != nil {
		return nil, err
	}
	return d.do(req)
}

// refresh forces a refresh.
func (d *daemon) refresh() error {
	req, err := http.NewRequest(http.MethodPost, d.url+"/v1/tokens/"+appID+"/refresh", nil)
	if err != nil {
		return err
	}
	_, err = d.do(req)
	return err
}

// do makes a request, and reads and closes the body.
func (d *daemon) do(req *http.Request) (*http.Response, error) {
	req.SetBasicAuth(userName, userPassword)
	resp, err := d.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return resp, err
}

// stop ends the daemon, then what it depends on.
func (d *daemon) stop() error {
	defer d.kill()
	defer d.source.close()
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.AfterFunc(10*time.Second, func() { _ = d.cmd.Process.Kill() })
	defer timer.Stop()
	return d.cmd.Wait()
}
