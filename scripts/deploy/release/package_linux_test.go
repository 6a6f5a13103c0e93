package main

import (
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

const (
	appID  = "wx8acdb7df5beb68fd"               // the simulator's account
	secret = "5a4d3b0cf1d84e6fb2976d1c80e3a94f" // its secret
)

// The whole life of the package on a Debian, as the documentation says it: installed and
// configured by a newcomer, hardened, read again, hung, upgraded, removed, installed
// again, purged.
func TestThePackageInstallsRunsHardenedAndPurges(t *testing.T) {
	r := startThrowAwayRoot(t)
	name := "zhongkong_1.2.3_linux_" + runtime.GOARCH
	r.copy(filepath.Join(built(t).dir, name+".deb"), "/tmp/"+name+".deb")
	r.copy(unpack(t, filepath.Join(built(t).dir, name+".tar.gz")), "/root/simulator")
	r.copy(newer(t), "/tmp/newer.deb")
	r.write("/usr/local/bin/sudo", "#!/bin/sh\nexec \"$@\"\n")
	r.must("chmod", "+x", "/usr/local/bin/sudo", "/root/simulator")
	r.must("sh", "-c", "rm -rf /var/lib/apt/lists/*") // no newer redis-server than the one that is here
	r.must("systemctl", "start", "redis-server")      // Debian's package does
	r.must("systemd-run", "--unit=test-issuer", "/root/simulator", "sandbox")
	before := r.all()

	commands := newcomer(t, "package")
	if len(commands) != 3 {
		t.Fatalf("a newcomer needs the commands %q, want three", commands)
	}
	r.newcomer(commands[0], "y\n") // apt asks whether to continue
	r.waitsForItsConfiguration()
	r.refusesWhatIsNoSecret()
	r.drop("api.conf", "[Unit]\nStartLimitIntervalSec=0\n[Service]\nEnvironment=ZHONGKONG_API_BASE=http://127.0.0.1:9090\n"+
		"ExecStartPre=+/bin/sh -c 'echo >>/root/starts'\n")
	_, said := r.newcomer(commands[1], appID+"\n"+secret+"\n")
	shown, _ := r.newcomer(commands[2], "")
	if !token.MatchString(shown) {
		t.Errorf("%s prints %q, want a token", commands[2], shown)
	}
	shown = strings.TrimSpace(shown)
	r.serves(said)
	r.isHardened()
	r.must("systemctl", "reload", "zhongkong")
	r.hungIsRestarted()
	r.keepsGrantsInSpiteOfRoot()
	r.writesAFileForAnotherUser(shown)

	r.isUpgraded(shown)
	r.isRemovedAndInstalledAgain(shown)

	r.must("dpkg", "--purge", "zhongkong")
	r.must("rm", "/etc/systemd/system/zhongkong.service.d/api.conf", "/root/starts")
	r.must("rmdir", "/etc/systemd/system/zhongkong.service.d")
	if after := r.all(); !slices.Equal(before, after) {
		t.Errorf("the purge leaves or takes away:\n%s", strings.Join(difference(before, after), "\n"))
	}
}

// newer builds the package of a later commit, v1.2.4.
func newer(t *testing.T) string {
	t.Helper()
	there, dir := checkout(t, "newer", "v1.2.3"), filepath.Join(t.TempDir(), "dist")
	git(t, there, "commit", "--quiet", "--allow-empty", "--message", "newer")
	git(t, there, "tag", "v1.2.4")
	if err := run(t.Context(), []string{"--root", there, "--only", "linux/" + runtime.GOARCH, "--output", dir}); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "zhongkong_1.2.4_linux_"+runtime.GOARCH+".deb")
}

// newcomer runs a command of the documentation in a shell, where the package is, and
// returns what it prints.
func (r *throwAwayRoot) newcomer(command, input string) (stdout, said string) {
	r.t.Helper()
	cmd := r.command("env", "DEBIAN_FRONTEND=noninteractive", "bash", "-euo", "pipefail", "-c", "cd /tmp; "+command)
	cmd.Stdin = strings.NewReader(input)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("%s: %v\n%s%s\n%s", command, err, out, stderr.String(), r.journal())
	}
	return string(out), stderr.String()
}

// drop writes a drop-in of the unit, which an administrator may have.
func (r *throwAwayRoot) drop(name, text string) {
	r.t.Helper()
	r.must("mkdir", "-p", "/etc/systemd/system/zhongkong.service.d")
	r.write("/etc/systemd/system/zhongkong.service.d/"+name, text)
	r.must("systemctl", "daemon-reload")
}

func (r *throwAwayRoot) state() string {
	return r.must("sh", "-c", "systemctl is-enabled zhongkong || true; systemctl is-active zhongkong || true")
}

func (r *throwAwayRoot) waitsForItsConfiguration() {
	r.t.Helper()
	if state := r.state(); state != "disabled\ninactive" {
		r.t.Errorf("after the installation the service is %q, want it to wait for its configuration", state)
	}
	for path, want := range map[string]string{
		"/etc/zhongkong": "750 root zhongkong", "/etc/zhongkong/zhongkong.yaml": "640 root zhongkong", "/etc/zhongkong/secrets": "700 root root",
	} {
		if got := r.must("stat", "-c", "%a %U %G", path); got != want {
			r.t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
}

// refusesWhatIsNoSecret gives the setup what is no AppID and no AppSecret: nothing is
// changed, and the service is not started.
func (r *throwAwayRoot) refusesWhatIsNoSecret() {
	r.t.Helper()
	before := r.must("sha256sum", "/etc/zhongkong/zhongkong.yaml")
	for input, want := range map[string]string{
		"": "no AppID", "a b\n": "no AppID", "wx0000000000000000\n": "no AppID",
		appID + "\n": "no AppSecret", appID + "\n\n": "no AppSecret", appID + "\na|b\n": "no AppSecret",
	} {
		cmd := r.command("zhongkong-setup")
		cmd.Stdin = strings.NewReader(input)
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), want) {
			r.t.Errorf("zhongkong-setup with %q: %v, want %q\n%s", input, err, want, out)
		}
	}
	if r.must("sha256sum", "/etc/zhongkong/zhongkong.yaml") != before || r.must("ls", "/etc/zhongkong/secrets") != "" || r.state() != "disabled\ninactive" {
		r.t.Error("zhongkong-setup has changed something in spite of what it was given")
	}
}

// serves runs the command that the setup has named.
func (r *throwAwayRoot) serves(said string) {
	r.t.Helper()
	_, curl, _ := strings.Cut(said, "\n  curl ")
	curl, _, _ = strings.Cut(curl, "\n")
	if answer := r.must("sh", "-c", "curl -fsS "+curl); !strings.Contains(answer, `"access_token":"`) {
		r.t.Errorf("curl %s answers %s", curl, answer)
	}
	if state := r.state(); state != "enabled\nactive" {
		r.t.Errorf("after the setup the service is %q", state)
	}
	for path, want := range map[string]string{
		"/etc/zhongkong/zhongkong.yaml": "640 root zhongkong", "/etc/zhongkong/secrets/appsecret": "600 root root",
	} {
		if got := r.must("stat", "-c", "%a %U %G", path); got != want {
			r.t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	out, err := r.command("zhongkong-setup").CombinedOutput()
	_, remedy, found := strings.Cut(string(out), "configured already. Edit it, and run: ")
	if err == nil || !found {
		r.t.Errorf("a second setup: %v\n%s", err, out)
		return
	}
	r.must("systemctl", "--quiet", "disable", "--now", "zhongkong") // as after a removal and a new installation
	r.must("sh", "-euc", remedy)
	if state := r.state(); state != "enabled\nactive" {
		r.t.Errorf("%s leaves the service %q", remedy, state)
	}
}

func (r *throwAwayRoot) isHardened() {
	r.t.Helper()
	if exposure, err := r.command("systemd-analyze", "security", "--threshold=20", "zhongkong.service").CombinedOutput(); err != nil {
		r.t.Errorf("systemd-analyze security: %v\n%s", err, exposure)
	}
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
func (r *throwAwayRoot) hungIsRestarted() {
	r.t.Helper()
	if own := r.must("systemctl", "show", "--property=WatchdogUSec", "--value", "zhongkong"); own != "30s" {
		r.t.Errorf("the watchdog waits %s, want 30s", own)
	}
	r.drop("watchdog.conf", "[Service]\nWatchdogSec=2s\n")
	r.must("systemctl", "restart", "zhongkong")
	r.must("systemctl", "kill", "--signal=STOP", "--kill-whom=main", "zhongkong")
	r.eventually("the watchdog restarts the process", func() bool {
		return r.must("systemctl", "show", "--property=NRestarts", "--value", "zhongkong") == "1" &&
			r.command("zhongkong", "health").Run() == nil
	})
	r.must("rm", "/etc/systemd/system/zhongkong.service.d/watchdog.conf")
	r.must("systemctl", "daemon-reload")
	r.must("systemctl", "restart", "zhongkong")
}

// keepsGrantsInSpiteOfRoot lets root run a command that makes the spool and the copy, and
// then the service go on with them.
func (r *throwAwayRoot) keepsGrantsInSpiteOfRoot() {
	r.t.Helper()
	const granted = `accounts:
  - name: crm
    source: oauth2
    grant: refresh_token
    token_url: https://login.example.com/oauth2/token
    client_id: zhongkong
    client_secret: s3cret
`
	settings := documented(r.t, "packages", "Grants", "yaml")[0] + "  copy: /var/lib/zhongkong/copy\nseal: prefer\n"
	r.must("sh", "-c", "umask 077; zhongkong keygen >/etc/zhongkong/secrets/seal.keys")
	r.configured(func(configuration string) string {
		return strings.Replace(configuration, "accounts:\n", granted, 1) + settings
	}, func() {
		r.must("rm", "-r", "/var/lib/zhongkong/spool", "/var/lib/zhongkong/copy")
		r.hasNoGrant()
		r.must("systemctl", "restart", "zhongkong")
		r.hasNoGrant("runuser", "-u", "zhongkong", "--")
		if others := r.must("find", "/var/lib/zhongkong", "!", "-user", "zhongkong"); others != "" || r.must("ls", "/var/lib/zhongkong") != "copy\nspool" {
			r.t.Errorf("these do not belong to the service:\n%s", others)
		}
	})
	r.must("rm", "-r", "/etc/zhongkong/secrets/seal.keys", "/var/lib/zhongkong/spool", "/var/lib/zhongkong/copy")
}

// hasNoGrant asks for the token of an account whose grant nobody has put in: what is
// wrong is that, and not the spool or the copy.
func (r *throwAwayRoot) hasNoGrant(as ...string) {
	r.t.Helper()
	cmd := r.command(append(as, "zhongkong", "--config", "/etc/zhongkong/zhongkong.yaml", "show", "--wait", "1s", "crm")...)
	said, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 3 && code != 4 { // not in time, or the issuer would refuse
		r.t.Errorf("%q show crm: %v\n%s", as, err, said)
	}
}

// writesAFileForAnotherUser gives the token to Prometheus as the page about files says.
func (r *throwAwayRoot) writesAFileForAnotherUser(token string) {
	r.t.Helper()
	if r.command("getent", "group", "prometheus").Run() != nil {
		r.must("groupadd", "--system", "prometheus")
		defer r.must("groupdel", "prometheus")
	}
	r.configured(func(configuration string) string {
		return configuration + documented(r.t, "files", "Prometheus", "yaml")[0]
	}, func() {
		r.must("sh", "-euc", documented(r.t, "files", "Mode and owner", "sh")[0])
		read := []string{"setpriv", "--reuid=nobody", "--regid=prometheus", "--clear-groups", "cat", "/run/zhongkong/prometheus.token"}
		r.eventually("Prometheus can read the token", func() bool {
			out, _ := r.command(read...).Output()
			return string(out) == token
		})
		r.tellsAServiceOf("/run/zhongkong/prometheus.token")
		r.must("systemctl", "stop", "zhongkong")
		if got := r.must(read...); got != token {
			r.t.Errorf("while the service is stopped the file has %q", got)
		}

		r.must("rm", "/run/zhongkong/prometheus.token")
		r.drop("users.conf", "[Service]\nPrivateUsers=yes\n")
		r.must("systemctl", "start", "zhongkong")
		r.eventually("the log says what keeps the file from being written", func() bool { return strings.Contains(r.journal(), "PrivateUsers=no") })
		r.must("rm", "/etc/systemd/system/zhongkong.service.d/users.conf")
		r.must("systemctl", "daemon-reload")
	})
}

// tellsAServiceOf has systemd reload another service when a token's file is replaced, by the
// units of the page about files.
func (r *throwAwayRoot) tellsAServiceOf(path string) {
	r.t.Helper()
	const dir, token = "/etc/systemd/system/", "/run/zhongkong/token"
	units := append(documented(r.t, "files", "notify: a command after a change", "ini"),
		"# "+dir+"my-service.service\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\nExecReload=/bin/touch /root/told\n")
	var names []string
	for _, unit := range units {
		name, _, _ := strings.Cut(strings.TrimPrefix(unit, "# "), "\n")
		r.write(name, strings.ReplaceAll(unit, token, path))
		names = append(names, name)
	}
	r.must("systemctl", "daemon-reload")
	r.must("systemctl", "start", "my-service")
	r.must("systemctl", "enable", "--now", "my-service-token.path")
	r.must("sh", "-c", "cp --preserve=all "+path+" "+path+".new && mv "+path+".new "+path) // as a writer does
	r.eventually("the service is told", func() bool { return r.command("test", "-e", "/root/told").Run() == nil })
	r.must("systemctl", "disable", "--now", "my-service-token.path")
	r.must("systemctl", "stop", "my-service")
	r.must(append([]string{"rm", "/root/told"}, names...)...)
	r.must("systemctl", "daemon-reload")
}

// configured starts the service with a changed configuration, calls do, and starts it with
// the one before again.
func (r *throwAwayRoot) configured(change func(string) string, do func()) {
	r.t.Helper()
	const path = "/etc/zhongkong/zhongkong.yaml"
	before := r.must("cat", path) + "\n"
	r.write(path, change(before))
	r.must("systemctl", "restart", "zhongkong")
	do()
	r.write(path, before)
	r.must("systemctl", "restart", "zhongkong")
}

// configuration are the files that an administrator has changed, and their owners.
func (r *throwAwayRoot) configuration() string {
	return r.must("sh", "-c", "sha256sum /etc/zhongkong/zhongkong.yaml /etc/zhongkong/secrets/*; stat -c '%n %a %U %G' /etc/zhongkong /etc/zhongkong/* /etc/zhongkong/secrets/*")
}

// isUpgraded installs the newer package over the older one.
func (r *throwAwayRoot) isUpgraded(shown string) {
	r.t.Helper()
	configuration := r.configuration()
	r.must("truncate", "--size=0", "/root/starts")
	r.must("apt-get", "install", "--yes", "/tmp/newer.deb")
	if version := r.must("zhongkong", "version"); !strings.HasPrefix(version, "zhongkong v1.2.4 ") {
		r.t.Errorf("after the upgrade: %s", version)
	}
	if n := r.must("sh", "-c", "wc -l </root/starts"); n != "1" {
		r.t.Errorf("the upgrade has started the service %s times, want once", n)
	}
	if state := r.state(); state != "enabled\nactive" {
		r.t.Errorf("after the upgrade the service is %q", state)
	}
	pid := r.must("systemctl", "show", "--property=MainPID", "--value", "zhongkong")
	if program := r.must("readlink", "/proc/"+pid+"/exe"); program != "/usr/bin/zhongkong" {
		r.t.Errorf("after the upgrade %s runs", program)
	}
	r.isAsBefore("the upgrade", configuration, shown)
}

func (r *throwAwayRoot) isRemovedAndInstalledAgain(shown string) {
	r.t.Helper()
	configuration := r.configuration()
	r.must("apt-get", "remove", "--yes", "zhongkong")
	if state := r.must("sh", "-c", "systemctl is-active zhongkong || true; command -v zhongkong zhongkong-setup || true"); state != "inactive" && state != "unknown" {
		r.t.Errorf("after the removal there is still %q", state)
	}
	r.must("apt-get", "install", "--yes", "/tmp/newer.deb")
	if state := r.state(); state != "disabled\ninactive" {
		r.t.Errorf("after the second installation the service is %q, want it to wait", state)
	}
	r.must("sh", "-euc", documented(r.t, "packages", "Remove", "sh")[0])
	if state := r.state(); state != "enabled\nactive" {
		r.t.Errorf("the command of the page leaves the service %q", state)
	}
	r.isAsBefore("the second installation", configuration, shown)
}

// isAsBefore looks whether what follows an event has the configuration and the token.
func (r *throwAwayRoot) isAsBefore(event, configuration, shown string) {
	r.t.Helper()
	if now := r.configuration(); now != configuration {
		r.t.Errorf("after %s the configuration is\n%s\nbefore\n%s", event, now, configuration)
	}
	if now := r.must("zhongkong", "show", appID); now != shown {
		r.t.Errorf("after %s there is another token: the issuer was asked without need", event)
	}
}

// passing are the files that the system itself writes: logs, caches, the state of the
// package manager and of systemd, Redis' data, copies of the lists of users.
var passing = regexp.MustCompile(`^(var/(log|cache|backups|lib/(apt|dpkg|systemd|redis))/|etc/\.pwd\.lock|etc/\w+- )`)

// all lists what this root has besides what the machine has, whole. What the machine has
// as well, the same, is nothing new.
func (r *throwAwayRoot) all() (all []string) {
	r.t.Helper()
	changed := r.must("sh", "-c", "find /run/changed -mindepth 1 -printf '%P %M %u %g\\n' | LC_ALL=C sort; "+
		"find /run /dev/shm -iname '*zhongkong*' -not -path '/run/changed/*'")
	for line := range strings.SplitSeq(changed, "\n") {
		if path, attributes, _ := strings.Cut(line, " "); !r.same(path, attributes) && (!passing.MatchString(line) || strings.Contains(line, "zhongkong")) {
			all = append(all, line)
		}
	}
	return all
}

// same reports whether the machine has a directory of the path, or a file of the same
// content and mode.
func (r *throwAwayRoot) same(path, attributes string) bool {
	there, err := asRoot(r.t, "stat", "-c", "%A %U %G", "/"+path).Output()
	if err != nil || strings.TrimSpace(string(there)) != attributes {
		return false
	}
	if !strings.HasPrefix(attributes, "-") {
		return strings.HasPrefix(attributes, "d")
	}
	content, err := asRoot(r.t, "sha256sum", "/"+path).Output()
	return err == nil && strings.TrimSpace(string(content)) == r.must("sha256sum", "/"+path)
}

func difference(before, after []string) (all []string) {
	for _, name := range before {
		if !slices.Contains(after, name) {
			all = append(all, "- "+name)
		}
	}
	for _, name := range after {
		if !slices.Contains(before, name) {
			all = append(all, "+ "+name)
		}
	}
	return all
}
