package redisstore_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
	"github.com/zhongkong/zhongkong/redisstore/seal"
)

// rotating is an issuer that takes a token that comes twice for theft.
var rotating = coordinator.GrantRules{Needed: true}

// grantKeys seals the grants of these tests.
var grantKeys = seal.NewLine(time.Now())

func ring(t testing.TB, lines ...string) *seal.Keyring {
	t.Helper()
	keys, err := seal.Parse("keys", []byte(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// openGrants returns a store that keeps grants. It waits so long for newer records.
func openGrants(t testing.TB, url string, settle time.Duration, o redisstore.Options) *redisstore.Store {
	t.Helper()
	if o.Sealer == nil {
		o.Sealer = ring(t, grantKeys)
	}
	o.Timeout = cmp.Or(o.Timeout, 5*time.Second) // other tests keep the disk busy
	store := open(t, url, o)
	store.SettleFor(settle)
	return store
}

func readGrant(t testing.TB, store *redisstore.Store, account string) coordinator.GrantReading {
	t.Helper()
	r, err := store.LoadGrant(t.Context(), account)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// saved saves g, which must be taken.
func saved(t testing.TB, store *redisstore.Store, account string, g coordinator.Grant) coordinator.Grant {
	t.Helper()
	if err := saveGrant(t, store, account, g); err != nil {
		t.Fatal(err)
	}
	return g
}

func saveGrant(t testing.TB, store *redisstore.Store, account string, g coordinator.Grant) error {
	t.Helper()
	return store.SaveGrant(t.Context(), account, g, g.Summary(rotating, time.Now()))
}

// consented gives the account a grant.
func consented(t testing.TB, store *redisstore.Store, account, token string) coordinator.Grant {
	t.Helper()
	r := readGrant(t, store, account)
	return saved(t, store, account, r.Grant.Consented(coordinator.Consent{Token: coordinator.NewToken(token), Idle: time.Hour}, r.Now))
}

// marked returns g with the presentation of its current token.
func marked(t testing.TB, g coordinator.Grant) (marked coordinator.Grant, fence coordinator.Fence) {
	t.Helper()
	fence = g.Newest() + 1
	marked, _, err := g.Present(coordinator.PresentRequest{Fence: fence, Now: time.Now(), For: time.Minute, Rules: rotating})
	if err != nil {
		t.Fatal(err)
	}
	return marked, fence
}

func sameGrant(t testing.TB, what string, got, want coordinator.Grant) {
	t.Helper()
	if !got.Same(want) || string(coordinator.EncodeGrant(got)) != string(coordinator.EncodeGrant(want)) {
		t.Errorf("%s is version %d (%s), want %d (%s)", what, got.Version, got.SaveID, want.Version, want.SaveID)
	}
}

func TestAGrantIsReadableWithRedisCliButForItsSecrets(t *testing.T) {
	server := redistest.Start(t)
	store := openGrants(t, server.URL(), time.Minute, redisstore.Options{Instance: "me"})
	g := consented(t, store, "a", "SECRET-0")
	g, fence := marked(t, g)
	g = saved(t, store, "a", g)
	kept, ok := g.Keep(coordinator.GrantAnswer{Fence: fence, Parent: g.Consent, Token: coordinator.NewToken("SECRET-1")}, time.Now())
	if !ok {
		t.Fatal("the answer was not kept")
	}
	saved(t, store, "a", kept)
	client := server.Client()
	defer client.Close()
	all, err := client.HGetAll(t.Context(), "zhongkong-grant:{a}").Result()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"consent", "record", "replid", "save_id", "saved_at", "saved_by", "summary", "version"}
	if got := slices.Sorted(maps.Keys(all)); !slices.Equal(got, want) {
		t.Errorf("the fields are %v, want %v", got, want)
	}
	if all["version"] != "3" || all["save_id"] != kept.SaveID || all["saved_by"] != "me" ||
		!strings.Contains(all["summary"], `"Condition":"good"`) || !strings.Contains(all["summary"], `"IdleUntil":"2`) || strings.Contains(all["summary"], "EndsAt") {
		t.Errorf("the hash is %v", all)
	}
	if ttl := server.MustDo(t, "ttl", "zhongkong-grant:{a}"); ttl != int64(-1) {
		t.Errorf("the TTL is %v, want none", ttl)
	}
	for _, key := range server.MustDo(t, "keys", "*").([]any) {
		if server.MustDo(t, "type", key) != "hash" {
			continue
		}
		fields, err := client.HGetAll(t.Context(), key.(string)).Result()
		if text := strings.Join(slices.Collect(maps.Values(fields)), " "); err != nil || strings.Contains(text, "SECRET") {
			t.Errorf("%v has a secret, or %v", key, err)
		}
	}
	sameGrant(t, "the stored grant", readGrant(t, store, "a").Grant, kept)
}

func TestReadersSeeWhatAGrantIsWorth(t *testing.T) {
	server := redistest.Start(t)
	store := openGrants(t, server.URL(), time.Minute, redisstore.Options{Instance: "me"})
	reader := open(t, server.URL(), redisstore.Options{Timeout: 5 * time.Second})
	_, heard := followed(t, reader, coordinator.Reader, "a")
	g := consented(t, store, "a", "SECRET")
	g, fence := marked(t, g)
	g = saved(t, store, "a", g)
	want := g.Summary(rotating, time.Now().UTC())
	if want.DoubtAt.IsZero() || want.IdleUntil.IsZero() {
		t.Fatalf("the summary is %+v", want)
	}
	for what, state := range map[string]coordinator.State{"in transactions": loaded(t, reader, "a"), "by script": scriptLoaded(t, reader, "a")} {
		if state.Err != nil || state.Grant == nil || !equalSummary(*state.Grant, want) || state.Grant.At(state.Now) != coordinator.GrantPresented {
			t.Errorf("read %s the state has %+v, %v, want %+v", what, state.Grant, state.Err, want)
		}
		if state.Fence != g.Consent {
			t.Errorf("State.Fence = %d, want that of the consent, %d", state.Fence, g.Consent)
		}
	}
	eventually(t, "the reader hears of both", patience, func() bool {
		heard.mu.Lock()
		defer heard.mu.Unlock()
		return len(heard.events) == 2
	})
	if e := heard.events[1]; e.Kind != coordinator.EventGrant || e.Grant == nil || !equalSummary(*e.Grant, want) || e.By != "me" {
		t.Errorf("the event is %+v with %+v, want %+v", e, e.Grant, want)
	}
	if kept, ok := g.Keep(coordinator.GrantAnswer{Fence: fence, Parent: g.Consent, Token: coordinator.NewToken("next")}, time.Now()); ok {
		saved(t, store, "a", kept)
	}
	if state := loaded(t, reader, "a"); state.Fence != fence {
		t.Errorf("State.Fence = %d, want that of the newest token, %d", state.Fence, fence)
	}
	if state := loaded(t, reader, "b"); state.Grant != nil {
		t.Errorf("an account without a grant has %+v", state.Grant)
	}
}

// scriptLoaded loads with the script, which is used where transactions are refused.
func scriptLoaded(t testing.TB, store *redisstore.Store, account string) coordinator.State {
	t.Helper()
	store.LoadByScript()
	return loaded(t, store, account)
}

// equalSummary compares summaries of the same process, whose instants are exact.
func equalSummary(a, b coordinator.GrantSummary) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

func TestOfTwoSavesOfOneVersionTheFirstIsTaken(t *testing.T) {
	server := redistest.Start(t)
	store := openGrants(t, server.URL(), time.Minute, redisstore.Options{})
	g := consented(t, store, "a", "r0")
	first, _ := marked(t, g)
	second, _ := marked(t, g)
	saved(t, store, "a", first)
	if err := saveGrant(t, store, "a", second); !errors.Is(err, coordinator.ErrGrantChanged) {
		t.Errorf("the second save = %v, want %v", err, coordinator.ErrGrantChanged)
	}
	_, heard := followed(t, store, coordinator.Refresher, "a")
	saved(t, store, "a", first) // repeated: only confirmed
	sameGrant(t, "the stored grant", readGrant(t, store, "a").Grant, first)
	if err := store.RestoreGrant(t.Context(), "a", g, g.Summary(rotating, time.Now())); err != nil {
		t.Errorf("RestoreGrant() of an older record = %v, want nil", err)
	}
	sameGrant(t, "the stored grant", readGrant(t, store, "a").Grant, first)
	refreshed(t, store, "a", "token")
	eventually(t, "an event", patience, func() bool { return heard.saw(coordinator.EventRefreshed, loaded(t, store, "a").Record.Generation) })
	heard.mu.Lock()
	defer heard.mu.Unlock()
	if slices.ContainsFunc(heard.events, func(e coordinator.Event) bool { return e.Kind == coordinator.EventGrant }) {
		t.Error("a repeated save was notified again")
	}
}

func TestGrantsNeedASealKey(t *testing.T) {
	store := open(t, redistest.Start(t).URL(), redisstore.Options{})
	g := coordinator.Grant{}.Consented(coordinator.Consent{Token: coordinator.NewToken("SECRET")}, time.Now())
	_, load := store.LoadGrant(t.Context(), "a")
	_, members := store.GrantMembers(t.Context(), "a")
	for name, err := range map[string]error{
		"LoadGrant": load, "GrantMembers": members, "SaveGrant": saveGrant(t, store, "a", g),
		"RestoreGrant":   store.RestoreGrant(t.Context(), "a", g, coordinator.GrantSummary{}),
		"SetGrantMember": store.SetGrantMember(t.Context(), "a", "b", true), "DropGrant": store.DropGrant(t.Context(), "a", g),
	} {
		if !errors.Is(err, coordinator.ErrNoGrants) || !strings.Contains(err.Error(), "zhongkong keygen") {
			t.Errorf("%s() = %v, want %v and what to do", name, err, coordinator.ErrNoGrants)
		}
	}
}

func TestMembersOfAGrant(t *testing.T) {
	server := redistest.Start(t)
	store := openGrants(t, server.URL(), time.Minute, redisstore.Options{})
	set := func(member string, present bool) {
		t.Helper()
		if err := store.SetGrantMember(t.Context(), "a", member, present); err != nil {
			t.Error(err)
		}
	}
	want := func(want ...string) {
		t.Helper()
		if got, err := store.GrantMembers(t.Context(), "a"); err != nil || !slices.Equal(got, want) {
			t.Errorf("GrantMembers() = %v, %v, want %v", got, err, want)
		}
	}
	want()
	set("wx2", true)
	set("wx1", true)
	set("wx1", true)
	want("wx1", "wx2")
	set("wx2", false)
	set("wx2", false)
	want("wx1")
	set("wx1", false)
	want()
	server.MustDo(t, "set", "zhongkong-grant:{a}:members", "x")
	var data *redisstore.DataError
	if _, err := store.GrantMembers(t.Context(), "a"); !errors.As(err, &data) {
		t.Errorf("GrantMembers() of a string = %v, want a *DataError", err)
	}
	if err := store.SetGrantMember(t.Context(), "a", "b", true); !errors.As(err, &data) {
		t.Errorf("SetGrantMember() in a string = %v, want a *DataError", err)
	}
	if err := store.SetGrantMember(t.Context(), "a", "{b}", true); err == nil {
		t.Error("a member may have any name")
	}
}

func TestGrantsWorkOnTheEmbeddedRedis(t *testing.T) {
	server := miniredis.RunT(t)
	server.ClockTTL(true)
	store := openGrants(t, "redis://"+server.Addr(), time.Minute, redisstore.Options{})
	g := consented(t, store, "a", "r0")
	g, _ = marked(t, g)
	g = saved(t, store, "a", g)
	r := readGrant(t, store, "a")
	sameGrant(t, "the stored grant", r.Grant, g)
	if r.SettledIn != 0 {
		t.Errorf("SettledIn = %v, want 0", r.SettledIn)
	}
	server.FlushAll()
	if r := readGrant(t, store, "a"); r.SettledIn <= 0 || r.Grant.Version != 0 {
		t.Errorf("after FLUSHALL: version %d, settled in %v", r.Grant.Version, r.SettledIn)
	}
}

func TestEveryFieldOfASummaryIsKept(t *testing.T) {
	server := redistest.Start(t)
	store := openGrants(t, server.URL(), time.Minute, redisstore.Options{})
	_, heard := followed(t, store, coordinator.Reader, "a")
	var want coordinator.GrantSummary
	at := time.Now().UTC().Truncate(time.Millisecond)
	fields := reflect.ValueOf(&want).Elem()
	for i := range fields.NumField() {
		switch field := fields.Field(i); {
		case field.Type() == reflect.TypeFor[time.Time]():
			field.Set(reflect.ValueOf(at.Add(time.Duration(i) * time.Millisecond)))
		case field.CanUint():
			field.SetUint(uint64(1000 + i))
		case field.CanInt():
			field.SetInt(int64(1000 + i))
		case field.Kind() == reflect.String:
			field.SetString("presented")
		case field.Kind() == reflect.Bool:
			field.SetBool(true)
		default:
			t.Fatalf("the field %s has a new type", fields.Type().Field(i).Name)
		}
	}
	g := coordinator.Grant{}.Consented(coordinator.Consent{Token: coordinator.NewToken("r0")}, time.Now())
	g.Version, g.Consent = want.Version, want.Consent
	if err := store.RestoreGrant(t.Context(), "a", g, want); err != nil {
		t.Fatal(err)
	}
	if s := loaded(t, store, "a"); s.Grant == nil || *s.Grant != want {
		t.Errorf("State.Grant = %+v, want %+v", s.Grant, want)
	}
	eventually(t, "notified", patience, func() bool { _, _, n := heard.counts(); return n == 1 })
	if e := heard.events[0]; e.Grant == nil || *e.Grant != want {
		t.Errorf("the event has %+v, want %+v", e.Grant, want)
	}
}

func TestTheLogSaysWhoHasPutAGrantIn(t *testing.T) {
	server := redistest.Start(t)
	store := openGrants(t, server.URL(), time.Minute, redisstore.Options{Instance: "me"})
	g := coordinator.Grant{}.Consented(coordinator.Consent{Token: coordinator.NewToken("SECRET")}, time.Now())
	ctx := coordinator.WithCaller(t.Context(), "ops (api)")
	if err := store.SaveGrant(ctx, "a", g, g.Summary(rotating, time.Now())); err != nil {
		t.Fatal(err)
	}
	next, _ := marked(t, g)
	saved(t, store, "a", next)
	server.MustDo(t, "del", grantKey)
	restored(t, store, "a", next)
	pushed, _ := coordinator.Grant{}.WithReceived(coordinator.Received{Token: coordinator.NewToken("SECRET"), At: time.Now(), Life: time.Hour}, time.Now())
	if err := store.SaveGrant(ctx, "b", pushed, pushed.Summary(coordinator.GrantRules{Received: true}, time.Now())); err != nil {
		t.Fatal(err)
	}
	entries, err := redisadmin.New(store).History(t.Context(), "a", 10)
	if err != nil || len(entries) != 2 {
		t.Fatalf("History() = %+v, %v, want two entries", entries, err)
	}
	if e := entries[1]; e.Event != "consented" || e.By != "me" || e.AskedBy != "ops (api)" || e.Fence != g.Consent {
		t.Errorf("the consent's entry is %+v", e)
	}
	if e := entries[0]; e.Event != "grant-restored" || e.By != "me" || e.Fence != g.Consent {
		t.Errorf("the restore's entry is %+v", e)
	}
	if entries, err := redisadmin.New(store).History(t.Context(), "b", 10); err != nil || len(entries) != 0 {
		t.Errorf("History() of pushes = %+v, %v, want none", entries, err)
	}
}
