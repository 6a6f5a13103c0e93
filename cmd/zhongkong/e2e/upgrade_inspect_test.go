//go:build unix

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// inspect has the commands of both versions read everything, whichever version wrote it.
func (u *upgrade) inspect() {
	u.t.Helper()
	for _, account := range accounts() {
		want, err := u.ask(u.machines[0].process, account)
		if issue, wechat := u.now.wechat.LastIssued(account); err != nil || wechat && want.Token != issue.Token {
			u.t.Errorf("%s is not served as it was issued last: %v", account, err)
		}
		for name, version := range map[string]*fleet{"before": u.before, "now": u.now} {
			if p := version.run("show", account); p.token() != want.Token {
				u.t.Errorf("show %s of the version %s = %d\n%s", account, name, p.code(), p.stderr.String())
			}
		}
		u.historyGoesOn(account)
	}
	u.sameAnswer("status", "--json")
	for name, version := range map[string]*fleet{"before": u.before, "now": u.now} {
		if p := version.run("check"); p.code() != 0 {
			u.t.Errorf("check of the version %s = %d\n%s", name, p.code(), p.stderr.String())
		}
	}
}

// sameAnswer runs a command of both versions. What the version before says, this one has
// to say as well.
func (u *upgrade) sameAnswer(args ...string) {
	u.t.Helper()
	for _, difference := range lacks(u.answer(u.before, args...), u.answer(u.now, args...), strings.Join(args, " ")) {
		u.t.Error(difference)
	}
}

// historyGoesOn looks whether this version shows every entry that the version before
// shows. That one shows only what its own processes have logged.
func (u *upgrade) historyGoesOn(account string) {
	u.t.Helper()
	args := []string{"history", "-n", "0", "--json", account}
	before, _ := u.answer(u.before, args...).([]any)
	now, _ := u.answer(u.now, args...).([]any)
	for _, entry := range before {
		if !slices.ContainsFunc(now, func(n any) bool { return len(lacks(entry, n, "")) == 0 }) {
			u.t.Errorf("history %s lacks %v", account, entry)
		}
	}
	if len(before) == 0 {
		u.t.Errorf("history %s of the version before is empty", account)
	}
}

// answer runs a command of a version and decodes what it prints.
func (u *upgrade) answer(f *fleet, args ...string) (decoded any) {
	u.t.Helper()
	p := f.run(args...)
	if err := json.Unmarshal([]byte(p.stdout.String()), &decoded); err != nil || p.code() != 0 {
		u.t.Errorf("%v = %d: %v\n%s", args, p.code(), err, p.stderr.String())
	}
	return decoded
}

// passing are the fields that are other ones a moment later.
var passing = regexp.MustCompile(`_seconds$|^expires_in$|^use_for$|^took$`)

// lacks compares what two versions say, and names what the version before says and this
// one does not.
func lacks(before, now any, where string) (differences []string) {
	switch b := before.(type) {
	case map[string]any:
		n, _ := now.(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(b)) {
			if _, said := n[name]; said && passing.MatchString(name) {
				continue
			}
			differences = append(differences, lacks(b[name], n[name], where+" ."+name)...)
		}
		return differences
	case []any:
		n, _ := now.([]any)
		if len(b) != len(n) {
			return []string{fmt.Sprintf("%s: %d items before, %d now", where, len(b), len(n))}
		}
		for i := range b {
			differences = append(differences, lacks(b[i], n[i], fmt.Sprintf("%s[%d]", where, i))...)
		}
		return differences
	}
	if !reflect.DeepEqual(before, now) && !sameInstant(before, now) {
		return []string{fmt.Sprintf("%s: %v before, %v now", where, before, now)}
	}
	return nil
}

// sameInstant reports whether both are the same instant, which each process reckons from
// its own clock.
func sameInstant(a, b any) bool {
	before, err := time.Parse(time.RFC3339, fmt.Sprint(a))
	now, err2 := time.Parse(time.RFC3339, fmt.Sprint(b))
	return err == nil && err2 == nil && now.Sub(before).Abs() < time.Second
}

// shapes returns the keys in Redis with their types and the names of a hash's fields. An
// entry of a log may get more fields: readers take those that they know.
func (u *upgrade) shapes() map[string]string {
	u.t.Helper()
	client := u.now.redis.Client()
	defer client.Close()
	ctx, shapes := context.Background(), make(map[string]string)
	keys, err := client.Keys(ctx, "*").Result()
	if err != nil {
		u.t.Fatal(err)
	}
	for _, key := range keys {
		shape := client.Type(ctx, key).Val()
		if shape == "hash" {
			shape += " of " + strings.Join(slices.Sorted(maps.Keys(client.HGetAll(ctx, key).Val())), ", ")
		}
		shapes[key] = shape
	}
	return shapes
}
