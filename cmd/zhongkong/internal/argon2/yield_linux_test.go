package argon2

import (
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// Each yield of a hash takes the processor from it while another thread wants it. Without
// yields, the kernel takes it after a slice, which is many times as long.
func TestAHashGivesItsProcessorToOtherThreads(t *testing.T) {
	const one = "ZHONGKONG_TEST_ONE_PROCESSOR"
	if os.Getenv(one) == "" {
		onOneProcessor(t, exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v"), one+"=yes")
		return
	}
	yieldThreadFor = time.Minute // also if the machine is busy
	runtime.GOMAXPROCS(2)        // one for the hash, one for the thread that wants the processor
	var stop atomic.Bool
	started := make(chan struct{})
	var other sync.WaitGroup
	other.Go(func() { // joined below
		close(started)
		for !stop.Load() { // computes
		}
	})
	<-started
	var m Memory
	defer m.Release()
	const yields = 100
	before := takenFrom(t)
	m.IDKey(nil, make([]byte, 8), Params{KiB: yields * yieldAfter / 4, Passes: 4, Lanes: 1}, 32)
	got := takenFrom(t) - before
	stop.Store(true)
	other.Wait()
	if got < yields*3/4 {
		t.Errorf("the processor was taken %d times from the threads while the hash yielded %d times", got, yields)
	}
}

// takenFrom returns how often a processor was taken from threads of this process that
// wanted to go on.
func takenFrom(t *testing.T) int {
	t.Helper()
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		t.Fatal(err)
	}
	return int(use.Nivcsw)
}

// onOneProcessor runs a command whose threads share one of the processors of this process.
func onOneProcessor(t *testing.T, cmd *exec.Cmd, variable string) {
	t.Helper()
	cmd.Env = append(os.Environ(), variable)
	out, err := make(chan []byte), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and no Unlock: the thread ends with the goroutine
		if e := shareOneProcessor(); e != 0 {
			close(out)
			err <- e
			return
		}
		text, e := cmd.CombinedOutput() // it inherits the processor
		err <- e
		out <- text
	}()
	text, ran := <-out
	switch e := <-err; {
	case !ran:
		t.Error("the threads cannot be bound to a processor:", e)
	case e != nil:
		t.Errorf("%v: %s", e, text)
	}
}

// shareOneProcessor binds the calling thread to the first processor that it may use.
func shareOneProcessor() syscall.Errno {
	var mask [128]byte
	n, _, e := syscall.RawSyscall(syscall.SYS_SCHED_GETAFFINITY, 0, unsafe.Sizeof(mask), uintptr(unsafe.Pointer(&mask)))
	if e != 0 {
		return e
	}
	found := false
	for i := range mask[:n] {
		if found {
			mask[i] = 0
			continue
		}
		mask[i] &= -mask[i] // the lowest bit
		found = mask[i] != 0
	}
	_, _, e = syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, n, uintptr(unsafe.Pointer(&mask)))
	return e
}
