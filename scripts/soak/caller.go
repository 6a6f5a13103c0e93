package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"
)

// callerPassword is the password of the HTTP interface's user.
const callerPassword = "soak-caller"

// record is an answer of /v1/tokens.
type record struct {
	Token      string `json:"access_token"`
	Generation uint64 `json:"generation"`
	Stale      bool   `json:"stale"`
	Error      string `json:"error"`
}

// caller asks one process over HTTP.
type caller struct {
	tb      *testbed
	process *process
	client  *http.Client
}

func (tb *testbed) newCaller(p *process) *caller {
	return &caller{tb: tb, process: p, client: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: 2},
	}}
}

// ask makes one request and reads the answer.
func (c *caller) ask(ctx context.Context, method, path string, body any) (status int, r record, err error) {
	var payload io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return 0, r, err
		}
		payload = bytes.NewReader(text)
	}
	base := c.process.address()
	if base == "" {
		return 0, r, errNotUp
	}
	req, err := http.NewRequestWithContext(ctx, method, base+path, payload)
	if err != nil {
		return 0, r, err
	}
	req.SetBasicAuth("soak", callerPassword)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, r, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && len(text) > 0 {
		err = json.Unmarshal(text, &r)
	}
	return resp.StatusCode, r, err
}

var errNotUp = fmt.Errorf("the process is not up")

// poll requests the token continuously and uses it.
func (c *caller) poll(ctx context.Context) {
	var rejected string
	var since time.Time
	for sleep(ctx, 100*time.Millisecond) {
		life, began := int(c.process.life.Load()), time.Now()
		bounded, cancel := context.WithTimeout(ctx, holdWait+10*time.Second)
		status, r, err := c.ask(bounded, http.MethodGet, fmt.Sprintf("%s?wait=%s", c.path(), holdWait), nil)
		hung := bounded.Err() != nil && ctx.Err() == nil
		cancel()
		if life != int(c.process.life.Load()) || err != nil && !hung {
			continue // the process was killed
		}
		if status != http.StatusOK {
			c.recordStatus("GET", life, began, holdWait, status, r)
			continue
		}
		c.saw(life, began, r)
		if c.tb.wechat.Accepts(r.Token, c.tb.wechat.Now()) {
			continue
		}
		if rejected != r.Token {
			rejected, since = r.Token, time.Now()
		}
		if time.Since(since) >= c.tb.reportDelay {
			c.refresh(ctx, r.Token)
		}
	}
}

func (c *caller) path() string { return "/v1/tokens/" + account }

func (c *caller) saw(life int, began time.Time, r record) {
	c.tb.recorder.saw(observation{
		who: c.process.name, life: life, from: began.Round(0), to: time.Now().Round(0), gen: r.Generation, hash: hashOf(r.Token), stale: r.Stale,
	})
}

// okStatuses are the statuses that faults may lead to.
var okStatuses = []int{http.StatusOK, http.StatusNotModified, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable}

func (c *caller) recordStatus(op string, life int, began time.Time, within time.Duration, status int, r record) {
	e := ended{who: c.process.name, life: life, op: op, from: began, to: time.Now(), within: within}
	if status >= 400 {
		e.err = fmt.Sprintf("%d %s", status, r.Error)
	}
	if e.wrong = !slices.Contains(okStatuses, status); e.wrong && e.err == "" {
		e.err = fmt.Sprintf("status %d after %v", status, e.to.Sub(began))
	}
	c.tb.recorder.finished(e)
}

// holdWait is the wait of a long poll.
const holdWait = 3 * time.Second

// hold long-polls for a newer token.
func (c *caller) hold(ctx context.Context) {
	var after uint64
	for sleep(ctx, 20*time.Millisecond) {
		life, began := int(c.process.life.Load()), time.Now()
		bounded, cancel := context.WithTimeout(ctx, holdWait+10*time.Second)
		path := fmt.Sprintf("%s?after=%d&wait=%s", c.path(), after, holdWait)
		status, r, err := c.ask(bounded, http.MethodGet, path, nil)
		hung := bounded.Err() != nil // otherwise the connection broke because the process was killed
		cancel()
		if ctx.Err() != nil || life != int(c.process.life.Load()) {
			continue
		}
		if err != nil {
			if hung {
				c.recordStatus("hold", life, began, holdWait, 0, r)
			}
			sleep(ctx, 100*time.Millisecond)
			continue
		}
		c.recordStatus("hold", life, began, holdWait, status, r)
		if status == http.StatusOK {
			c.saw(life, began, r)
			after = r.Generation
		} else if status >= 400 {
			sleep(ctx, 200*time.Millisecond)
		}
	}
}

// refreshWait is how long a server lets a forced refresh take.
const refreshWait = 30 * time.Second

// refresh forces a refresh and returns the generation in the answer. With ifToken it
// does so only if that is still the current token.
func (c *caller) refresh(ctx context.Context, ifToken string) uint64 {
	life, began := int(c.process.life.Load()), time.Now()
	ctx, cancel := context.WithTimeout(ctx, refreshWait+10*time.Second)
	defer cancel()
	body := map[string]string{}
	if ifToken != "" {
		body["if_token"] = ifToken
	}
	status, r, err := c.ask(ctx, http.MethodPost, c.path()+"/refresh", body)
	if err != nil || life != int(c.process.life.Load()) {
		return 0
	}
	c.recordStatus("refresh", life, began, refreshWait, status, r)
	if status != http.StatusOK {
		return 0
	}
	c.saw(life, began, r)
	return r.Generation
}

// demand starts a forced refresh by a random caller and does not wait for it.
func (tb *testbed) demand(r *rand.Rand) {
	c := tb.anyCaller(r)
	tb.wg.Go(func() { c.refresh(tb.ctx, "") }) // ends with tb.ctx, or by its own deadline
}
