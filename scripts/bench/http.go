package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const httpConnections = 64

// request is one GET of the token as its bytes on the wire.
func request(host, query string) []byte { return requestAs(userName, userPassword, host, query) }

func requestAs(user, password, host, query string) []byte {
	key := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	return fmt.Appendf(nil, "GET /v1/tokens/%s%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Basic %s\r\nAccept: */*\r\nUser-Agent: bench\r\n\r\n",
		appID, query, host, key)
}

// answer reads one response from a connection and returns its status.
func answer(in *bufio.Reader) (status int, err error) {
	length := 0
	line, err := in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, err
	}
	for {
		if line, err = in.ReadSlice('\n'); err != nil {
			return status, err
		}
		if len(line) <= 2 {
			break
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return status, err
			}
		}
	}
	_, err = in.Discard(length)
	return status, err
}

// serveHTTP measures authenticated GETs of the daemon beside a bare handler
// that writes the same bytes.
func serveHTTP(e *env, r *record) (err error) {
	d, err := e.serve()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	bare, bareAddr, err := spawnServer(order{Role: "bare", Source: "http://" + d.addr})
	if err != nil {
		return err
	}
	targets := []struct {
		name, addr string
		pid        int
	}{{"bare net/http handler", bareAddr, bare.cmd.Process.Pid}, {"zhongkong serve", d.addr, d.cmd.Process.Pid}}
	const last = 250 * time.Millisecond
	turns := e.or(16, 1) // short ones, so that both are affected by the same noise
	answered, took, cpu := make([]float64, len(targets)), make([]float64, len(targets)), make([]float64, len(targets))
	for range turns {
		for i, target := range targets {
			before, began := serverCPU(target.pid), time.Now()
			n, err := hammer(target.addr, request(target.addr, ""), last)
			if err != nil {
				return fmt.Errorf("%s: %w", target.name, err)
			}
			answered[i] += float64(n)
			took[i] += time.Since(began).Seconds()
			cpu[i] += (serverCPU(target.pid) - before).Seconds()
		}
	}
	for i, target := range targets {
		r.add(target.name, of("requests/s", answered[i]/took[i]), of("requests/cpu-s", answered[i]/cpu[i]))
	}
	return bare.end()
}

// hammer sends a request over all connections for a while and returns the number of
// answers.
func hammer(addr string, text []byte, last time.Duration) (int64, error) {
	var answered atomic.Int64
	errs := make([]error, httpConnections)
	end := time.Now().Add(last)
	var all sync.WaitGroup
	for i := range httpConnections {
		all.Go(func() { // joined below
			errs[i] = func() error {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					return err
				}
				defer c.Close()
				in := bufio.NewReader(c)
				for time.Now().Before(end) {
					if err := exchange(c, in, text); err != nil {
						return err
					}
					answered.Add(1)
				}
				return nil
			}()
		})
	}
	all.Wait()
	return answered.Load(), errors.Join(errs...)
}

// exchange makes a request on a connection, whose answer must be 200.
func exchange(c net.Conn, in *bufio.Reader, text []byte) error {
	if _, err := c.Write(text); err != nil {
		return err
	}
	status, err := answer(in)
	if err != nil || status != http.StatusOK {
		return errors.Join(err, fmt.Errorf("status %d", status))
	}
	return nil
}

// bareChild answers every request with a copy of one answer of the daemon.
func bareChild(o order, c *conversation) error {
	req, err := http.NewRequest(http.MethodGet, o.Source+"/v1/tokens/"+appID, nil)
	if err != nil {
		return err
	}
	req.SetBasicAuth(userName, userPassword)
	resp, err := insecureClient().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	length := []string{strconv.Itoa(len(body))}
	header := resp.Header.Clone()
	header.Del("Date")
	header.Del("Content-Length")
	return serveChild(o, c, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		for name, values := range header {
			h[name] = values
		}
		h["Content-Length"] = length
		_, _ = w.Write(body)
	}))
}
