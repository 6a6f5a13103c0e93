package metrics

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// This file is the little of a Prometheus client that is needed: families of
// counters and histograms, and the text format. The official client costs each
// start of the program a millisecond of initialisation, which show, being run
// from scripts, would pay every time.

// family is a set of series of one name, told apart by their labels.
type family struct {
	name, help string
	labels     []string
	bounds     []float64 // of a histogram's buckets; nil: a counter

	mu     sync.Mutex
	series map[string]*series // by the labels as they are written
}

// series is one counter or one histogram. Guarded by its family's mu.
type series struct {
	count   uint64
	sum     float64
	buckets []uint64 // not cumulative
}

func newCounter(name, help string, labels ...string) *family {
	return &family{name: name, help: help, labels: labels, series: map[string]*series{}}
}

func newHistogram(name, help string, bounds []float64, labels ...string) *family {
	f := newCounter(name, help, labels...)
	f.bounds = bounds
	return f
}

// add counts one more for the series with these values of the labels; a
// histogram files v.
func (f *family) add(v float64, values ...string) {
	key := labelPairs(f.labels, values)
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.series[key]
	if s == nil {
		s = &series{buckets: make([]uint64, len(f.bounds))}
		f.series[key] = s
	}
	s.count++
	s.sum += v
	if i, _ := slices.BinarySearch(f.bounds, v); i < len(f.bounds) {
		s.buckets[i]++
	}
}

// write writes the family in the text format, its series in a stable order.
func (f *family) write(w io.Writer) {
	kind := "counter"
	if f.bounds != nil {
		kind = "histogram"
	}
	head(w, f.name, kind, f.help)
	f.mu.Lock()
	defer f.mu.Unlock()
	keys := make([]string, 0, len(f.series))
	for key := range f.series {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		s := f.series[key]
		if f.bounds == nil {
			sample(w, f.name, key, float64(s.count))
			continue
		}
		var below uint64
		for i, bound := range f.bounds {
			below += s.buckets[i]
			sample(w, f.name+"_bucket", and(key, `le="`+number(bound)+`"`), float64(below))
		}
		sample(w, f.name+"_bucket", and(key, `le="+Inf"`), float64(s.count))
		sample(w, f.name+"_sum", key, s.sum)
		sample(w, f.name+"_count", key, float64(s.count))
	}
}

// head announces a metric.
func head(w io.Writer, name, kind, help string) {
	_, _ = fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", name, escapeHelp(help), name, kind)
}

// sample writes one line; labels are as labelPairs gives them.
func sample(w io.Writer, name, labels string, v float64) {
	if labels != "" {
		labels = "{" + labels + "}"
	}
	_, _ = fmt.Fprintf(w, "%s%s %s\n", name, labels, number(v))
}

// number writes v as the format wants it.
func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

func and(labels, more string) string {
	if labels == "" {
		return more
	}
	return labels + "," + more
}

func labelPairs(names, values []string) string {
	var b strings.Builder
	for i, name := range names {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(name + `="` + escapeLabel(values[i]) + `"`)
	}
	return b.String()
}

func escapeLabel(s string) string {
	return strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`).Replace(strings.ToValidUTF8(s, "?"))
}

func escapeHelp(s string) string {
	return strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(s)
}
