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
	client := server.Client()
	defer client.Close()
	heard := client.Subscribe(t.Context(), "zhongkong:{a}:refreshed")
	defer heard.Close()
	if _, err := heard.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
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
		message, err := heard.ReceiveMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !redisstore.DecodedByForm(message.Payload) {
			t.Errorf("the form of %q is not known", message.Payload)
		}
	}
}
