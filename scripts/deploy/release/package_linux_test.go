package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// built is a release of the newest commit for this machine, made once.
func built(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "dist")
	if err := run(t.Context(), []string{"--root", checkout(t, "packaged"), "--only", runtime.GOOS + "/" + runtime.GOARCH, "--output", dir}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// The whole life of the package on a Debian: installed, configured, started, asked,
// read again, hung, restarted, removed.
func TestThePackageInstallsRunsHardenedAndPurges(t *testing.T) {
	r := startThrowAwayRoot(t)
	packages, err := filepath.Glob(filepath.Join(built(t), "*.deb"))
	if err != nil || len(packages) != 1 {
		t.Fatal(packages, err)
	}
	deb, err := os.ReadFile(packages[0])
	if err != nil {
		t.Fatal(err)
	}
	r.write("/root/zhongkong.deb", string(deb))
	before := r.must("sh", "-c", "find / -xdev -iname '*zhongkong*' -not -path '/proc/*' -not -path '/root/*' | sort")

	r.must("dpkg", "--install", "/root/zhongkong.deb")
	if state := r.must("sh", "-c", "systemctl is-enabled zhongkong || true; systemctl is-active zhongkong || true"); state != "disabled\ninactive" {
		t.Errorf("after the installation the service is %q, want it to wait for its configuration", state)
	}
	if exposure, err := r.command("systemd-analyze", "security", "--threshold=20", "zhongkong.service").CombinedOutput(); err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, exposure)
	}
	for path, want := range map[string]string{
		"/etc/zhongkong": "750 root zhongkong", "/etc/zhongkong/zhongkong.yaml": "640 root zhongkong", "/etc/zhongkong/secrets": "700 root root",
	} {
		if got := r.must("stat", "-c", "%a %U %G", path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}

	url := configure(r)
	r.must("systemctl", "start", "zhongkong") // returns when it is ready
	token := r.must("curl", "-fsS", "-u", "app:s3cret", url+"/v1/tokens/wx8acdb7df5beb68fd?wait=20s")
	if !strings.Contains(token, `"access_token":"`) {
		t.Errorf("the answer is %s", token)
	}
	unprivileged(r)
	r.must("systemctl", "reload", "zhongkong")
	hungIsRestarted(r, url)

	r.must("dpkg", "--purge", "zhongkong")
	if state := r.must("sh", "-c", "systemctl is-active zhongkong || true"); state != "inactive" && state != "unknown" {
		t.Errorf("after the purge the service is %q", state)
	}
	after := r.must("sh", "-c", "find / -xdev -iname '*zhongkong*' -not -path '/proc/*' -not -path '/root/*' | sort")
	if after != before {
		t.Errorf("the purge leaves files:\n%s\nbefore:\n%s", after, before)
	}
	if users := r.must("sh", "-c", "cat /etc/passwd /etc/group /etc/shadow | grep zhongkong || true"); users != "" {
		t.Errorf("the purge leaves %s", users)
	}
}

// configure writes what an administrator would, with the simulator as the issuer, and
// returns the service's URL.
func configure(r *throwAwayRoot) (url string) {
	redis, issuer, listen := freeAddress(r.t), freeAddress(r.t), freeAddress(r.t)
	_, port, _ := net.SplitHostPort(redis)
	r.must("systemd-run", "--unit=test-redis", "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", "/tmp")
	r.must("systemd-run", "--unit=test-issuer", "zhongkong", "sandbox", "--listen", issuer)
	r.write("/etc/zhongkong/secrets/appsecret", "5a4d3b0cf1d84e6fb2976d1c80e3a94f\n")
	hash := r.must("sh", "-c", "printf s3cret | zhongkong passwd 2>/dev/null")
	r.write("/etc/zhongkong/zhongkong.yaml", fmt.Sprintf(`redis: redis://%s
listen: %s
api_base: http://%s
accounts:
  - name: wx8acdb7df5beb68fd
    secret_file: /run/credentials/zhongkong.service/secrets_appsecret
users:
  - name: app
    password: %q
    accounts: ["*"]
`, redis, listen, issuer, hash))
	return "http://" + listen
}

func unprivileged(r *throwAwayRoot) {
	pid := r.must("systemctl", "show", "--property=MainPID", "--value", "zhongkong")
	status := r.must("cat", "/proc/"+pid+"/status")
	if !strings.Contains(status, "CapEff:\t0000000000000000") || !strings.Contains(status, "NoNewPrivs:\t1") || !strings.Contains(status, "Seccomp:\t2") {
		r.t.Errorf("the process has too many rights:\n%s", status)
	}
	if user := r.must("stat", "-c", "%U", "/proc/"+pid); user != "zhongkong" {
		r.t.Errorf("the process runs as %s", user)
	}
}

// hungIsRestarted stops the process without ending it, as a deadlock would.
func hungIsRestarted(r *throwAwayRoot, url string) {
	r.must("mkdir", "-p", "/run/systemd/system/zhongkong.service.d")
	r.write("/run/systemd/system/zhongkong.service.d/test.conf", "[Service]\nWatchdogSec=2s\n")
	r.must("systemctl", "daemon-reload")
	r.must("systemctl", "restart", "zhongkong")
	r.must("systemctl", "kill", "--signal=STOP", "--kill-whom=main", "zhongkong")
	r.eventually("the watchdog restarts the process", func() bool {
		return r.must("systemctl", "show", "--property=NRestarts", "--value", "zhongkong") == "1" &&
			r.command("curl", "-fsS", url+"/healthz").Run() == nil
	})
}
