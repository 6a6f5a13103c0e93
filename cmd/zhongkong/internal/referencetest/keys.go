package referencetest

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Keys is the page of the keys in Redis.
type Keys struct {
	types  map[string]string   // by key, as the page writes it
	fields map[string][]string // of hashes and streams
}

// ReadKeys reads the page.
func ReadKeys(t testing.TB, file string) Keys {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	k := Keys{map[string]string{}, map[string][]string{}}
	for _, row := range regexp.MustCompile("(?m)^\\| `(P[^`]*)` \\| (hash|string|zset|stream) \\| ").FindAllStringSubmatch(string(text), -1) {
		k.types[row[1]] = row[2]
	}
	for _, section := range strings.Split(string(text), "\n### `")[1:] {
		key, table, _ := strings.Cut(section, "`\n")
		table, _, _ = strings.Cut(table, "\n#")
		for _, names := range regexp.MustCompile("(?m)^\\| (`[^|]*`) \\|").FindAllStringSubmatch(table, -1) {
			for _, name := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(names[1], -1) {
				k.fields[key] = append(k.fields[key], name[1])
			}
		}
	}
	k.fields["P:{N}:log"] = k.fields["P:{}:log"] // the same entries, in a cluster
	return k
}

// Written returns the key of the page that a key with this prefix is; "": none.
func (k Keys) Written(key, prefix string) string {
	rest, ours := strings.CutPrefix(key, prefix)
	name := regexp.MustCompile(`\{[^}]+\}`).ReplaceAllString(rest, "{N}")
	name = "P" + regexp.MustCompile(`:\d{8}$`).ReplaceAllString(name, ":YYYYMMDD")
	if _, listed := k.types[name]; !ours || !listed {
		return ""
	}
	return name
}

// Compare reports each key with a prefix, and each of its fields, that the page does not
// have. It returns those of the page that it has seen.
func (k Keys) Compare(ctx context.Context, t testing.TB, client *redis.Client, prefix string) (seen []string) {
	t.Helper()
	keys, err := client.Keys(ctx, prefix+"*").Result()
	if err != nil {
		t.Error(err)
	}
	for _, key := range keys {
		name := k.Written(key, prefix)
		kind := client.Type(ctx, key).Val()
		switch {
		case kind == "none": // it has ended since
			continue
		case name == "" || kind != k.types[name]:
			t.Errorf("reference/keys.md does not list the key %s of type %s", key, kind)
			continue
		}
		seen = append(seen, name)
		for _, field := range fieldsOf(ctx, client, key, kind) {
			if !slices.Contains(k.fields[name], field) {
				t.Errorf("reference/keys.md does not list the field %s of %s", field, key)
			}
		}
	}
	slices.Sort(seen)
	return slices.Compact(seen)
}

// fieldsOf returns the fields of a hash, or of the entries of a stream.
func fieldsOf(ctx context.Context, client *redis.Client, key, kind string) (all []string) {
	switch kind {
	case "hash":
		return client.HKeys(ctx, key).Val()
	case "stream":
		for _, entry := range client.XRange(ctx, key, "-", "+").Val() {
			for field := range entry.Values {
				all = append(all, field)
			}
		}
	}
	return all
}

// All returns the keys of the page.
func (k Keys) All() (all []string) {
	for key := range k.types {
		all = append(all, key)
	}
	slices.Sort(all)
	return all
}
