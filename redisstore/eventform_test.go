package redisstore_test

import (
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

func TestWhatTheCommitTellsIsDecodedByItsForm(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	next := heard(t, server, "zhongkong:{a}:refreshed")
	plain := of(begun(t, store, "a", 0), "88_abc-DEF")
	r, err := store.Commit(t.Context(), "a", plain)
	if err != nil {
		t.Fatal(err)
	}
	full := of(begun(t, store, "a", r.Generation), "88_abc-GHI")
	full.Repeated, full.RefreshIn = true, time.Hour
	if _, err := store.Commit(t.Context(), "a", full); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if payload := next().Payload; !redisstore.DecodedByForm(payload) {
			t.Errorf("the form of %q is not known", payload)
		}
	}
}
