/* A clock that can be made to jump, for one redis-server: preloaded, it adds
 * the microseconds in the file $SOAK_CLOCK to the wall clock. (Debian's
 * libfaketime does the same for most programs, but not for one with jemalloc.)
 * The monotonic clock is left alone, as a jump of a real machine's clock does.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile const int64_t *offset;

__attribute__((constructor)) static void open_clock(void) {
	const char *file = getenv("SOAK_CLOCK");
	int fd = file ? open(file, O_RDONLY) : -1;
	void *at = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
	if (at != MAP_FAILED) offset = at;
}

static void now(struct timespec *ts) {
	syscall(SYS_clock_gettime, CLOCK_REALTIME, ts);
	if (!offset) return;
	int64_t ns = ts->tv_nsec + *offset % 1000000 * 1000;
	ts->tv_sec += *offset / 1000000;
	if (ns < 0) ns += 1000000000, ts->tv_sec--;
	if (ns >= 1000000000) ns -= 1000000000, ts->tv_sec++;
	ts->tv_nsec = ns;
}

int clock_gettime(clockid_t clock, struct timespec *ts) {
	if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) return (int)syscall(SYS_clock_gettime, clock, ts);
	now(ts);
	return 0;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone) {
	struct timespec ts;
	(void)zone;
	now(&ts);
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *at) {
	struct timespec ts;
	now(&ts);
	if (at) *at = ts.tv_sec;
	return ts.tv_sec;
}
