package argon2

import "syscall"

// yieldThread lets the other threads run that wait for the processor of this one.
// Otherwise, Linux would let a thread that computes use up its slice of some milliseconds
// before a thread that a request has woken. A lower priority would let them through too,
// but on a busy machine such a thread gets no processor, and the garbage collector waits
// for it. While a thread waits in Syscall, unlike RawSyscall, the collector does not wait
// for it, and the runtime uses the processor that it had in the runtime for others.
func yieldThread() { _, _, _ = syscall.Syscall(syscall.SYS_SCHED_YIELD, 0, 0, 0) } // never fails
