package coordinator

// wakeHeap has accounts by when the schedule looks at them, the earliest first. A node has
// four children beside each other, and no account is touched to compare: with a million of
// them, what counts is how much memory is looked at.
type wakeHeap []waking

type waking struct {
	at instant
	a  *Account
}

// set adds the account, or moves it.
func (h *wakeHeap) set(a *Account, at instant) {
	i := int(a.index)
	if i < 0 {
		i = len(*h)
		*h = append(*h, waking{})
	}
	h.place(i, waking{at, a})
}

// remove takes the account out, if it is there.
func (h *wakeHeap) remove(a *Account) {
	i, last := int(a.index), len(*h)-1
	if i < 0 {
		return
	}
	moved := (*h)[last]
	(*h)[last] = waking{}
	*h = (*h)[:last]
	a.index = -1
	if i < last {
		h.place(i, moved)
	}
}

// place puts w where it belongs, instead of what is at i.
func (h wakeHeap) place(i int, w waking) {
	for i > 0 {
		parent := (i - 1) / 4
		if h[parent].at <= w.at {
			break
		}
		h.put(i, h[parent])
		i = parent
	}
	for {
		child := h.earliest(4*i + 1)
		if child < 0 || w.at <= h[child].at {
			break
		}
		h.put(i, h[child])
		i = child
	}
	h.put(i, w)
}

// earliest returns which of the four from first on is, -1 if there is none.
func (h wakeHeap) earliest(first int) int {
	if first >= len(h) {
		return -1
	}
	best := first
	for i := first + 1; i < min(first+4, len(h)); i++ {
		if h[i].at < h[best].at {
			best = i
		}
	}
	return best
}

func (h wakeHeap) put(i int, w waking) {
	h[i] = w
	w.a.index = int32(i)
}
