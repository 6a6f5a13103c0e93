package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// barChart draws the medians of one unit as bars on a logarithmic scale, with
// the lowest and the highest round as a whisker.
func barChart(s section, all results) string {
	const (
		left, width, right = 330, 460, 110
		row, top, bottom   = 26, 46, 34
	)
	type bar struct {
		name           string
		low, mid, high float64
	}
	var bars []bar
	least, most := math.Inf(1), 0.0
	for _, contender := range all.contenders(s.work) {
		series := all.series(s.work, contender, s.plot)
		if len(series) == 0 || median(series) <= 0 {
			continue
		}
		b := bar{contender, slices.Min(series), median(series), slices.Max(series)}
		least, most = min(least, b.low), max(most, b.high)
		bars = append(bars, b)
	}
	from, to := math.Floor(math.Log10(least)), math.Ceil(math.Log10(most))
	if to <= from {
		to = from + 1
	}
	x := func(v float64) float64 { return left + width*(math.Log10(v)-from)/(to-from) }

	var out strings.Builder
	height := top + len(bars)*row + bottom
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n", left+width+right, height)
	fmt.Fprintf(&out, `<rect width="100%%" height="100%%" fill="#fff"/>`+"\n")
	fmt.Fprintf(&out, `<text x="12" y="24" font-size="16" font-weight="bold" fill="#222">%s</text>`+"\n", html.EscapeString(s.title))
	for e := from; e <= to; e++ {
		v := math.Pow(10, e)
		fmt.Fprintf(&out, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#ddd"/><text x="%.1f" y="%d" fill="#666" text-anchor="middle">%s</text>`+"\n",
			x(v), x(v), top-8, height-bottom, x(v), height-bottom+16, number(v))
	}
	for i, b := range bars {
		y := top + i*row
		colour := "#9ab0c4"
		if strings.HasPrefix(b.name, "zhongkong") {
			colour = "#1f6feb"
		}
		fmt.Fprintf(&out, `<text x="%d" y="%d" text-anchor="end" fill="#222">%s</text>`, left-8, y+14, html.EscapeString(b.name))
		fmt.Fprintf(&out, `<rect x="%d" y="%d" width="%.1f" height="16" fill="%s"/>`, left, y+2, max(x(b.mid)-left, 1), colour)
		fmt.Fprintf(&out, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#222"/>`, x(b.low), x(b.high), y+10, y+10)
		fmt.Fprintf(&out, `<text x="%.1f" y="%d" fill="#222">%s</text>`+"\n", max(x(b.mid), x(b.high))+6, y+14, number(b.mid))
	}
	fmt.Fprintf(&out, `<text x="%d" y="%d" fill="#666" text-anchor="end">%s, logarithmic; line: all rounds</text></svg>`+"\n", left+width+right-8, height-4, html.EscapeString(s.unitText))
	return out.String()
}
