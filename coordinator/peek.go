package coordinator

// Peek is Current for those who must not wait: it returns what this process
// holds, from memory, and false if that is nothing it may serve. Without Run
// nothing is held.
func (a *Account) Peek() (Snapshot, bool) {
	h := a.hot.Load()
	if h == nil {
		return Snapshot{}, false
	}
	return a.snapshot(h), true
}
