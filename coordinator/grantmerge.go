package coordinator

import (
	"cmp"
	"slices"
)

// This file is what becomes of a record of which there are two versions: the store lost
// its newest writes, and went on from an older one before a process that remembers them
// could say so.

// maxSaves is how many versions before it a record knows.
const maxSaves = 32

// saveName tells the versions of a record apart.
func saveName(id string) string { return id[:min(len(id), 8)] }

// Predecessor returns what the SaveID of the version begins with that g was made of; "" if
// there was none, or if it is not known.
func (g Grant) Predecessor() string {
	if len(g.Saves) == 0 {
		return ""
	}
	return g.Saves[len(g.Saves)-1]
}

// follows reports whether g was made of h, or is h, or replaces it by a newer consent.
// A version that is too old for g to know it is taken for one that g was made of.
func (g Grant) follows(h Grant) bool {
	switch {
	case h.Version == 0, g.Same(h), g.Consent > h.Consent:
		return true
	case g.Consent < h.Consent, g.Version <= h.Version:
		return false
	}
	return slices.Contains(g.Saves, saveName(h.SaveID)) || g.Version-h.Version > maxSaves/2
}

// merge returns a version that follows both: no token of either is lost whose successor
// is not there, and what either has presented counts as presented.
func (g Grant) merge(h Grant) Grant {
	switch {
	case g.follows(h):
		return g
	case h.follows(g):
		return h
	case g.Version < h.Version:
		g, h = h, g
	}
	m := g.next()
	m.Saves = lastOf(append(append(slices.Clone(h.Saves), saveName(h.SaveID)), m.Saves...), maxSaves)
	m.Replaced = lastOf(append(slices.Clone(h.Replaced), m.Replaced...), 2*maxPresentations)
	for _, t := range h.Tokens {
		if i := m.index(t.Fence); i >= 0 {
			m.Tokens[i].Refused, m.Tokens[i].Probed = m.Tokens[i].Refused || t.Refused, m.Tokens[i].Probed || t.Probed
			m.Tokens[i].RefusedTo = union(m.Tokens[i].RefusedTo, t.RefusedTo)
		} else if !m.knows(t.Token) {
			m.insert(t)
		}
	}
	m.Tokens = slices.DeleteFunc(m.Tokens, func(t GrantToken) bool { return slices.Contains(m.Replaced, fingerprint(t.Token)) })
	for _, p := range h.Presentations {
		if i := m.presentation(p.Fence); i >= 0 {
			m.Presentations[i].Over = m.Presentations[i].Over || p.Over
		} else {
			m.Presentations = append(m.Presentations, p)
		}
	}
	m.Presentations = slices.DeleteFunc(m.Presentations, func(p Presentation) bool { return m.index(p.Fence) >= 0 })
	slices.SortFunc(m.Presentations, func(a, b Presentation) int { return cmp.Compare(a.Fence, b.Fence) })
	m.ObtainedAt = later(g.ObtainedAt, h.ObtainedAt)
	m.Idle, m.IdleUntil, m.EndsAt = max(g.Idle, h.Idle), later(g.IdleUntil, h.IdleUntil), later(g.EndsAt, h.EndsAt)
	return m.bounded()
}

// union returns what is in one of two lists.
func union(a, b []string) []string {
	all := append(slices.Clone(a), b...)
	slices.Sort(all)
	return slices.Compact(all)
}

// lastOf returns the last n of s.
func lastOf(s []string, n int) []string { return s[max(0, len(s)-n):] }
