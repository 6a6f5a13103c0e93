//go:build unix

package e2e_test

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// piped is a daemon whose log is read through a pipe.
type piped struct {
	*process
	log   *os.File // the end that is read
	write *os.File // this process's copy of the other end
}

// servePiped starts a daemon and reads its log up to the line that says where
// it is.
func (f *fleet) servePiped(args ...string) *piped {
	f.t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _, _ = read.Close(), write.Close() })
	p := &process{f: f, cmd: exec.Command(binary, append([]string{"serve"}, args...)...), done: make(chan struct{})}
	for name, value := range f.env {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	p.cmd.Stderr = write // a file is inherited directly, without a copying goroutine
	if err := p.cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	go func() { // ends with the process; the cleanup waits for it
		_ = p.cmd.Wait()
		close(p.done)
	}()
	f.t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		<-p.done
	})
	announced := regexp.MustCompile(`zhongkong: (http://[^ ,]+),`)
	lines := bufio.NewReaderSize(read, 16) // reads little ahead
	for p.url == "" {
		line, err := lines.ReadString('\n')
		if err != nil {
			f.t.Fatalf("serve does not say where it is: %v", err)
		}
		if found := announced.FindStringSubmatch(line); found != nil {
			p.url = found[1]
		}
	}
	f.eventually(10*time.Second, "the first token", func() bool { return f.stored() != "" })
	return &piped{p, read, write}
}

// post forces a refresh and returns the status.
func (p *process) post(path string) int {
	p.f.t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequest(http.MethodPost, p.url+path, http.NoBody)
	if err != nil {
		p.f.t.Fatal(err)
	}
	req.SetBasicAuth("ops", "a-password-for-tests")
	resp, err := client.Do(req)
	if err != nil {
		p.f.t.Error(err)
		return 0
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// terminates sends SIGTERM and fails the test unless the daemon ends well, soon.
func (p *process) terminates() {
	p.f.t.Helper()
	p.signal(syscall.SIGTERM)
	if took := p.f.eventually(10*time.Second, "it to end", p.ended); took > 5*time.Second || p.code() != 0 {
		p.f.t.Errorf("it ended with %d after %v, want 0 within 5s", p.code(), took)
	}
}

func TestADaemonOutlivesTheReaderOfItsLog(t *testing.T) {
	f := newFleet(t)
	daemon := f.servePiped()
	_ = daemon.log.Close()
	for range 3 { // each of them is logged
		if status := daemon.post("/v1/tokens/" + appID + "/refresh"); status != http.StatusOK {
			t.Errorf("refresh = %d, want 200", status)
		}
	}
	if daemon.ended() {
		t.Fatalf("it ended: %v", daemon.cmd.ProcessState)
	}
	daemon.terminates()
}

func TestADaemonWhoseLogIsStuckGoesOn(t *testing.T) {
	f := newFleet(t)
	daemon := f.servePiped("--refresh-every", "1s")
	daemon.fill()
	began, before := time.Now(), f.calls()
	f.eventually(10*time.Second, "refreshes by the schedule", func() bool { return f.calls() >= before+3 })
	t.Logf("three refreshes took %v", time.Since(began))
	if status := daemon.post("/v1/tokens/" + appID + "/refresh"); status != http.StatusOK {
		t.Errorf("refresh = %d, want 200", status)
	}
	daemon.terminates()
}

// fill fills the pipe of the daemon's log from this end, and keeps it full.
func (p *piped) fill() {
	block := []byte(strings.Repeat("x", 511) + "\n")
	written := make(chan struct{}, 1)
	ended := make(chan struct{})
	go func() { // ends when the reading end is closed
		defer close(ended)
		for {
			if _, err := p.write.Write(block); err != nil {
				return
			}
			written <- struct{}{}
		}
	}()
	p.f.t.Cleanup(func() {
		_ = p.log.Close()
		for {
			select {
			case <-written:
			case <-ended:
				return
			}
		}
	})
	for {
		select {
		case <-written:
		case <-time.After(300 * time.Millisecond): // not read: it stays full
			return
		}
	}
}

func TestTheLastLinesAreFlushed(t *testing.T) {
	f := newFleet(t)
	daemon := f.servePiped()
	_ = daemon.write.Close() // so that the pipe ends with the daemon
	daemon.signal(syscall.SIGTERM)
	rest, err := io.ReadAll(daemon.log)
	if err != nil || !strings.Contains(string(rest), "msg=stopped") {
		t.Errorf("%v, %s", err, rest)
	}
}

func TestAShortCommandFailsWhenItsOutputIsNotRead(t *testing.T) {
	f := newFleet(t)
	f.run("show")
	for _, command := range []string{"show", "status", "history"} {
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		_ = read.Close()
		cmd := exec.Command(binary, command)
		for name, value := range f.env {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		cmd.Stdout = write
		if err := cmd.Run(); err == nil {
			t.Errorf("%s ended well, but its output is lost", command)
		}
		_ = write.Close()
	}
}
