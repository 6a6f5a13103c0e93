package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// process is a process of the fleet. It keeps its name when it is restarted; each start
// begins a new life.
type process struct {
	name    string
	binary  string
	args    []string
	env     map[string]string
	onLine  func(p *process, life int, line []byte) // called with each line of stdout; may be nil
	refresh bool                                    // it has the secret, so it can refresh

	mu    sync.Mutex
	cmd   *exec.Cmd     // guarded by mu: nil when dead
	ended chan struct{} // guarded by mu
	url   string        // guarded by mu: of serve, when it has printed it
	log   bytes.Buffer  // guarded by logMu
	logMu sync.Mutex
	life  atomic.Int32
}

var announced = regexp.MustCompile(`zhongkong: (https?://\S+),`)

// start starts the process unless it is running.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return nil
	}
	life := int(p.life.Add(1))
	cmd := exec.Command(p.binary, p.args...)
	env := maps.Clone(p.env)
	env["PATH"] = os.Getenv("PATH")
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd, p.ended, p.url = cmd, make(chan struct{}), ""
	ended := p.ended
	go func() { // ends with the process; kill waits for it
		var both sync.WaitGroup
		both.Go(func() { p.readLines(life, stdout) })
		both.Go(func() { p.readLog(stderr) })
		both.Wait()
		_ = cmd.Wait()
		close(ended)
	}()
	return nil
}

func (p *process) readLines(life int, r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if p.onLine != nil {
			p.onLine(p, life, lines.Bytes())
		}
	}
}

// readLog records what the process logs and finds its address in that.
func (p *process) readLog(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		p.logMu.Lock()
		fmt.Fprintf(&p.log, "%s %s\n", time.Now().Format("15:04:05.000"), lines.Bytes())
		p.logMu.Unlock()
		if found := announced.FindSubmatch(lines.Bytes()); found != nil {
			p.mu.Lock()
			p.url = string(found[1])
			p.mu.Unlock()
		}
	}
}

// output returns everything that the process has printed to stderr, in all lives.
func (p *process) output() string {
	p.logMu.Lock()
	defer p.logMu.Unlock()
	return p.log.String()
}

func (p *process) address() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.url
}

// pid is the process id, 0 while the process is not running.
func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// kill sends a signal and waits for the end of the process.
func (p *process) kill(sig syscall.Signal) {
	p.mu.Lock()
	cmd, ended := p.cmd, p.ended
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Signal(sig)
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		_ = cmd.Process.Kill()
		<-ended
	}
	p.mu.Lock()
	p.cmd, p.url = nil, ""
	p.mu.Unlock()
}

// died reports whether the process has ended without being killed.
func (p *process) died() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

func (p *process) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(sig)
	}
}

// holds reports whether the lock's value names this process.
func (p *process) holds(lock string) bool {
	pid := p.pid()
	return pid != 0 && strings.Contains(lock, fmt.Sprintf(":%d-", pid))
}
