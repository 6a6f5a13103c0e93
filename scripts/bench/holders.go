package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

const manyHolders = 10_000

// holders measures how long after its announcement by Redis a new token reaches the
// callers with a long poll.
func holders(e *env, r *record) (err error) {
	d, err := e.serve()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	before := serverMemory(d.cmd.Process.Pid)
	n := e.or(manyHolders, 100)
	h, err := hold(d, n)
	if err != nil {
		return err
	}
	defer h.release()
	time.Sleep(2 * time.Second) // until all requests wait
	memory := serverMemory(d.cmd.Process.Pid) - before

	announced := make(chan time.Time, 1)
	conn, err := dialRaw(d.redis.Addr())
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.do("SUBSCRIBE", fanoutChannel); err != nil {
		return err
	}
	go func() { // ends with the announcement or conn
		for {
			text, err := conn.next()
			if err != nil {
				return
			}
			if strings.Contains(string(text), `"refreshed"`) {
				announced <- time.Now()
				return
			}
		}
	}()
	if err := d.refresh(); err != nil {
		return err
	}
	at := <-announced
	h.all.Wait()
	if err := errors.Join(h.errs...); err != nil {
		return err
	}
	took := make([]time.Duration, n)
	for i, answered := range h.answered {
		took[i] = max(answered.Sub(at), 0)
	}
	r.add("zhongkong serve", ms("p50-ms", percentile(took, .5)), ms("p99-ms", percentile(took, .99)),
		ms("last-ms", percentile(took, 1)), of("MB", memory/1e6))
	return nil
}

// held is a set of requests that wait for an answer.
type held struct {
	conns    []net.Conn
	answered []time.Time
	errs     []error
	all      sync.WaitGroup
}

func (h *held) release() {
	for _, c := range h.conns {
		_ = c.Close()
	}
}

// hold opens n connections and requests the next token on each.
func hold(d *daemon, n int) (*held, error) {
	resp, err := d.get("")
	if err != nil {
		return nil, err
	}
	generation := strings.Trim(resp.Header.Get("ETag"), `"`)
	text := request(d.addr, "?after="+generation+"&wait=60s")
	h := &held{answered: make([]time.Time, n), errs: make([]error, n)}
	for i := range n {
		c, err := net.Dial("tcp", d.addr)
		if err != nil {
			return h, err
		}
		h.conns = append(h.conns, c)
		if _, err := c.Write(text); err != nil {
			return h, err
		}
		h.all.Go(func() { // ends with the answer or release
			status, err := answer(bufio.NewReaderSize(c, 1024))
			h.answered[i] = time.Now()
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("status %d", status)
			}
			h.errs[i] = err
		})
	}
	return h, nil
}
