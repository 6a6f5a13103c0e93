package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	userInfo  = "/cgi-bin/user/info"
	phantomed = "phantomed" // the user who gets phantoms
)

// routeTarget is one way to the upstream.
type routeTarget struct {
	name, addr string
	request    []byte
	pid        int
	answered   float64
	took, cpu  time.Duration
	p50, p99   []float64 // of calls that are alone, of each turn, in ms
}

// passOn measures calls through a route of the daemon beside a bare ReverseProxy.
func passOn(e *env, r *record) error {
	upstream, upstreamAddr, err := spawnServer(order{Role: "upstream"})
	if err != nil {
		return err
	}
	bare, bareAddr, err := spawnServer(order{Role: "reverseproxy", Source: "http://" + upstreamAddr})
	if err != nil {
		return errors.Join(err, upstream.end())
	}
	children := []*child{upstream, bare}
	file, err := e.routeFile("http://" + upstreamAddr)
	if err != nil {
		return errors.Join(err, endAll(children))
	}
	d, err := e.serve("--config", file)
	if err != nil {
		return errors.Join(err, endAll(children))
	}
	targets, err := routeTargets(d, bareAddr, bare.cmd.Process.Pid)
	if err == nil {
		err = measureRoutes(targets, e.or(24, 1))
	}
	if err == nil {
		for _, t := range targets {
			more := make([]float64, len(t.p99))
			for i := range more {
				more[i] = t.p99[i] - targets[0].p99[i]
			}
			r.add(t.name, of("calls/s", t.answered/t.took.Seconds()), of("calls/cpu-s", t.answered/t.cpu.Seconds()),
				of("p50-ms", median(t.p50)), of("p99-ms", median(t.p99)), of("p99-more-ms", median(more)))
		}
		err = measureBody(d, r, int64(e.or(1<<30, 1<<20)))
	}
	return errors.Join(err, d.stop(), endAll(children))
}

// routeFile writes a configuration with a route to an upstream and a user who gets
// phantoms.
func (e *env) routeFile(to string) (string, error) {
	passwd := exec.Command(e.zhongkong, "passwd")
	passwd.Stdin = strings.NewReader(userPassword + "\n")
	hash, err := passwd.Output()
	if err != nil {
		return "", fmt.Errorf("zhongkong passwd: %w", err)
	}
	text := fmt.Sprintf("appid: %s\nroutes:\n  - {name: wx, account: %s, to: '%s'}\n  - {name: any, account: %s, to: '%s', put: bearer}\n"+
		"users:\n  - {name: %s, password: '%s', accounts: '*', phantom: true}\n",
		appID, appID, to, appID, to, phantomed, strings.TrimSpace(string(hash)))
	path := filepath.Join(e.dir, "route.yaml")
	return path, os.WriteFile(path, []byte(text), 0o600)
}

func routeTargets(d *daemon, bareAddr string, barePID int) ([]*routeTarget, error) {
	target := func(name, addr, prefix, token string, pid int) *routeTarget {
		return &routeTarget{name: name, addr: addr, pid: pid, request: fmt.Appendf(nil,
			"GET %s%s?access_token=%s&openid=o6_bmjrPTlm6_2sgVt7hMZOPfL2M HTTP/1.1\r\nHost: %s\r\nAccept: */*\r\nUser-Agent: bench\r\n\r\n",
			prefix, userInfo, token, addr)}
	}
	token, err := d.token(userName)
	if err != nil {
		return nil, err
	}
	phantom, err := d.token(phantomed)
	if err != nil {
		return nil, err
	}
	pid := d.cmd.Process.Pid
	return []*routeTarget{
		target("bare httputil.ReverseProxy", bareAddr, "", token, barePID),
		target("zhongkong, a route", d.addr, "/proxy/wx", token, pid),
		target("zhongkong, a route for a phantom", d.addr, "/proxy/wx", phantom, pid),
	}, nil
}

// token returns what a user is given.
func (d *daemon) token(user string) (string, error) {
	resp, err := http.Get("http://" + d.addr + "/cgi-bin/token?grant_type=client_credential&appid=" + appID + "&secret=" + user + "~" + userPassword)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var given struct {
		Token string `json:"access_token"`
		Error string `json:"errmsg"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&given); err != nil || given.Token == "" {
		return "", errors.Join(err, fmt.Errorf("no token for %s: %s", user, given.Error))
	}
	return given.Token, nil
}

// measureRoutes has the ways take short turns, so that all are affected by the same
// noise.
func measureRoutes(targets []*routeTarget, turns int) error {
	const last = 250 * time.Millisecond
	for turn := range turns {
		order := append(slices.Clone(targets[turn%len(targets):]), targets[:turn%len(targets)]...)
		for _, t := range order {
			before, began := serverCPU(t.pid), time.Now()
			n, err := hammer(t.addr, t.request, last)
			if err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			t.answered += float64(n)
			t.took += time.Since(began)
			t.cpu += serverCPU(t.pid) - before
		}
		for _, t := range order {
			if err := t.alone(200); err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
		}
	}
	return nil
}

// alone makes calls one after the other on one connection.
func (t *routeTarget) alone(n int) error {
	c, err := net.Dial("tcp", t.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	in := bufio.NewReader(c)
	var took []time.Duration
	for i := range n + 1 {
		began := time.Now()
		if _, err := c.Write(t.request); err != nil {
			return err
		}
		if status, err := answer(in); err != nil || status != http.StatusOK {
			return errors.Join(err, fmt.Errorf("status %d", status))
		}
		if i > 0 { // the first one opens the connection
			took = append(took, time.Since(began))
		}
	}
	t.p50 = append(t.p50, float64(percentile(took, .5))/1e6)
	t.p99 = append(t.p99, float64(percentile(took, .99))/1e6)
	return nil
}

// measureBody sends n bytes through a route and takes as many back.
func measureBody(d *daemon, r *record, n int64) error {
	before, most, stop := serverMemory(d.cmd.Process.Pid), 0.0, make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			most = max(most, serverMemory(d.cmd.Process.Pid))
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	began := time.Now()
	got, err := mirrored(d, n)
	took := time.Since(began)
	close(stop)
	watch.Wait()
	if err != nil || got != n {
		return errors.Join(err, fmt.Errorf("%d bytes of %d came back", got, n))
	}
	r.add("zhongkong, 1 GB up and down", of("MB-more", max(most-before, 0)/1e6), of("MB/s", float64(2*n)/1e6/took.Seconds()))
	return nil
}

func mirrored(d *daemon, n int64) (int64, error) {
	req, err := http.NewRequest(http.MethodPost, "http://"+d.addr+"/proxy/any/mirror", io.NopCloser(io.LimitReader(zeros{}, n)))
	if err != nil {
		return 0, err
	}
	req.ContentLength = n
	req.SetBasicAuth(userName, userPassword)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return io.Copy(io.Discard, resp.Body)
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// spawnServer starts a child that serves, and returns its address.
func spawnServer(o order) (*child, string, error) {
	all, err := spawnAll(1, o)
	if err != nil {
		return nil, "", err
	}
	all[0].start()
	var addr string
	if err := all[0].result(&addr); err != nil {
		return nil, "", errors.Join(err, endAll(all))
	}
	return all[0], addr, nil
}

// serveChild serves until the parent ends it.
func serveChild(o order, c *conversation, h http.Handler) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	go func() { // ends with l
		if o.Certificate != "" {
			_ = http.ServeTLS(l, h, o.Certificate, o.Key)
		} else {
			_ = http.Serve(l, h)
		}
	}()
	if err := c.ready(); err != nil {
		return err
	}
	if err := c.answer(l.Addr().String()); err != nil {
		return err
	}
	c.awaitEnd()
	return nil
}

// upstreamChild is the API behind the proxies.
func upstreamChild(o order, c *conversation) error {
	body := []byte(`{"subscribe":1,"openid":"o6_bmjrPTlm6_2sgVt7hMZOPfL2M","language":"zh_CN","remark":"` + strings.Repeat("x", 400) + `"}`)
	length := strconv.Itoa(len(body))
	return serveChild(o, c, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/mirror" {
			n, _ := io.Copy(io.Discard, r.Body)
			_, _ = io.CopyN(w, zeros{}, n)
			return
		}
		w.Header().Set("Content-Type", "application/json; encoding=utf-8")
		w.Header().Set("Content-Length", length)
		_, _ = w.Write(body)
	}))
}

// reverseProxyChild is what a route is compared with: it has a pool of buffers, and of
// connections with a time-out for the answer, as a route has, and changes nothing but
// the host.
func reverseProxyChild(o order, c *conversation) error {
	to, err := url.Parse(o.Source)
	if err != nil {
		return err
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns, t.MaxIdleConnsPerHost, t.ResponseHeaderTimeout, t.DisableCompression = 0, 256, time.Minute, true
	t.ReadBufferSize, t.WriteBufferSize = 16<<10, 16<<10
	return serveChild(o, c, &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }, Transport: t, BufferPool: &buffers{},
	})
}

type buffers struct{ pool sync.Pool }

type buffer [32 << 10]byte

func (b *buffers) Get() []byte {
	if buf, ok := b.pool.Get().(*buffer); ok {
		return buf[:]
	}
	return new(buffer)[:]
}

func (b *buffers) Put(buf []byte) { b.pool.Put((*buffer)(buf)) }
