//go:build unix

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logtest"
)

const alertRules = "../../../scripts/monitoring/alerts.yml"

// prometheus is a Prometheus with the project's alerts. It finds its targets in a file,
// so that one of them serves all fleets of a test. Each fleet is a job.
type prometheus struct {
	t       *testing.T
	url     string
	targets string              // that file
	jobs    map[string][]string // addresses by job
}

// startPrometheus starts Debian's Prometheus.
func startPrometheus(t *testing.T) *prometheus {
	t.Helper()
	dir := t.TempDir()
	p := &prometheus{t: t, targets: filepath.Join(dir, "targets.json"), jobs: make(map[string][]string)}
	rules, err := os.ReadFile(alertRules)
	if err != nil {
		t.Fatal(err)
	}
	p.writeTargets()
	writeFile(t, filepath.Join(dir, "alerts.yml"), hastened(string(rules)))
	config := filepath.Join(dir, "prometheus.yml")
	writeFile(t, config, `
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [alerts.yml]
scrape_configs:
  - job_name: zhongkong
    file_sd_configs: [{files: [targets.json], refresh_interval: 1s}]
`)
	said := runPrometheus(t, config)
	listening := regexp.MustCompile(`Listening on"? address=(127\.0\.0\.1:\d+)`)
	for end := time.Now().Add(time.Minute); p.url == ""; time.Sleep(20 * time.Millisecond) {
		if found := listening.FindStringSubmatch(said.String()); found != nil {
			p.url = "http://" + found[1]
		} else if time.Now().After(end) {
			t.Fatalf("Prometheus does not say where it listens:\n%s", said.String())
		}
	}
	return p
}

// hastened returns the rules with all times shortened: a minute becomes a second, and
// nothing is shorter than five seconds, which are five scrapes. Thresholds stay.
func hastened(rules string) string {
	units := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}
	times := regexp.MustCompile(`(for: |\[)(\d+)([smhd])\b`)
	return times.ReplaceAllStringFunc(rules, func(text string) string {
		found := times.FindStringSubmatch(text)
		n, _ := strconv.Atoi(found[2])
		return found[1] + fmt.Sprintf("%ds", max(time.Duration(n)*units[found[3]]/60, 5*time.Second)/time.Second)
	})
}

// scrape makes these processes the targets of a job.
func (p *prometheus) scrape(job string, processes ...*process) {
	p.t.Helper()
	p.jobs[job] = nil
	for _, one := range processes {
		p.jobs[job] = append(p.jobs[job], strings.TrimPrefix(one.url, "http://"))
	}
	p.writeTargets()
}

// writeTargets replaces the file by rename, as Prometheus demands.
func (p *prometheus) writeTargets() {
	p.t.Helper()
	type group struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	groups := make([]group, 0, len(p.jobs))
	for job, addresses := range p.jobs {
		groups = append(groups, group{addresses, map[string]string{"job": job}})
	}
	text, err := json.Marshal(groups)
	if err != nil {
		p.t.Fatal(err)
	}
	writeFile(p.t, p.targets+".new", string(text))
	if err := os.Rename(p.targets+".new", p.targets); err != nil {
		p.t.Fatal(err)
	}
}

// query returns the labels of the series that a query finds now.
func (p *prometheus) query(expression string) ([]map[string]string, error) {
	resp, err := http.Get(p.url + "/api/v1/query?query=" + url.QueryEscape(expression))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Error string
		Data  struct {
			Result []struct{ Metric map[string]string }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Error != "" {
		return nil, fmt.Errorf("%s: %s", expression, answer.Error)
	}
	var all []map[string]string
	for _, one := range answer.Data.Result {
		all = append(all, one.Metric)
	}
	return all, nil
}

// firing returns the labels of all alerts that fire now.
func (p *prometheus) firing() []map[string]string {
	p.t.Helper()
	found, err := p.query(`ALERTS{alertstate="firing"}`)
	if err != nil {
		p.t.Fatal(err)
	}
	return found
}

// runPrometheus runs Debian's Prometheus with a configuration file until the test ends, and
// returns what it says.
func runPrometheus(t *testing.T, config string) *logtest.Buffer {
	t.Helper()
	cmd := exec.Command("prometheus", "--config.file="+config, "--storage.tsdb.path="+t.TempDir(), "--web.listen-address=127.0.0.1:0")
	said := new(logtest.Buffer)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: scripts/install installs it", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		for line := range strings.Lines(said.String()) {
			if t.Failed() && !strings.Contains(line, "level=info") {
				t.Logf("Prometheus: %s", line)
			}
		}
	})
	return said
}
