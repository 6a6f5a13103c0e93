package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// resultsFile has every single measurement, in the format of Go's benchmarks:
// benchstat reads it.
const resultsFile = "results.txt"

// sample is the result of one contender in one round.
type sample struct {
	contender string
	values    []value
}

type value struct {
	unit string
	v    float64
}

// record collects the samples of one benchmark.
type record struct {
	work  string
	round int // of the present round, from 0 on

	mu      sync.Mutex
	samples []sample // guarded by mu
}

// add adds a sample: a contender and pairs of unit and number.
func (r *record) add(contender string, values ...value) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.samples = append(r.samples, sample{contender, values})
}

func of(unit string, v float64) value { return value{unit, v} }

func ms(unit string, d time.Duration) value {
	return value{unit, float64(d) / float64(time.Millisecond)}
}

// text returns the samples, one a line.
func (r *record) text() string {
	var b strings.Builder
	for _, s := range r.samples {
		name := strings.ReplaceAll(s.contender, " ", "_")
		fmt.Fprintf(&b, "Benchmark%s/%s-%d\t1", capitalised(r.work), name, runtime.NumCPU())
		for _, v := range s.values {
			fmt.Fprintf(&b, "\t%s %s", strconv.FormatFloat(v.v, 'g', 6, 64), v.unit)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func capitalised(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// keep replaces the lines of this benchmark in the results.
func (r *record) keep(dir string) error {
	path := filepath.Join(dir, resultsFile)
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var b bytes.Buffer
	for line := range bytes.Lines(old) {
		if !bytes.HasPrefix(line, []byte("Benchmark"+capitalised(r.work)+"/")) {
			b.Write(line)
		}
	}
	b.WriteString(r.text())
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// results are all samples by benchmark, contender and unit, in the order of rounds.
type results map[string][]sample

func readResults(dir string) (results, error) {
	f, err := os.Open(filepath.Join(dir, resultsFile))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all := results{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, rest, ok := strings.Cut(lines.Text(), "\t")
		name, found := strings.CutPrefix(name, "Benchmark")
		if !ok || !found {
			continue
		}
		work, contender, _ := strings.Cut(name, "/")
		contender = contender[:strings.LastIndexByte(contender, '-')]
		s := sample{contender: strings.ReplaceAll(contender, "_", " ")}
		for _, field := range strings.Split(rest, "\t")[1:] {
			number, unit, _ := strings.Cut(field, " ")
			v, err := strconv.ParseFloat(number, 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %q: %w", resultsFile, lines.Text(), err)
			}
			s.values = append(s.values, of(unit, v))
		}
		work = strings.ToLower(work)
		all[work] = append(all[work], s)
	}
	return all, lines.Err()
}

// series returns the values of a contender in each round.
func (r results) series(work, contender, unit string) []float64 {
	var all []float64
	for _, s := range r[work] {
		if s.contender != contender {
			continue
		}
		for _, v := range s.values {
			if v.unit == unit {
				all = append(all, v.v)
			}
		}
	}
	return all
}

// contenders returns the contenders in the order in which they ran.
func (r results) contenders(work string) []string {
	var names []string
	for _, s := range r[work] {
		if !slices.Contains(names, s.contender) {
			names = append(names, s.contender)
		}
	}
	return names
}

// ratios divides round by round, which removes the noise that affected both.
func ratios(a, b []float64) []float64 {
	n := min(len(a), len(b))
	out := make([]float64, n)
	for i := range n {
		out[i] = a[i] / b[i]
	}
	return out
}

func median(all []float64) float64 {
	if len(all) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(all))
	if len(s)%2 == 1 {
		return s[len(s)/2]
	}
	return (s[len(s)/2-1] + s[len(s)/2]) / 2
}

// percentile returns the value below which the fraction p lies. It sorts all.
func percentile(all []time.Duration, p float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(int(p*float64(len(all))), len(all)-1)]
}
