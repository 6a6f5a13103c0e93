package page

import (
	"fmt"
	"strings"
	"time"
)

// graphFor is how long a time a graph shows.
const graphFor = 24 * time.Hour

// The size of a graph, in units that the style scales.
const graphWidth, graphHeight = 1000.0, 100.0

// graph is the remaining lifetime of the token over the last day, as far as the log
// goes back. Each refresh is a step up.
type graph struct {
	Since time.Time
	Most  time.Duration // the height of the graph
	Area  string        // an SVG path
	Marks []mark

	until time.Time
}

type mark struct {
	X     string
	Event string // its class in the style
}

// newGraph draws the log, whose newest entry comes first; nil: there is nothing to
// draw.
func newGraph(log []event, now time.Time) *graph {
	g := &graph{Since: now.Add(-graphFor), until: now}
	if len(log) > 0 && log[len(log)-1].At.After(g.Since) {
		g.Since = log[len(log)-1].At.Add(-time.Minute)
	}
	var issued []event // the newest first
	for _, e := range log {
		if e.Life > 0 && e.At.Before(now) && e.At.Add(e.Life).After(g.Since) {
			issued = append(issued, e)
			g.Most = max(g.Most, e.Life)
		}
		if e.At.After(g.Since) && e.At.Before(now) && (e.Event == "failed" || e.Event == "conflict") {
			g.Marks = append(g.Marks, mark{fmt.Sprintf("%.1f", g.x(e.At)), e.Event})
		}
	}
	if len(issued) == 0 {
		return nil
	}
	var path strings.Builder
	end := now
	for _, e := range issued {
		from, to := e.At, e.At.Add(e.Life)
		if from.Before(g.Since) {
			from = g.Since
		}
		if to.After(end) {
			to = end
		}
		left := func(t time.Time) float64 { return g.y(e.At.Add(e.Life).Sub(t)) }
		if to.After(from) {
			fmt.Fprintf(&path, "M%.1f %.1fL%.1f %.1fL%.1f %.1fL%.1f %.1fZ",
				g.x(from), graphHeight, g.x(from), left(from), g.x(to), left(to), g.x(to), graphHeight)
		}
		end = e.At
	}
	g.Area = path.String()
	return g
}

func (g *graph) x(t time.Time) float64 {
	return graphWidth * float64(t.Sub(g.Since)) / float64(g.until.Sub(g.Since))
}

func (g *graph) y(left time.Duration) float64 {
	return graphHeight * (1 - float64(left)/float64(g.Most))
}
