package logging

// Short returns a text that a client chose, cut to what a line may have of it.
func Short(s string) string {
	const longest = 128
	if len(s) > longest {
		return s[:longest] + "..."
	}
	return s
}
