package kubernetes

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// There is no kubelet where the tests run. They start the program as it would: with the
// container's arguments and variables, and the files of its volumes, below a directory.

// programDir is made by TestMain.
var programDir string

var builtProgram = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(programDir, "zhongkong")
	c := exec.Command("go", "build", "-o", binary, "./cmd/zhongkong")
	c.Dir = root
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
})

func TestMain(m *testing.M) {
	var err error
	if programDir, err = os.MkdirTemp("", "zhongkong-chart-"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(programDir)
	os.Exit(code)
}

// container is one that a kubelet would start.
type container struct {
	dir  string // where its mounts are
	args []string
	env  map[string]string
}

// mounts are the directories at which volumes are mounted.
var mounts = []string{"/etc/zhongkong", "/run/secrets", "/var/lib/zhongkong"}

// prepare makes the container of a pod, with the files that its Secrets would have.
func prepare(t *testing.T, manifests string) container {
	t.Helper()
	c := container{dir: t.TempDir(), env: map[string]string{}}
	var pod object
	all := objects(t, manifests)
	for key, o := range all {
		if strings.HasPrefix(key, "Deployment/") || strings.HasPrefix(key, "StatefulSet/") {
			pod, _ = o.at("spec", "template").(map[string]any)
		}
	}
	spec := pod.list("spec", "containers")[0]
	volumes := map[string]object{}
	for _, v := range pod.list("spec", "volumes") {
		volumes[v.text("name")] = v
	}
	for _, m := range spec.list("volumeMounts") {
		at, volume := filepath.Join(c.dir, m.text("mountPath")), volumes[m.text("name")]
		switch {
		case volume.at("configMap") != nil:
			config := all["ConfigMap/"+volume.text("configMap", "name")]
			c.project(t, at, map[string]string{"zhongkong.yaml": c.below(config.text("data", "zhongkong.yaml"))})
		case volume.at("secret") != nil:
			c.project(t, at, secretFiles(t))
		default:
			if err := os.MkdirAll(at, 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, e := range spec.list("env") {
		value := e.text("value")
		if e.at("valueFrom") != nil {
			value = "hunter2"
		}
		for name, earlier := range c.env { // as Kubernetes does
			value = strings.ReplaceAll(value, "$("+name+")", earlier)
		}
		c.env[e.text("name")] = c.below(value)
	}
	for _, arg := range spec.at("args").([]any) { //nolint:errcheck,forcetypeassert // a list of text
		c.args = append(c.args, fmt.Sprint(arg))
	}
	return c
}

// below maps the paths of mounts into the container's directory.
func (c container) below(text string) string {
	for _, m := range mounts {
		text = strings.ReplaceAll(text, m, c.dir+m)
	}
	return text
}

// project writes files as a kubelet does: links to ..data, which is replaced at once.
func (c container) project(t *testing.T, at string, files map[string]string) {
	t.Helper()
	if err := os.MkdirAll(at, 0o700); err != nil {
		t.Fatal(err)
	}
	version, err := os.MkdirTemp(at, "..version-")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(version, name), []byte(content), 0o440); err != nil { //nolint:gosec // as the chart says
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(at, name)); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
	next := filepath.Join(at, "..data_tmp")
	if err := os.Symlink(filepath.Base(version), next); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(at, "..data")); err != nil {
		t.Fatal(err)
	}
}

var madeCertificate = sync.OnceValues(func() (certificate, key string) {
	private, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "zhongkong"}, DNSNames: []string{"zhongkong.credentials.svc"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, _ := x509.CreateCertificate(rand.Reader, &template, &template, &private.PublicKey, private)
	bare, _ := x509.MarshalPKCS8PrivateKey(private)
	text := func(kind string, bytes []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}))
	}
	return text("CERTIFICATE", der), text("PRIVATE KEY", bare)
})

var madeKey = sync.OnceValues(func() (string, error) {
	binary, err := builtProgram()
	if err != nil {
		return "", err
	}
	out, err := exec.Command(binary, "keygen").Output()
	return string(out), err
})

// secretFiles are the keys that any of the Secrets has.
func secretFiles(t *testing.T) map[string]string {
	t.Helper()
	certificate, key := madeCertificate()
	seal, err := madeKey()
	if err != nil {
		t.Fatal(err)
	}
	users := "- name: app\n  password: $argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$RXIkzYp5jGbvjAFeU4cVY4Pdd2cVYoBdI/TtTjVUwU8\n  accounts: \"*\"\n"
	return map[string]string{
		"wx8acdb7df5beb68fd": strings.Repeat("0", 32), "crm": "client", "keys": seal, "seal.keys": seal,
		"users.yaml": users, "list.yaml": users, "ca.crt": certificate, "tls.crt": certificate, "tls.key": key,
	}
}

// command returns the program with the container's variables, and no others.
func (c container) command(ctx context.Context, t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	binary, err := builtProgram()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(ctx, binary, args...)
	command.Env = []string{}
	for name, value := range c.env {
		command.Env = append(command.Env, name+"="+value)
	}
	return command
}

// TestTheProgramAcceptsWhatIsRendered runs `zhongkong check` with the container's
// arguments, variables and files.
func TestTheProgramAcceptsWhatIsRendered(t *testing.T) {
	t.Parallel()
	for name, values := range valuesFiles(t) {
		manifests, _ := release{values: values}.must(t)
		c := prepare(t, manifests)
		if len(c.args) != 1 || c.args[0] != "serve" {
			t.Errorf("%s: the arguments are %v, for which there is no check", name, c.args)
		}
		out, err := c.command(t.Context(), t, "check").CombinedOutput()
		want := "ok: accounts 1, of which this process refreshes 1; users 1"
		switch name {
		case "default":
			want = "accounts: the list is empty"
			if err == nil {
				t.Error("the chart's own values are accepted, although they have no account")
			}
		case "reader":
			want = "ok: accounts 1, of which this process refreshes 0; users 1"
		}
		if !strings.Contains(string(out), want) || name != "default" && err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// TestProbesAreAnswered: also by a server that asks clients for a certificate.
func TestProbesAreAnswered(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"minimal", "tls"} {
		manifests, _ := release{values: valuesFiles(t)[name]}.must(t)
		c := prepare(t, manifests)
		p := c.serve(t)
		var pod object
		for key, o := range objects(t, manifests) {
			if strings.HasPrefix(key, "Deployment/") {
				pod, _ = o.at("spec", "template", "spec", "containers", 0).(map[string]any)
			}
		}
		for probe, want := range map[string]int{"livenessProbe": 200, "readinessProbe": 503} { // there is no Redis
			get := pod.at(probe, "httpGet").(map[string]any) //nolint:errcheck,forcetypeassert // of the chart
			scheme := strings.ToLower(fmt.Sprint(get["scheme"]))
			p.eventually(t, fmt.Sprintf("%s of %s answers %d", probe, name, want), func() bool {
				status, _ := p.get(scheme, fmt.Sprint(get["path"]))
				return status == want
			})
		}
		// What `kubectl exec` and the image's HEALTHCHECK run.
		if out, err := c.command(t.Context(), t, "health").CombinedOutput(); err != nil {
			t.Errorf("health of %s: %v\n%s", name, err, out)
		}
	}
}

// TestAnAccountIsAddedWithoutARestart: a change of the ConfigMap reaches the process.
func TestAnAccountIsAddedWithoutARestart(t *testing.T) {
	t.Parallel()
	before, _ := release{values: valuesFiles(t)["minimal"]}.must(t)
	after, _ := release{values: valuesFiles(t)["minimal"] + "    - name: wx0123456789abcdef\n"}.must(t)
	restarts := func(manifests string) string {
		return objects(t, manifests)["Deployment/zhongkong"].text("spec", "template", "metadata", "annotations", "zhongkong/restarts-on")
	}
	if restarts(before) == "" || restarts(before) != restarts(after) {
		t.Error("an account more restarts the pods")
	}
	slower, _ := release{values: valuesFiles(t)["minimal"] + "  refresh_every: 30m\n"}.must(t)
	if restarts(before) == restarts(slower) {
		t.Error("another setting does not restart the pods")
	}
	c := prepare(t, before)
	p := c.serve(t)
	text := objects(t, after)["ConfigMap/zhongkong"].text("data", "zhongkong.yaml")
	c.project(t, filepath.Join(c.dir, "/etc/zhongkong"), map[string]string{"zhongkong.yaml": c.below(text)})
	p.eventually(t, "the log tells of the account", func() bool {
		return strings.Contains(p.log.String(), `"configuration read again"`) && strings.Contains(p.log.String(), `added":1`)
	})
}

// process is a running container.
type process struct {
	address string
	log     *logBuffer
}

// serve starts the container at a port that is free here; its Redis does not answer.
func (c container) serve(t *testing.T) process {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := process{address: listener.Addr().String(), log: new(logBuffer)}
	listener.Close()
	c.env["ZHONGKONG_LISTEN"] = p.address
	c.env["ZHONGKONG_DRAIN_DELAY"] = "0s"
	for _, host := range []string{"redis.data.svc:6380", "redis-2.data.svc:6381", "redis:6379"} {
		c.env["ZHONGKONG_REDIS"] = strings.ReplaceAll(c.env["ZHONGKONG_REDIS"], host, "127.0.0.1:1")
	}
	command := c.command(context.WithoutCancel(t.Context()), t, c.args...)
	command.Stdout, command.Stderr = p.log, p.log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		if err := command.Wait(); err != nil {
			t.Errorf("serve: %v\n%s", err, p.log)
		}
	})
	p.eventually(t, "it is alive", func() bool {
		status, err := p.get("http", "/healthz")
		if err == nil && status == http.StatusBadRequest {
			status, _ = p.get("https", "/healthz")
		}
		return status == http.StatusOK
	})
	return p
}

// get asks as a kubelet does: without a client's certificate, and whatever the server's.
func (p process) get(scheme, path string) (int, error) {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // as a kubelet
	}}
	resp, err := client.Get(scheme + "://" + p.address + path)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, nil
}

func (p process) eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so within a minute: %s\n%s", what, p.log)
		}
	}
}

// logBuffer is a buffer that is read while a process writes.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
