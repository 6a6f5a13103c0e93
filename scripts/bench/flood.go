package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// The callers of a daemon that is flooded with wrong passwords. A flooded user is one
// that the wrong passwords are for.
const (
	floodPrograms = 20 // that have not asked before; with a key where the version has keys
	floodPeople   = 5  // the same, with a password
	floodRate     = 1000
	floodSources  = 10_000 // addresses from which wrong passwords come
	floodPatience = 5 * time.Second
)

// floods measures a daemon that receives wrong passwords from many addresses, and what the
// machine allows: a bare handler that refuses them at once.
func floods(e *env, r *record) error {
	if err := e.eachInTurn(r, func(v version) error { return floodOne(e, r, v) }); err != nil {
		return err
	}
	bare, addr, err := spawnServer(order{Role: "refuse"})
	if err != nil {
		return err
	}
	f, err := underFlood(e, &daemon{url: "http://" + addr}, userPassword, nil)
	if err != nil {
		return errors.Join(err, bare.end())
	}
	r.add(bareRefusal, f.values()...)
	return bare.end()
}

// bareRefusal is the contender that does no more than to refuse.
const bareRefusal = "bare net/http handler"

// refuseChild answers the proved caller, and nobody else, with a token.
func refuseChild(o order, c *conversation) error {
	return serveChild(o, c, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, _, _ := r.BasicAuth(); user != provedUser {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, tokenText(1))
	}))
}

const provedUser = "proved"

// underFlooding is what the regular caller sees without the flood and in it.
type underFlooding struct {
	sent          int
	calm, flooded []time.Duration
}

func (f underFlooding) values() []value {
	return []value{
		of("wrong", float64(f.sent)),
		ms("calm-p50-ms", percentile(f.calm, .5)), ms("calm-p99-ms", percentile(f.calm, .99)),
		ms("p50-ms", percentile(f.flooded, .5)), ms("p99-ms", percentile(f.flooded, .99)),
	}
}

// underFlood has the regular caller ask without the flood, and in it. meanwhile, which gets
// the time that the second takes, runs beside it.
func underFlood(e *env, d *daemon, key string, meanwhile func(time.Duration)) (f underFlooding, err error) {
	last := time.Duration(e.or(5000, 300)) * time.Millisecond
	if err := d.ask(context.Background(), http.DefaultClient, provedUser, key); err != nil {
		return f, err
	}
	f.calm = regular(d, provedUser, key, last)
	flood, err := spawn(order{Role: "flood", Source: d.url, Number: e.or(floodRate, 100)})
	if err != nil {
		return f, err
	}
	if err := flood.awaitReady(); err != nil {
		return f, errors.Join(err, flood.end())
	}
	flood.start()
	time.Sleep(last / 5)
	var beside sync.WaitGroup
	if meanwhile != nil {
		beside.Go(func() { meanwhile(4 * last) }) // joined below
	}
	f.flooded = regular(d, provedUser, key, 4*last)
	beside.Wait()
	flood.start() // the second line ends it
	return f, errors.Join(flood.result(&f.sent), flood.end())
}

func floodOne(e *env, r *record, v version) error {
	programs, people := e.or(floodPrograms, 2), e.or(floodPeople, 1)
	key, file, err := e.floodFile(v, programs, people)
	if err != nil {
		return err
	}
	d, err := e.serveAs(serving{program: v.zhongkong, global: []string{"--config", file}, client: http.DefaultClient})
	if err != nil {
		return err
	}
	var lockedPrograms, lockedPeople int
	var slowestProgram, slowestPerson time.Duration
	f, err := underFlood(e, d, key, func(last time.Duration) {
		lockedPrograms, slowestProgram = newcomers(d, "program", key, 1, programs, last)
		lockedPeople, slowestPerson = newcomers(d, "person", userPassword, 2, people, last)
	})
	if err != nil {
		return errors.Join(err, d.stop())
	}
	r.add(v.name, append(f.values(),
		of("programs-locked-out", float64(lockedPrograms)), ms("slowest-program-ms", slowestProgram),
		of("people-locked-out", float64(lockedPeople)), ms("slowest-person-ms", slowestPerson),
		of("peak-MB", peakMemory(d.cmd.Process.Pid)/1e6))...)
	return d.stop()
}

// floodFile writes a configuration with the callers, and returns the password or key of
// the programs.
func (e *env) floodFile(v version, programs, people int) (key, path string, err error) {
	passwd := exec.Command(v.zhongkong, "passwd")
	passwd.Stdin = strings.NewReader(userPassword + "\n")
	out, err := passwd.Output()
	if err != nil {
		return "", "", fmt.Errorf("zhongkong passwd: %w", err)
	}
	password := strings.TrimSpace(string(out))
	key, hash := userPassword, password
	if v.name != theBefore {
		out, err := exec.Command(v.zhongkong, "passwd", "--key").Output()
		if err != nil {
			return "", "", fmt.Errorf("zhongkong passwd --key: %w", err)
		}
		lines := strings.Fields(string(out))
		key, hash = lines[0], lines[1]
	}
	var b strings.Builder
	fmt.Fprintf(&b, "appid: %s\nusers:\n", appID)
	user := func(name, hash string) {
		fmt.Fprintf(&b, "- {name: %s, password: '%s', accounts: [%s]}\n", name, hash, appID)
	}
	user(provedUser, hash)
	user("flooded", password)
	for i := range programs {
		user(fmt.Sprint("program", i), hash)
	}
	for i := range people {
		user(fmt.Sprint("person", i), password)
	}
	path = filepath.Join(e.dir, "flood-"+v.name+".yaml")
	return key, path, os.WriteFile(path, []byte(b.String()), 0o600)
}

// from returns a client whose connections come from an address of loopback.
func from(address net.IP) *http.Client {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: address}}
	return &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
}

// ask requests the token once; the error says why it was not given.
func (d *daemon) ask(ctx context.Context, client *http.Client, user, password string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url+"/v1/tokens/"+appID, nil)
	if err != nil {
		return err
	}
	req.SetBasicAuth(user, password)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s got %s", user, resp.Status)
	}
	return nil
}

// regular is a caller that asks a hundred times a second, one time after the other. An
// answer that it does not get counts as the time it waits at most.
func regular(d *daemon, user, password string, last time.Duration) (took []time.Duration) {
	const pause = 10 * time.Millisecond
	for end := time.Now().Add(last); time.Now().Before(end); time.Sleep(pause) {
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), floodPatience)
		err := d.ask(ctx, http.DefaultClient, user, password)
		cancel()
		if err != nil {
			took = append(took, floodPatience)
			continue
		}
		took = append(took, time.Since(began))
	}
	return took
}

// newcomers are callers that have not asked this daemon before, each from an address of
// its own, one after the other within the first half of the time.
func newcomers(d *daemon, kind, password string, network byte, n int, within time.Duration) (lockedOut int, slowest time.Duration) {
	var mu sync.Mutex // guards the results
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { // joined below
			ctx, cancel := context.WithTimeout(context.Background(), floodPatience)
			defer cancel()
			began := time.Now()
			err := d.ask(ctx, from(net.IPv4(127, 200, network, byte(i+1))), fmt.Sprint(kind, i), password)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				fmt.Fprintln(os.Stderr, "bench: flood:", err)
				lockedOut++
			}
			slowest = max(slowest, time.Since(began))
		})
		time.Sleep(within / 2 / time.Duration(n))
	}
	all.Wait()
	return lockedOut, slowest
}

// floodChild sends wrong passwords from its start until it is told to end, and answers how
// many. It is a process of its own, so that the regular caller does not wait for it.
func floodChild(o order, c *conversation) error {
	if err := c.ready(); err != nil {
		return err
	}
	stop := flood(o.Source, o.Number)
	_, err := c.in.ReadString('\n')
	return errors.Join(err, c.answer(stop()))
}

// flood sends wrong passwords until the function that it returns is called, which
// returns how many were sent.
func flood(url string, rate int) (stop func() (sent int)) {
	addr := strings.TrimPrefix(url, "http://")
	ctx, cancel := context.WithCancel(context.Background())
	guesses := make(chan int, 512)
	var all sync.WaitGroup
	for range cap(guesses) {
		all.Go(func() { // joined by stop
			for i := range guesses {
				address := net.IPv4(127, 100, byte(i%floodSources/100), byte(i%floodSources%100+1))
				guess(ctx, addr, address, fmt.Sprint("wrong-password-", i))
			}
		})
	}
	sent := 0
	all.Go(func() { // joined by stop
		defer close(guesses)
		began := time.Now()
		for ctx.Err() == nil {
			for due := int(time.Since(began).Seconds() * float64(rate)); sent < due; {
				select {
				case guesses <- sent:
					sent++
				default: // all wait for an answer
					due = sent
				}
			}
			time.Sleep(time.Millisecond)
		}
	})
	return func() int { cancel(); all.Wait(); return sent }
}

// guess sends one wrong password on a connection of its own. It waits for the answer for a
// second at most.
func guess(ctx context.Context, addr string, from net.IP, password string) {
	ctx, done := context.WithTimeout(ctx, time.Second)
	defer done()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}
	c, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	if _, err := c.Write(requestAs("flooded", password, addr, "")); err == nil {
		_, _ = answer(bufio.NewReader(c))
	}
}
