package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// throwAwayRoot is this machine's file system with a layer of its own above it, in
// which another systemd runs: what is installed, started and changed there is gone with
// it. Its network is a loopback of its own. It needs root, or sudo without a password.
type throwAwayRoot struct {
	t   *testing.T
	pid string // of its systemd
}

// boot is run as process 1 of new namespaces. Without the masked units that systemd
// would change the kernel that it shares with this machine.
const boot = `set -eu
layer=$1
mount -t tmpfs tmpfs "$layer"
mkdir "$layer/upper" "$layer/work" "$layer/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$layer/upper,workdir=$layer/work" "$layer/root"
cd "$layer/root"
mount -t proc proc proc
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mkdir run/changed
mount --bind "$layer/upper" run/changed # what this root has besides the machine's files
mount --rbind /dev dev
mount -t sysfs -o ro sysfs sys
mount -t tmpfs tmpfs sys/fs/cgroup
mkdir sys/fs/cgroup/systemd
mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
mkdir -p etc/systemd/system
for unit in systemd-sysctl systemd-modules-load systemd-binfmt systemd-udevd systemd-udev-trigger systemd-random-seed; do
	ln -sf /dev/null "etc/systemd/system/$unit.service"
done
printf '[Unit]\nRequires=sysinit.target\nAfter=sysinit.target\n' >etc/systemd/system/throw-away.target
mount --move . / # below a mere chroot no user namespace may be made (PrivateUsers=)
exec env -i container=throw-away PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot . sh -c 'mount --make-rshared / && exec "$@"' sh /lib/systemd/systemd --system --unit=throw-away.target --log-target=null --show-status=0`

// startThrowAwayRoot boots one and ends it with the test.
func startThrowAwayRoot(t *testing.T) *throwAwayRoot {
	t.Helper()
	layer := t.TempDir()
	namespaces := asRoot(t, "unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--propagation", "private", "bash", "-c", boot, "boot", layer)
	var said bytes.Buffer
	namespaces.Stdout, namespaces.Stderr = &said, &said
	if err := namespaces.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = asRoot(t, "pkill", "-KILL", "-f", "^unshare .* boot "+layer).Run()
		_ = namespaces.Wait()
	})
	r := &throwAwayRoot{t: t}
	r.eventually("systemd has started: "+said.String(), func() bool {
		pids, err := asRoot(t, "pgrep", "-f", "-P", r.parent(layer), "unit=throw-away.target").Output()
		r.pid = strings.TrimSpace(string(pids))
		if err != nil || r.pid == "" {
			return false
		}
		state, _ := r.command("systemctl", "is-system-running").Output()
		return strings.TrimSpace(string(state)) == "running" || strings.TrimSpace(string(state)) == "degraded"
	})
	return r
}

// parent returns the process whose child the root's systemd is.
func (r *throwAwayRoot) parent(layer string) string {
	pid, _ := asRoot(r.t, "pgrep", "-f", "^unshare .* boot "+layer).Output()
	return strings.TrimSpace(string(pid))
}

func asRoot(t *testing.T, args ...string) *exec.Cmd {
	if exec.Command("test", "-w", "/etc/shadow").Run() != nil {
		args = append([]string{"sudo", "-n"}, args...)
	}
	return exec.CommandContext(t.Context(), args[0], args[1:]...)
}

// command returns a command that runs inside.
func (r *throwAwayRoot) command(args ...string) *exec.Cmd {
	return asRoot(r.t, append([]string{"nsenter", "--target", r.pid, "--mount", "--pid", "--net", "--root", "--wdns=/"}, args...)...)
}

// must runs a command inside and returns what it prints.
func (r *throwAwayRoot) must(args ...string) string {
	r.t.Helper()
	out, err := r.command(args...).CombinedOutput()
	if err != nil {
		r.t.Fatalf("%s: %v\n%s\n%s", strings.Join(args, " "), err, out, r.journal())
	}
	return strings.TrimSpace(string(out))
}

// journal returns what the service has said.
func (r *throwAwayRoot) journal() string {
	said, _ := r.command("sh", "-c", "systemctl status --no-pager --full zhongkong; journalctl --no-pager -n 40 -u zhongkong").CombinedOutput()
	return string(said)
}

// copy copies a file of this machine into the root.
func (r *throwAwayRoot) copy(from, to string) {
	r.t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		r.t.Fatal(err)
	}
	r.write(to, string(data))
}

// write writes a file inside.
func (r *throwAwayRoot) write(path, content string) {
	r.t.Helper()
	cmd := r.command("tee", path)
	cmd.Stdin = strings.NewReader(content)
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("write %s: %v\n%s", path, err, out)
	}
}

func (r *throwAwayRoot) eventually(what string, is func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("not within a minute: %s", what)
		}
	}
}
