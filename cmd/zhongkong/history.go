package main

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/urfave/cli/v2"
)

func (p program) historyCommand() *cli.Command {
	return &cli.Command{
		Name:        "history",
		Usage:       "what happened to an account, newest first, without tokens",
		ArgsUsage:   "[NAME]",
		Description: "Redis keeps about the last 1000 entries of each account.",
		Flags: []cli.Flag{
			newValueFlag("n", "N", "20", "at most so many entries; 0: all"),
			newSwitchFlag("json", "one array of objects"),
		},
		Action: p.history,
	}
}

func (p program) history(c *cli.Context) error {
	n, err := strconv.Atoi(c.String("n"))
	if err != nil || n < 0 {
		return usagef("-n: %q is not a number of entries: write 0 or more", c.String("n"))
	}
	s, err := p.session(c)
	if err != nil {
		return err
	}
	defer s.close()
	ctx, cancel := context.WithTimeout(c.Context, commandTimeout)
	defer cancel()
	name, err := s.oneAccount(ctx, c.Args().Slice())
	if err != nil {
		return err
	}
	o, err := s.operator()
	if err != nil {
		return err
	}
	defer o.close()
	messages, err := o.history(ctx, name, n)
	if err != nil {
		return s.explain(unreachable("read the log of "+strconv.Quote(name), err))
	}
	entries := make([]logEntry, 0, len(messages))
	for _, m := range messages {
		entries = append(entries, newLogEntry(m))
	}
	if c.Bool("json") {
		return s.printJSON(entries)
	}
	rows := [][]string{{"TIME", "EVENT", "REASON", "BY", "TOOK", "FENCE", "DETAIL"}}
	for _, e := range entries {
		rows = append(rows, e.row())
	}
	return table(s.stdout, rows)
}

// logEntry is one entry of an account's log.
type logEntry struct {
	time   time.Time
	fields map[string]string
}

func newLogEntry(m redis.XMessage) logEntry {
	e := logEntry{fields: map[string]string{}}
	ms, _, _ := strings.Cut(m.ID, "-")
	if n, err := strconv.ParseInt(ms, 10, 64); err == nil {
		e.time = time.UnixMilli(n)
	}
	for name, value := range m.Values {
		if text, ok := value.(string); ok {
			e.fields[name] = text
		}
	}
	return e
}

// MarshalJSON writes the fields as the log has them, numbers as numbers.
func (e logEntry) MarshalJSON() ([]byte, error) {
	object := map[string]any{"time": timestamp(e.time)}
	for name, value := range e.fields {
		object[name] = value
		switch name {
		case "fence", "generation", "newer", "code", "took_ms", "life_ms", "retry_ms":
			if n, err := strconv.ParseInt(value, 10, 64); err == nil {
				object[name] = n
			}
		}
	}
	return json.Marshal(object)
}

func (e logEntry) row() []string {
	return []string{
		e.time.Local().Format("2006-01-02 15:04:05.000"),
		dash(e.fields["event"]), dash(e.fields["reason"]), dash(e.fields["by"]),
		dash(e.duration("took_ms")), dash(e.fields["fence"]), dash(e.detail()),
	}
}

func (e logEntry) duration(field string) string {
	ms, err := strconv.ParseInt(e.fields[field], 10, 64)
	if err != nil {
		return ""
	}
	return brief(time.Duration(ms) * time.Millisecond)
}

// detail says in words what the other columns do not.
func (e logEntry) detail() string {
	switch e.fields["event"] {
	case "refreshed":
		return "lives " + dash(e.duration("life_ms"))
	case "failed":
		text := e.fields["error"]
		if code := e.fields["code"]; code != "" && code != "0" {
			text = code + ": " + text
		}
		if retry := e.duration("retry_ms"); retry != "" && retry != "0ms" {
			text += " (again in " + retry + ")"
		}
		return text
	case "superseded":
		return "not stored: attempt " + e.fields["newer"] + " had begun"
	case "conflict":
		return "somebody outside fetched a token for this account"
	case "reported":
		return "the issuer rejected token " + e.fields["generation"]
	case "restored":
		return "put back after Redis lost it"
	}
	return ""
}
