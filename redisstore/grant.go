package redisstore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/internal/layout"
)

var _ coordinator.GrantStore = (*Store)(nil)

// errNoSealer is returned by all methods of grants: they are never stored in plain text.
var errNoSealer = fmt.Errorf("%w: this process has no key to seal them with; make one with `zhongkong keygen` and give every process its file (--seal-key-file)",
	coordinator.ErrNoGrants)

// LoadGrant implements [coordinator.GrantStore]. If the key that has sealed the grant is
// not the one that seals now, it is sealed again. That is not confirmed: if it is lost, the
// next LoadGrant does it again.
func (s *Store) LoadGrant(ctx context.Context, account string) (coordinator.GrantReading, error) {
	const op = "load the grant of"
	answer, err := s.runGrant(ctx, call{op: op, account: account, script: s.grants().load})
	if err != nil {
		return coordinator.GrantReading{}, err
	}
	reading, sealed, err := s.grantReading(account, answer)
	if err != nil {
		return coordinator.GrantReading{}, fmt.Errorf("%s %q: %w", op, account, err)
	}
	if r, ok := s.sealer.(Resealer); ok && sealed != "" && r.Outdated(sealed) {
		if err := s.reseal(ctx, account, reading.Grant); err != nil {
			s.log.Warn("a grant cannot be sealed with the new key; keep the old one", "account", account, "error", err)
		}
	}
	return reading, nil
}

// SaveGrant implements [coordinator.GrantStore]. It waits for its confirmation for up to
// 4 s, less if ctx ends before; see Options.Replicas.
func (s *Store) SaveGrant(ctx context.Context, account string, g coordinator.Grant, sum coordinator.GrantSummary) error {
	return s.writeGrant(ctx, "save the grant of", s.grants().save, account, g, sum)
}

// RestoreGrant implements [coordinator.GrantStore]. It waits as SaveGrant does.
func (s *Store) RestoreGrant(ctx context.Context, account string, g coordinator.Grant, sum coordinator.GrantSummary) error {
	return s.writeGrant(ctx, "restore the grant of", s.grants().restore, account, g, sum)
}

// DropGrant implements [coordinator.GrantStore]. It waits as SaveGrant does.
func (s *Store) DropGrant(ctx context.Context, account string, g coordinator.Grant) error {
	_, err := s.runGrant(ctx, call{
		op: "drop the grant of", account: account, script: s.grants().drop, args: []any{g.Version, g.SaveID}, confirm: confirmedOnDisk,
	})
	return err
}

// GrantMembers implements [coordinator.GrantStore].
func (s *Store) GrantMembers(ctx context.Context, account string) ([]string, error) {
	const op = "list the members of"
	if s.sealer == nil {
		return nil, fmt.Errorf("%s %q: %w", op, account, errNoSealer)
	}
	if err := s.ready(ctx, op, account); err != nil {
		return nil, err
	}
	key := s.keys.GrantMembers(account)
	var members []string
	err := s.onSortedSet(ctx, op, account, key, func(ctx context.Context, client redis.UniversalClient) (err error) {
		members, err = client.ZRange(ctx, key, 0, -1).Result()
		return err
	})
	slices.Sort(members)
	return members, err
}

// SetGrantMember implements [coordinator.GrantStore]. It waits as SaveGrant does.
func (s *Store) SetGrantMember(ctx context.Context, account, member string, present bool) error {
	if err := checkAccount(member); err != nil {
		return err
	}
	do := "remove"
	if present {
		do = "add"
	}
	_, err := s.runGrant(ctx, call{
		op: do + " a member of", account: account, script: s.grants().setMember,
		keys: []string{s.keys.GrantMembers(account)}, args: []any{member, do}, confirm: confirmedOnDisk,
	})
	return err
}

// runGrant runs a script of grants, on the keys that most of them have unless c has keys.
func (s *Store) runGrant(ctx context.Context, c call) ([]any, error) {
	if s.sealer == nil {
		return nil, fmt.Errorf("%s %q: %w", c.op, c.account, errNoSealer)
	}
	if c.keys == nil {
		c.keys, c.logs = s.grantKeys(c.account), true
	}
	if c.confirm == confirmedOnDisk {
		select {
		case s.confirming <- struct{}{}:
			defer func() { <-s.confirming }()
		case <-ctx.Done():
			return nil, fmt.Errorf("%s %q: %w: it was not sent, because others wait for their confirmation: %w",
				c.op, c.account, coordinator.ErrUnconfirmed, ctx.Err())
		}
	}
	return s.run(ctx, c)
}

// grantKeys are the account's keys of all scripts that share grant.lua.
func (s *Store) grantKeys(account string) []string {
	return []string{s.keys.Grant(account), s.keys.Of(account).State}
}

// writeGrant runs one of the scripts that store a record.
func (s *Store) writeGrant(ctx context.Context, op string, script *redis.Script, account string, g coordinator.Grant, sum coordinator.GrantSummary) error {
	if g.Version == 0 || g.SaveID == "" || g.Version > layout.MaxWhole || g.Consent > layout.MaxWhole {
		return fmt.Errorf("%s %q: it has no SaveID, or its version is out of range: no transition has made it", op, account)
	}
	if s.sealer == nil {
		return fmt.Errorf("%s %q: %w", op, account, errNoSealer)
	}
	sealed, err := s.sealGrant(account, g)
	if err != nil {
		return fmt.Errorf("%s %q: %w", op, account, err)
	}
	answer, err := s.runGrant(ctx, call{
		op: op, account: account, script: script, confirm: confirmedOnDisk,
		args: []any{
			s.keys.Channel(account, layout.Refreshed), s.instance, g.Version, g.SaveID, uint64(g.Consent),
			uint64(sum.Newest), sealed, summaryText(sum), one(sum.Received), printable(coordinator.Caller(ctx)), g.Predecessor(),
		},
	})
	if answer == nil {
		return err
	}
	r := &decoder{keys: s.keys.Of(account)}
	answer = r.list(answer, 2)
	s.serverNow(r, answer[1])
	switch answer[0] {
	case "stored":
		return cmp.Or(err, r.err)
	case "newer":
		return r.err
	case "changed":
		err = coordinator.ErrGrantChanged
	case "unsettled":
		left := r.whole(s.keys.Grant(account), "settling_since", r.list(answer, 3)[2])
		err = &coordinator.UnsettledError{RetryIn: milliseconds(left)}
	default:
		r.unknown()
		err = r.err
	}
	return fmt.Errorf("%s %q: version %d: %w", op, account, g.Version, err)
}

// grantReading decodes the answer of loadgrant.lua. It also returns the record as it is
// stored.
func (s *Store) grantReading(account string, answer []any) (reading coordinator.GrantReading, sealed string, err error) {
	r := &decoder{keys: s.keys.Of(account)}
	answer = r.list(answer, 2+len(grantFields))
	reading.Now = s.serverNow(r, answer[0])
	reading.SettledIn = milliseconds(r.whole(s.keys.Grant(account), "settling_since", answer[1]))
	if r.err != nil {
		return coordinator.GrantReading{}, "", r.err
	}
	if reading.Grant, sealed, err = s.storedGrant(account, answer[2:]); err != nil {
		return coordinator.GrantReading{}, "", err
	}
	return reading, sealed, nil
}

// grantFields are the fields of a stored grant that storedGrant takes.
var grantFields = []string{"version", "save_id", "consent", "record"}

// storedGrant opens a grant of which these fields were read; the zero Grant if there is
// none. sealed is the record as it is stored, with an error too, if it could be read.
func (s *Store) storedGrant(account string, fields []any) (g coordinator.Grant, sealed string, err error) {
	key := s.keys.Grant(account)
	r := &decoder{keys: s.keys.Of(account)}
	fields = r.list(fields, len(grantFields))
	version := r.whole(key, "version", fields[0])
	id := r.text(key, "save_id", fields[1])
	consent := r.fence(key, "consent", fields[2])
	sealed = r.text(key, "record", fields[3])
	damaged := func(field, problem string) error {
		return &DataError{Key: key, Field: field, Problem: problem, Fix: grantFix(key)}
	}
	switch {
	case r.err != nil:
		return coordinator.Grant{}, sealed, s.fixGrant(r.err)
	case version == 0 && sealed == "":
		return coordinator.Grant{}, "", nil
	case version == 0:
		return coordinator.Grant{}, sealed, damaged("version", "is missing")
	case sealed == "":
		return coordinator.Grant{}, "", damaged("record", "is missing")
	}
	if g, err = s.openGrant(account, uint64(version), sealed); err != nil {
		return coordinator.Grant{}, sealed, err
	}
	for field, same := range map[string]bool{
		"version": g.Version == uint64(version),
		"save_id": g.SaveID == id,
		"consent": g.Consent == consent,
	} {
		if !same {
			return coordinator.Grant{}, sealed, damaged(field, "is not that of the sealed record")
		}
	}
	return g, sealed, nil
}

// readGrant returns a grant as it is stored, "" if there is none, and what keeps it from
// being opened; without a key nobody tries. It changes nothing, unlike LoadGrant.
func (s *Store) readGrant(ctx context.Context, account string) (sealed string, err error) {
	bounded, cancel := s.client.Bounded(ctx)
	defer cancel()
	key := s.keys.Grant(account)
	fields, err := s.client.Reads.HMGet(bounded, key, grantFields...).Result()
	if err != nil {
		return "", s.fault(ctx, "read the grant of", account, s.fixGrant(wrongType(err, key, "hash")))
	}
	if s.sealer == nil {
		return (&decoder{}).text(key, "record", fields[3]), nil
	}
	_, sealed, err = s.storedGrant(account, fields)
	return sealed, err
}

// reseal seals the stored record with the key that seals now. A presentation does not have the
// time to wait for the disk once more than for its mark.
func (s *Store) reseal(ctx context.Context, account string, g coordinator.Grant) error {
	sealed, err := s.sealGrant(account, g)
	if err != nil {
		return err
	}
	_, err = s.runGrant(ctx, call{
		op: "seal again the grant of", account: account, script: s.grants().reseal,
		args: []any{g.Version, g.SaveID, sealed},
	})
	return err
}

// summaryText returns a summary as it is stored, in JSON without what is zero. A field
// that is added to it needs nothing here.
func summaryText(s coordinator.GrantSummary) string {
	var fields map[string]json.RawMessage
	text, err := json.Marshal(s)
	if err == nil {
		err = json.Unmarshal(text, &fields)
	}
	if err != nil {
		return "{}" // only for instants beyond the year 9999
	}
	maps.DeleteFunc(fields, func(_ string, value json.RawMessage) bool {
		return slices.Contains([]string{"0", "false", `""`, `"0001-01-01T00:00:00Z"`}, string(value))
	})
	text, _ = json.Marshal(fields)
	return string(text)
}

// grantSummary is the reverse of summaryText; nil if there is none.
func (r *decoder) grantSummary(key string, v any) *coordinator.GrantSummary {
	text := r.text(key, "grant", v)
	if text == "" {
		return nil
	}
	s := new(coordinator.GrantSummary)
	if json.Unmarshal([]byte(text), s) != nil || !credibleSummary(s) {
		r.fail(key, "grant", "is not the JSON object of a grant's summary")
		return nil
	}
	return s
}

func credibleSummary(s *coordinator.GrantSummary) bool {
	return s != nil && s.Version > 0 && max(s.Version, uint64(s.Consent), uint64(s.Newest)) <= layout.MaxWhole
}

// grantFix is what to do about a grant that cannot be read. A consent does not replace it
// by itself: what a process cannot read, because it lacks a key, may live on for others.
func grantFix(key string) string {
	return fmt.Sprintf("nothing was changed; put the record back from a backup of Redis, or delete it (redis-cli del '%s'): "+
		"if there is a copy of the grants outside of Redis, it is restored from there, and otherwise a person logs in again", key)
}

// fixGrant puts grantFix into an error about the data of a grant.
func (s *Store) fixGrant(err error) error {
	if data, ok := errors.AsType[*DataError](err); ok {
		if _, grant := s.keys.SplitGrant(data.Key); grant {
			data.Fix = grantFix(data.Key)
		}
	}
	return err
}

var errGrantForm = errors.New("it was opened, and is no grant")

// sealGrant returns what is stored of a grant.
func (s *Store) sealGrant(account string, g coordinator.Grant) (string, error) {
	return s.sealer.Seal(s.grantBinding(account, g.Version), coordinator.NewToken(string(coordinator.EncodeGrant(g))))
}

// openGrant is the reverse of sealGrant.
func (s *Store) openGrant(account string, version uint64, sealed string) (coordinator.Grant, error) {
	t, err := s.sealer.Open(s.grantBinding(account, version), sealed)
	if err != nil {
		if !errors.Is(err, coordinator.ErrSealed) {
			err = fmt.Errorf("%w: %w", coordinator.ErrSealed, err)
		}
		return coordinator.Grant{}, fmt.Errorf("%w; to do without it: %s", err, grantFix(s.keys.Grant(account)))
	}
	g, err := coordinator.DecodeGrant([]byte(t.Reveal()))
	if err != nil {
		return coordinator.Grant{}, fmt.Errorf("%w: %w: %w; %s", coordinator.ErrSealed, errGrantForm, err, grantFix(s.keys.Grant(account)))
	}
	return g, nil
}

func (s *Store) grantBinding(account string, version uint64) Binding {
	return Binding{Prefix: s.keys.Prefix, Account: account, Generation: coordinator.Fence(version), Grant: true}
}
