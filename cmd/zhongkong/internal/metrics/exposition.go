package metrics

import (
	"compress/gzip"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// The kinds of metrics.
const (
	counter   = "counter"
	gauge     = "gauge"
	histogram = "histogram"
	summary   = "summary"
)

// desc describes a metric.
type desc struct {
	kind, name, help string
	labels           []string // in the order in which samples give their values
	sorted           []int    // indexes of labels, by name
}

func newDesc(kind, name, help string, labels ...string) *desc {
	d := &desc{kind: kind, name: name, help: help, labels: labels}
	for i := range labels {
		d.sorted = append(d.sorted, i)
	}
	slices.SortFunc(d.sorted, func(a, b int) int { return strings.Compare(labels[a], labels[b]) })
	return d
}

// describe returns the description of a metric of this program.
func describe(kind, name, help string, labels ...string) *desc {
	return newDesc(kind, "zhongkong_"+name, help, labels...)
}

// pairs returns the labels with values as they are written.
func (d *desc) pairs(values []string) string {
	var b strings.Builder
	for n, i := range d.sorted {
		if n > 0 {
			b.WriteByte(',')
		}
		b.WriteString(d.labels[i])
		b.WriteString(`="`)
		b.WriteString(escapeLabel(values[i]))
		b.WriteByte('"')
	}
	return b.String()
}

// escapeLabel escapes a label's value. Some come from other processes and need not be
// UTF-8, which Prometheus would refuse.
func escapeLabel(s string) string { return labelEscapes.Replace(strings.ToValidUTF8(s, "?")) }

var labelEscapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// collector sends the present values when a scrape comes.
type collector func(*scrape)

// scrape gathers what one answer has.
type scrape struct {
	families map[*desc]*[]byte // :: the lines of its samples
}

// send adds a sample, with the values of the labels.
func (s *scrape) send(d *desc, v float64, values ...string) {
	s.sample(d, "", d.pairs(values), v)
}

// sendEach adds a sample for each of counts, whose keys are the values of the last label.
func (s *scrape) sendEach(d *desc, counts map[string]uint64, values ...string) {
	last := len(values)
	values = append(values, "")
	for _, label := range slices.Sorted(maps.Keys(counts)) {
		values[last] = label
		s.send(d, float64(counts[label]), values...)
	}
}

// sample adds a line. pairs are as desc.pairs returns them.
func (s *scrape) sample(d *desc, suffix, pairs string, v float64) {
	lines := s.families[d]
	if lines == nil {
		lines = new([]byte)
		s.families[d] = lines
	}
	b := append(append(*lines, d.name...), suffix...)
	if pairs != "" {
		b = append(append(append(b, '{'), pairs...), '}')
	}
	*lines = append(strconv.AppendFloat(append(b, ' '), v, 'g', -1, 64), '\n')
}

// writeTo writes the metrics that have a sample, by name.
func (s *scrape) writeTo(w io.Writer) error {
	all := make([]*desc, 0, len(s.families))
	for d := range s.families {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b *desc) int { return strings.Compare(a.name, b.name) })
	help := strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	for _, d := range all {
		if _, err := io.WriteString(w, "# HELP "+d.name+" "+help.Replace(d.help)+"\n# TYPE "+d.name+" "+d.kind+"\n"); err != nil {
			return err
		}
		if _, err := w.Write(*s.families[d]); err != nil {
			return err
		}
	}
	return nil
}

// contentType is that of Prometheus' text format.
const contentType = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"

// compressors are used again: one has 1 MB of tables.
var compressors = sync.Pool{New: func() any {
	c, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed) // the level is valid
	return c
}}

// ServeHTTP answers a scrape.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := &scrape{families: make(map[*desc]*[]byte)}
	m.mu.Lock()
	collectors := m.collectors
	m.mu.Unlock()
	for _, collect := range collectors {
		collect(s)
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Add("Vary", "Accept-Encoding")
	if !acceptsGzip(r) {
		_ = s.writeTo(w) // fails if the client has gone
		return
	}
	h.Set("Content-Encoding", "gzip")
	c := compressors.Get().(*gzip.Writer)
	defer compressors.Put(c)
	c.Reset(w)
	if s.writeTo(c) == nil {
		_ = c.Close() // likewise
	}
}

func acceptsGzip(r *http.Request) bool {
	for _, line := range r.Header["Accept-Encoding"] {
		for coding := range strings.SplitSeq(line, ",") {
			name, quality, _ := strings.Cut(coding, ";")
			if strings.EqualFold(strings.TrimSpace(name), "gzip") {
				q, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(quality), "q="), 64)
				return err != nil || q > 0
			}
		}
	}
	return false
}
