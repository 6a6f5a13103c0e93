package httpapi

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// crowdVariable makes the test binary a crowd of clients: another process has
// its own memory and its own file descriptors.
const crowdVariable = "ZHONGKONG_TEST_CROWD"

func TestMain(m *testing.M) {
	if plan := os.Getenv(crowdVariable); plan != "" {
		if err := crowd(plan); err != nil {
			fmt.Println("crowd:", err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// crowd sends a request on each of many connections, says "asked", and says
// "answered" when each has had a status line with 200.
func crowd(plan string) error {
	count, rest, _ := strings.Cut(plan, " ")
	addr, path, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", path, admin)
	connections := make([]net.Conn, n)
	for i := range connections {
		if connections[i], err = net.Dial("tcp", addr); err != nil {
			return err
		}
		if _, err := io.WriteString(connections[i], text); err != nil {
			return err
		}
	}
	fmt.Println("asked")
	line := make([]byte, len("HTTP/1.1 200"))
	for _, c := range connections {
		if _, err := io.ReadFull(c, line); err != nil || string(line) != "HTTP/1.1 200" {
			return fmt.Errorf("%q %w", line, err)
		}
	}
	fmt.Println("answered")
	return nil
}

func TestTenThousandHoldersCostLittleAndAreAllAnswered(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("measures memory, which -race multiplies")
	}
	s := newStage(t)
	const holders = 10_000
	path := fmt.Sprintf("/v1/tokens/%s?after=%d&wait=60s", wxa, s.store.Peek(wxa).Record.Generation)
	before := resident(t)
	clients := exec.Command(os.Args[0])
	clients.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s %s", crowdVariable, holders, s.server.Listener.Addr(), path))
	clients.Stderr = os.Stderr
	out, err := clients.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := clients.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(out)
	heard := func(want string) {
		t.Helper()
		if !said.Scan() || said.Text() != want {
			t.Fatalf("the crowd said %q, want %q", said.Text(), want)
		}
	}
	heard("asked")
	s.wait("all to hold", func() bool { return s.api.Holding() == holders })
	cost := resident(t) - before
	t.Logf("%d holders cost %d MB, %.1f KB each", holders, cost>>20, float64(cost)/holders/1024)
	if cost > 200_000_000 {
		t.Errorf("%d holders cost %d MB, want less than 200", holders, cost/1_000_000)
	}
	if r := s.ask(admin, "POST", "/v1/tokens/"+wxa+"/refresh", ""); r.status != 200 {
		t.Fatalf("refresh: %d %s", r.status, r.body)
	}
	heard("answered")
	if err := clients.Wait(); err != nil {
		t.Error(err)
	}
}

// resident is how many bytes of memory the process has.
func resident(t *testing.T) int64 {
	t.Helper()
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("needs /proc: ", err)
	}
	fields := bytes.Fields(status)
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
