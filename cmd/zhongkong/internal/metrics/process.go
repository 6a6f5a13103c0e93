package metrics

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"time"
)

// writeProcess writes what every dashboard wants to know of a process, under
// the names that it expects.
func writeProcess(w io.Writer, started time.Time) {
	gauge := func(name, help string, v float64) {
		head(w, name, "gauge", help)
		sample(w, name, "", v)
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	gauge("go_goroutines", "Goroutines that exist.", float64(runtime.NumGoroutine()))
	gauge("go_memstats_heap_alloc_bytes", "Bytes of heap in use.", float64(memory.HeapAlloc))
	gauge("process_start_time_seconds", "When the process started, since 1970.", float64(started.UnixMilli())/1000)
	if n, ok := residentBytes(); ok {
		gauge("process_resident_memory_bytes", "Resident memory.", n)
	}
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
		gauge("process_open_fds", "Open file descriptors.", float64(len(entries)))
	}
	if n, ok := cpuSeconds(); ok {
		head(w, "process_cpu_seconds_total", "counter", "CPU time spent.")
		sample(w, "process_cpu_seconds_total", "", n)
	}
}

// residentBytes is known on Linux only.
func residentBytes() (float64, bool) {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, false
	}
	var size, resident int
	if _, err := fmt.Sscan(string(data), &size, &resident); err != nil {
		return 0, false
	}
	return float64(resident * os.Getpagesize()), true
}
