package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// root is that of the repository.
const root = "../../"

// There is no Docker where the tests run. They run what containers would: the
// image's build on the files that its context would have, the script that makes
// the secrets, a Redis with these.

func readText(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(root + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// inContext reports what .dockerignore leaves in the context: the last line that
// matches a path, or a directory that it is in, decides.
func inContext(ignore []string, name string) bool {
	included := true
	for _, line := range ignore {
		pattern, include := strings.CutPrefix(line, "!")
		anywhere, isAnywhere := strings.CutPrefix(pattern, "**/")
		for at := name; at != "."; at = path.Dir(at) {
			match, _ := path.Match(pattern, at)
			if isAnywhere {
				match, _ = path.Match(anywhere, path.Base(at))
			}
			if match {
				included = include
				break
			}
		}
	}
	return included
}

// buildContext returns the overlay for go build in which the repository has no files
// but those that a build of the image sees. A copy of them in another directory would
// have every package compiled anew.
func buildContext(t *testing.T) string {
	t.Helper()
	var ignore []string
	for line := range strings.Lines(readText(t, ".dockerignore")) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			ignore = append(ignore, line)
		}
	}
	for _, secret := range []string{"secrets/appsecret", ".git/config", ".env", "cmd/zhongkong/main_test.go", "zhongkong"} {
		if inContext(ignore, secret) {
			t.Errorf("%s comes into the build's context", secret)
		}
	}
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	var overlay struct{ Replace map[string]string }
	overlay.Replace = make(map[string]string)
	err = fs.WalkDir(os.DirFS(top), ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.Name() == ".git" || e.Name() == "node_modules":
			return fs.SkipDir // go build reads nothing there
		case !e.IsDir() && !inContext(ignore, name):
			overlay.Replace[filepath.Join(top, name)] = "" // is not there
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// image is the program as the image's build makes it.
func image(t *testing.T, version, commit, date string) string {
	t.Helper()
	text := strings.ReplaceAll(readText(t, "scripts/Dockerfile"), "\\\n", " ")
	line := regexp.MustCompile(`(?m)^RUN (.* go build .*)$`).FindStringSubmatch(text)
	if line == nil {
		t.Fatal("the image is not built by go build")
	}
	binary := filepath.Join(t.TempDir(), "zhongkong")
	// Without -trimpath: it would have every package compiled anew, which takes minutes.
	command := regexp.MustCompile(`--mount=\S+|-trimpath`).ReplaceAllString(line[1], "")
	command = strings.Replace(command, "-o /zhongkong", "-buildvcs=false -overlay "+buildContext(t)+" -o "+binary, 1)
	c := exec.CommandContext(t.Context(), "sh", "-c", command)
	c.Dir = root
	c.Env = append(os.Environ(), "VERSION="+version, "COMMIT="+commit, "DATE="+date, "TARGETOS="+runtime.GOOS, "TARGETARCH="+runtime.GOARCH)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return binary
}

func TestTheImageIsBuiltOfItsContextAndKnowsItsVersion(t *testing.T) {
	const want, commit, date = "v9.8.7", "abcdef0123456789abcdef0123456789abcdef01", "2026-11-26T20:00:00Z"
	binary := image(t, want, commit, date)
	out, err := exec.CommandContext(t.Context(), binary, "version").Output()
	if err != nil || !strings.HasPrefix(string(out), "zhongkong "+want+" "+commit[:12]+" "+date+" ") {
		t.Errorf("version = %s, %v", out, err)
	}
	deps, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil || !strings.Contains(string(deps), "\ntime/tzdata\n") {
		t.Errorf("the program brings no time zones along, and the image has none: %v", err)
	}
	theSecretsOfTheRealProfileWork(t, binary)
}

// theSecretsOfTheRealProfileWork makes them by the script, with the image's
// program, and runs a fleet on them.
func theSecretsOfTheRealProfileWork(t *testing.T, binary string) {
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/scripts", 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"scripts/compose-secrets": readText(t, "scripts/compose-secrets"),
		"docker":                  "#!/bin/sh\nfor last; do :; done\nexec " + binary + " \"$last\"\n",
		"sudo":                    "#!/bin/sh\necho \"$@\" >>" + dir + "/sudo.log\n[ ! -e " + dir + "/refused ]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o700); err != nil { //nolint:gosec // programs
			t.Fatal(err)
		}
	}
	run := func(stdin string, args ...string) (string, error) {
		c := exec.CommandContext(t.Context(), dir+"/scripts/compose-secrets", args...)
		c.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		c.Stdin = strings.NewReader(stdin)
		out, err := c.CombinedOutput()
		return string(out), err
	}
	if out, err := run(secret, "wx 1"); err == nil || !strings.Contains(out, "is no AppID") {
		t.Errorf("compose-secrets with a name that is none = %s", out)
	}
	refused := os.WriteFile(dir+"/refused", nil, 0o600)
	if out, err := run(secret, appID); err == nil || !strings.Contains(out, "The caller app has the password ") || !strings.Contains(out, "  chown 65532:65532 ") {
		t.Errorf("compose-secrets where sudo fails: %v, want the password and the remedy\n%s", err, out)
	}
	if err := errors.Join(refused, os.Remove(dir+"/refused"), os.Remove(dir+"/sudo.log"), os.Rename(dir+"/secrets", dir+"/moved-away")); err != nil {
		t.Fatal(err)
	}
	said, err := run(secret, appID) // without the end of a line
	if err != nil || strings.Contains(said, secret) {
		t.Fatalf("compose-secrets: %v\n%s", err, said)
	}
	if out, err := run(secret, appID); err == nil || !strings.Contains(out, "already") {
		t.Errorf("compose-secrets over what there is = %s", out)
	}
	password := said[strings.LastIndex(said, " ")+1 : len(said)-1]
	if chowned, _ := os.ReadFile(dir + "/sudo.log"); !strings.Contains(string(chowned), "65532") || !strings.Contains(string(chowned), "999") {
		t.Errorf("the containers' users do not get their files:\n%s", chowned)
	}
	if mode, err := os.Stat(dir + "/secrets/appsecret"); err != nil || mode.Mode().Perm() != 0o600 {
		t.Errorf("the AppSecret's mode: %v, %v", mode.Mode(), err)
	}

	acl, err := os.ReadFile(dir + "/secrets/redis.acl")
	if err != nil {
		t.Fatal(err)
	}
	rules := append(redisadmin.RequiredACL("", coordinator.Refresher), redisadmin.GrantACL("")...)
	if !strings.Contains(string(acl), " "+strings.Join(rules, " ")+" +waitaof\n") {
		t.Errorf("the user of Redis has not what a refresher needs, of grants too:\n%s", acl)
	}
	runsOnItsSecrets(t, dir+"/secrets", password)
}

// runsOnItsSecrets is what profile real does with them.
func runsOnItsSecrets(t *testing.T, secrets, password string) {
	forgetUnknownCommands(t, secrets+"/redis.acl")
	redis := redistest.Start(t, "--aclfile", secrets+"/redis.acl")
	written, err := os.ReadFile(secrets + "/zhongkong.yaml")
	if err != nil {
		t.Fatal(err)
	}
	url := regexp.MustCompile(`redis://zhongkong:(\w+)@redis:6379`).FindStringSubmatch(string(written))
	acl, _ := os.ReadFile(secrets + "/redis.acl")
	if url == nil || !strings.Contains(string(acl), fmt.Sprintf("#%x", sha256.Sum256([]byte(url[1])))) {
		t.Fatal("the configuration does not have the password of Redis")
	}
	here := strings.NewReplacer("@redis:6379", "@"+redis.Addr(), "/run/secrets", secrets).Replace(string(written))
	if err := os.WriteFile(secrets+"/zhongkong.yaml", []byte(here), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	b = b.with("ZHONGKONG_REDIS", "", "ZHONGKONG_PREFIX", "", "ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", envUsers, "",
		"ZHONGKONG_CONFIG", secrets+"/zhongkong.yaml")
	d := b.serve()
	b.eventually("a token for the caller app", func() bool {
		status, body := d.send("app:"+password, "GET", "/v1/tokens/"+appID, "")
		return status == http.StatusOK && body["access_token"] != ""
	})
	b.must("doctor")

	cfg, _, err := config.Load(config.Input{Env: func(name string) string { return b.env[name] }})
	if err != nil {
		t.Fatal(err)
	}
	s := &session{program: program{stderr: io.Discard}, cfg: cfg, started: cfg}
	if err := s.open(cfg.Redis, cfg.Prefix); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	if missing, err := redisadmin.New(s.store).MissingGrantACL(t.Context()); err != nil || len(missing) > 0 {
		t.Errorf("the user of Redis lacks for grants %q, %v", missing, err)
	}
}

// forgetUnknownCommands takes WAITAOF out of a file of users if the Redis that is installed
// here does not know it: that of the compose file does.
func forgetUnknownCommands(t *testing.T, file string) {
	t.Helper()
	if known, ok := sharedRedis.MustDo(t, "COMMAND", "INFO", "waitaof").([]any); ok && len(known) == 1 && known[0] != nil {
		return
	}
	acl, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, []byte(strings.ReplaceAll(string(acl), " +waitaof", "")), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestTheImageIsThatOfAContainer holds what an orchestrator relies on.
func TestTheImageIsThatOfAContainer(t *testing.T) {
	text := strings.ReplaceAll(readText(t, "scripts/Dockerfile"), "\\\n", " ")
	_, final, found := strings.Cut(text, "\nFROM scratch\n")
	if !found {
		t.Fatal("the image is made of another one, which would have to be pinned by its digest")
	}
	for _, line := range []string{
		`HEALTHCHECK .* CMD \["/zhongkong", "health"\]`,
		`USER 65532:65532`, // numeric: runAsNonRoot cannot look a name up
		`ENTRYPOINT \["/zhongkong"\]`,
		`CMD \["serve"\]`,
		`COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/`,
		`COPY --from=build --chown=65532:65532 /files/var/lib/zhongkong /var/lib/zhongkong`,
	} {
		if !regexp.MustCompile("(?m)^" + line + "$").MatchString(final) {
			t.Errorf("the image lacks %s", line)
		}
	}
	for label, value := range map[string]string{
		"title": "zhongkong", "description": ".{20,}", "source": "https://.*", "licenses": "Apache-2.0",
		"version": `\$VERSION`, "revision": `\$COMMIT`, "created": `\$DATE`,
	} {
		if !regexp.MustCompile(`org\.opencontainers\.image\.` + label + `="` + value + `"`).MatchString(final) {
			t.Errorf("the label %s is not %s", label, value)
		}
	}
	for _, stamp := range []string{"VERSION", "COMMIT", "DATE"} {
		if strings.Count(text, "\nARG "+stamp+"=\n") != 2 { // each stage has arguments of its own
			t.Errorf("ARG %s is not there for the build and for the label", stamp)
		}
	}
	release := regexp.MustCompile(`GOTOOLCHAIN=go([\d.]+)`).FindStringSubmatch(readText(t, "scripts/release"))
	if release == nil || !strings.Contains(text, "ARG GO_IMAGE=golang:"+release[1]+"-alpine\n") {
		t.Errorf("the image is not built by the compiler of releases, %v", release)
	}
}

func TestImagesAreNamedByExactVersions(t *testing.T) {
	text := readText(t, "scripts/Dockerfile") + readText(t, "docker-compose.yml")
	found := regexp.MustCompile(`(?m)^(?:FROM(?: --platform=\S+)?|ARG GO_IMAGE=| +image:) ?(\S+)`).FindAllStringSubmatch(text, -1)
	if len(found) != 5 {
		t.Fatalf("images: %v", found)
	}
	for _, image := range found {
		switch name := image[1]; name {
		case "scratch", "zhongkong", "$GO_IMAGE":
		default:
			if !regexp.MustCompile(`:\d+\.\d+\.\d+-`).MatchString(name) {
				t.Errorf("%s is whatever it is when it is built", name)
			}
		}
	}
}

// composed is what is looked at of docker-compose.yml.
type composed struct {
	Services map[string]service
	Secrets  map[string]struct{ File string }
}

type service struct {
	Image       string
	Command     []string
	Environment map[string]string
	Profiles    []string
	Networks    []string
	Ports       []string
	Secrets     []struct{ Source, Target string }
	DependsOn   map[string]any `yaml:"depends_on"`
	Healthcheck struct {
		Test    []string
		Disable bool
	}
	ReadOnly    bool     `yaml:"read_only"`
	CapDrop     []string `yaml:"cap_drop"`
	SecurityOpt []string `yaml:"security_opt"`
	MemLimit    string   `yaml:"mem_limit"`
	PidsLimit   int      `yaml:"pids_limit"`
	Logging     struct{ Options map[string]string }
}

func readCompose(t *testing.T) composed {
	t.Helper()
	var compose composed
	if err := yaml.Unmarshal([]byte(readText(t, "docker-compose.yml")), &compose); err != nil {
		t.Fatal(err)
	}
	return compose
}

func TestTheComposeFileSpeaksOurNames(t *testing.T) {
	compose := readCompose(t)
	variables := []string{envUsers, "TZ"}
	for _, s := range config.Settings() {
		variables = append(variables, s.Env())
	}
	for name, service := range compose.Services {
		if service.Image != "zhongkong" {
			continue
		}
		if (program{}).app().Command(service.Command[0]) == nil {
			t.Errorf("%s runs %q, which is no command", name, service.Command[0])
		}
		for variable, value := range service.Environment {
			if !slices.Contains(variables, variable) {
				t.Errorf("%s sets %s, which nothing reads", name, variable)
			}
			if variable != "TZ" && strings.Contains(value, "$") {
				t.Errorf("%s takes %s from the shell: it would reach the simulator", name, variable)
			}
		}
		check := service.Healthcheck
		if isServe := service.Command[0] == "serve"; isServe && !slices.Equal(check.Test, []string{"CMD", "/zhongkong", "health"}) || !isServe && !check.Disable {
			t.Errorf("%s is checked by %v", name, check)
		}
	}
	for _, instance := range []string{"sandbox-1", "sandbox-2"} {
		env := compose.Services[instance].Environment
		if !strings.Contains(env["ZHONGKONG_APPID"], wechattest.DefaultAppID) || !strings.Contains(env["ZHONGKONG_SECRET"], wechattest.DefaultSecret) {
			t.Errorf("%s does not have the simulator's account: %v", instance, env)
		}
	}
}

func TestTheSimulatorAndARealSecretNeverMeet(t *testing.T) {
	compose := readCompose(t)
	for name, service := range compose.Services {
		if len(service.Profiles) != 1 || !slices.Equal(service.Networks, service.Profiles) {
			t.Fatalf("%s is in the profiles %v and the networks %v", name, service.Profiles, service.Networks)
		}
		for other := range service.DependsOn {
			if !slices.Equal(compose.Services[other].Profiles, service.Profiles) {
				t.Errorf("%s needs %s of another profile", name, other)
			}
		}
		switch isReal := service.Profiles[0] == "real"; {
		case isReal && service.Environment["ZHONGKONG_API_BASE"] != "":
			t.Errorf("%s asks another issuer than WeChat", name)
		case isReal && len(service.Secrets) == 0:
			t.Errorf("%s has its secrets from elsewhere", name)
		case isReal:
			for variable := range service.Environment {
				if strings.Contains(variable, "SECRET") || variable == envUsers || variable == "ZHONGKONG_REDIS" {
					t.Errorf("%s shows %s to `docker inspect`", name, variable)
				}
			}
		case len(service.Secrets) > 0:
			t.Errorf("%s, beside the simulator, has %v", name, service.Secrets)
		}
		for _, secret := range service.Secrets {
			file := compose.Secrets[secret.Source].File
			if file != "secrets/"+secret.Target || !strings.Contains(readText(t, "scripts/compose-secrets"), file) {
				t.Errorf("%s: nothing writes %s, which becomes %s", name, file, secret.Target)
			}
		}
	}
}

func TestContainersMayDoNoMoreThanTheyMust(t *testing.T) {
	for name, service := range readCompose(t).Services {
		if !service.ReadOnly || !slices.Equal(service.CapDrop, []string{"ALL"}) || !slices.Contains(service.SecurityOpt, "no-new-privileges:true") ||
			service.MemLimit == "" || service.Image == "zhongkong" && service.PidsLimit == 0 || service.Logging.Options["max-size"] == "" {
			t.Errorf("%s: %+v", name, service)
		}
		for _, port := range service.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s is open to others at %s", name, port)
			}
		}
	}
}
