//go:build unix

package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
	"github.com/zhongkong/zhongkong/redisstore"
)

// serviceVariable makes the test binary a service that links the coordinator,
// as a user's program would.
const serviceVariable = "FLEET_SERVICE"

// reportsEach is how many goroutines of a service report the dead token.
const reportsEach = 200

// service follows the account, says so, reads a dead token from stdin, reports
// it from many goroutines at once and prints every answer.
func service() int {
	store, err := redisstore.Open(os.Getenv("ZHONGKONG_REDIS"), redisstore.Options{Prefix: os.Getenv("ZHONGKONG_PREFIX")})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer store.Close()
	source, err := wechat.Config{AppID: appID, Secret: os.Getenv("ZHONGKONG_SECRET"), BaseURL: os.Getenv("ZHONGKONG_API_BASE")}.Source()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	zk, err := coordinator.New(coordinator.Config{Store: store, Accounts: []coordinator.AccountConfig{{Name: appID, Source: source}}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	var wg sync.WaitGroup
	wg.Go(func() { _ = zk.Run(ctx) }) // ends with ctx
	defer wg.Wait()
	defer stop()
	account, _ := zk.Account(appID)
	if _, err := account.Token(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("ready")
	dead, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	rejected := coordinator.NewToken(strings.TrimSpace(dead))

	answers := make(chan string, reportsEach)
	var reports sync.WaitGroup
	for range reportsEach {
		reports.Go(func() {
			record, err := account.Invalidate(ctx, rejected)
			if err != nil {
				answers <- "error: " + err.Error()
				return
			}
			answers <- record.Token.Reveal()
		})
	}
	reports.Wait()
	close(answers)
	for answer := range answers {
		fmt.Println(answer)
	}
	return 0
}

func TestAThousandReportsOfOneDeadTokenAreOneCall(t *testing.T) {
	f := newFleet(t)
	f.slow(50 * time.Millisecond)
	dead := f.run("show").token()

	type runningService struct {
		cmd *exec.Cmd
		in  *os.File
		out *bufio.Reader
	}
	var services []runningService
	for range 5 {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = []string{serviceVariable + "=1"}
		for name, value := range f.env {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		cmd.Stderr = os.Stderr
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdin = read
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		_ = read.Close()
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = write.Close() })
		services = append(services, runningService{cmd, write, bufio.NewReader(out)})
	}
	for _, s := range services {
		if line, err := s.out.ReadString('\n'); line != "ready\n" {
			t.Fatalf("a service said %q, %v", line, err)
		}
	}
	before := f.calls()
	for _, s := range services {
		if _, err := fmt.Fprintln(s.in, dead); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]int{}
	for _, s := range services {
		for range reportsEach {
			line, err := s.out.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			got[strings.TrimSpace(line)]++
		}
		if err := s.cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	if n := f.calls() - before; n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
	if want := f.lastIssued(); got[want] != 5*reportsEach || want == dead {
		t.Errorf("%d different answers, %d of them the token issued last, want all %d", len(got), got[want], 5*reportsEach)
	}
	f.keysKeepSecrets()
}
