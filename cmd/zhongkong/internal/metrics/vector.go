package metrics

import (
	"maps"
	"slices"
	"strconv"
	"sync"
)

// vector counts events by the values of its labels: a counter, or a histogram if it has
// bounds. It is safe for concurrent use.
type vector struct {
	*desc
	bounds []float64 // of the buckets, ascending

	mu     sync.Mutex
	series map[string]*series // :: by the labels as they are written
}

// series is guarded by its vector's mu.
type series struct {
	count   uint64
	sum     float64
	buckets []uint64 // not cumulative
}

func counters(name, help string, labels ...string) *vector {
	return &vector{desc: describe(counter, name, help, labels...), series: make(map[string]*series)}
}

func histograms(name, help string, bounds []float64, labels ...string) *vector {
	return &vector{desc: describe(histogram, name, help, labels...), bounds: bounds, series: make(map[string]*series)}
}

// count counts one more.
func (v *vector) count(labels ...string) { v.observe(0, labels...) }

// observe counts one more of the value x.
func (v *vector) observe(x float64, labels ...string) {
	pairs := v.pairs(labels)
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.of(pairs)
	s.count++
	s.sum += x
	if i, _ := slices.BinarySearch(v.bounds, x); i < len(v.bounds) {
		s.buckets[i]++
	}
}

// of returns the series with labels as they are written. v.mu is held.
func (v *vector) of(pairs string) *series {
	s := v.series[pairs]
	if s == nil {
		s = &series{buckets: make([]uint64, len(v.bounds))}
		v.series[pairs] = s
	}
	return s
}

// collect is a collector.
func (v *vector) collect(to *scrape) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, pairs := range slices.Sorted(maps.Keys(v.series)) {
		s := v.series[pairs]
		if v.bounds == nil {
			to.sample(v.desc, "", pairs, float64(s.count))
			continue
		}
		bucket := func(bound string, n uint64) {
			to.sample(v.desc, "_bucket", pairs+`,le="`+bound+`"`, float64(n))
		}
		var below uint64
		for i, bound := range v.bounds {
			below += s.buckets[i]
			bucket(strconv.FormatFloat(bound, 'g', -1, 64), below)
		}
		bucket("+Inf", s.count)
		to.sample(v.desc, "_sum", pairs, s.sum)
		to.sample(v.desc, "_count", pairs, float64(s.count))
	}
}
