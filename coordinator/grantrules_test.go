package coordinator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// The walks of a grant through its rules, as one process after another takes it from
// the store. Lease is how long a presentation may be under way.
const lease = time.Minute

var (
	grantEpoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	never      = GrantRules{Needed: true, Replay: ReplayNever}
	window     = GrantRules{Needed: true, Replay: 10 * time.Minute}
	free       = GrantRules{Needed: true, Replay: ReplayFree}
	pushed     = GrantRules{Needed: true, Replay: ReplayFree, Received: true}
)

type grantWalk struct {
	*testing.T
	Grant
	rules GrantRules
	now   time.Time
	fence Fence

	credential string
}

func startGrant(t *testing.T, rules GrantRules) *grantWalk {
	w := &grantWalk{T: t, rules: rules, now: grantEpoch}
	w.Grant = Grant{}.Consented(Consent{Token: NewToken("r0")}, w.now)
	w.fence = w.Grant.Consent
	return w
}

func (w *grantWalk) wait(d time.Duration) { w.now = w.now.Add(d) }

// present returns the fence of a new presentation, which must be of the token.
func (w *grantWalk) present(want string, probe bool) Fence {
	w.Helper()
	w.fence++
	g, token, err := w.Present(PresentRequest{Fence: w.fence, Now: w.now, For: lease, Rules: w.rules, Probe: probe, Credential: w.credential})
	if err != nil || token.Token.Reveal() != want {
		w.Fatalf("Present() = %q, %v, want %q", token.Token.Reveal(), err, want)
	}
	w.Grant = g
	return w.fence
}

func (w *grantWalk) wantNone(condition GrantCondition, probe bool) {
	w.Helper()
	w.wantNoneHere(condition, probe)
	w.want(condition)
}

// wantNoneHere checks what a process with the credential says, which others may not.
func (w *grantWalk) wantNoneHere(condition GrantCondition, probe bool) {
	w.Helper()
	_, _, err := w.Present(PresentRequest{Fence: w.fence + 1, Now: w.now, For: lease, Rules: w.rules, Probe: probe, Credential: w.credential})
	var none *GrantError
	if !errors.As(err, &none) || none.Condition != condition {
		w.Fatalf("Present() = %v, want condition %q", err, condition)
	}
}

func (w *grantWalk) refuse(fence, token Fence) {
	w.Helper()
	var changed bool
	if w.Grant, changed = w.Refuse(fence, token, w.credential); !changed {
		w.Fatal("Refuse() has changed nothing")
	}
}

func (w *grantWalk) want(condition GrantCondition) {
	w.Helper()
	if got := w.Condition(w.rules, w.now); got != condition {
		w.Fatalf("Condition() = %q, want %q", got, condition)
	}
}

func (w *grantWalk) keep(fence Fence, parent Fence, token string) {
	w.Helper()
	g, kept := w.Keep(GrantAnswer{Fence: fence, Parent: parent, Token: NewToken(token)}, w.now)
	if !kept {
		w.Fatalf("Keep(%q) has not kept it", token)
	}
	w.Grant = g
}

func TestAnAnswerTakesThePlaceOfItsParent(t *testing.T) {
	w := startGrant(t, never)
	a := w.present("r0", false)
	w.want(GrantPresented)
	w.keep(a, w.Grant.Consent, "r1")
	w.want(GrantGood)
	w.present("r1", false)
	if len(w.Tokens) != 1 {
		t.Errorf("%d tokens, want 1", len(w.Tokens))
	}
	if _, again := w.Keep(GrantAnswer{Fence: a, Parent: w.Grant.Consent, Token: NewToken("r1")}, w.now); again {
		t.Error("the same answer was kept twice")
	}
}

func TestAnAttemptThatAsksAgainGetsTheTokenOfItsMark(t *testing.T) {
	for name, rules := range map[string]GrantRules{"never": never, "window": window} {
		t.Run(name, func(t *testing.T) {
			w := startGrant(t, rules)
			consent := w.Grant.Consent
			w.fence++ // of another attempt
			if rules.Replay > 0 {
				w.present("r0", false)
			}
			request := PresentRequest{Fence: w.present("r0", false), Now: w.now, For: lease, Rules: rules}
			g, token, err := w.Present(request)
			if err != nil || token.Token.Reveal() != "r0" || g.Version != w.Version {
				t.Errorf("Present() = version %d, %q, %v, want version %d, r0", g.Version, token.Token.Reveal(), err, w.Version)
			}
			w.keep(request.Fence-1, consent, "r1")
			if g, token, err := w.Present(request); err == nil || g.Version != w.Version {
				t.Errorf("Present() = version %d, %q, %v, want nothing: there is a newer token", g.Version, token.Token.Reveal(), err)
			}
		})
	}
}

func TestAnAnswerThatIsStoredLateSaysNothingOfTheLifeOfANewerToken(t *testing.T) {
	w := startGrant(t, window)
	a, parent := w.present("r0", false), w.Grant.Consent
	w.wait(time.Minute)
	b := w.present("r0", false)
	w.wait(time.Minute)
	g, _ := w.Keep(GrantAnswer{Fence: b, Parent: parent, Token: NewToken("r2"), Idle: time.Hour, Ends: 2 * time.Hour}, w.now)
	late, kept := g.Keep(GrantAnswer{Fence: a, Parent: parent, Token: NewToken("r1"), Idle: 3 * time.Hour, Ends: 3 * time.Hour}, w.now.Add(-time.Second))
	if !kept || len(late.Tokens) != 2 {
		t.Errorf("%d tokens are kept, want 2", len(late.Tokens))
	}
	if !late.ObtainedAt.Equal(g.ObtainedAt) || late.Idle != g.Idle || !late.IdleUntil.Equal(g.IdleUntil) || !late.EndsAt.Equal(g.EndsAt) {
		t.Errorf("the record says %v, %v, %v, %v, want what the newer answer has said", late.ObtainedAt, late.Idle, late.IdleUntil, late.EndsAt)
	}
}

func TestASpentTokenIsPresentedAgainOnlyInItsWindowWhichCountsFromTheFirst(t *testing.T) {
	w := startGrant(t, window)
	w.present("r0", false)
	w.wait(4 * time.Minute)
	w.present("r0", false)
	w.wait(6 * time.Minute)
	w.wantNone(GrantDoubt, false)
}

func TestInDoubtThereIsOneProbe(t *testing.T) {
	w := startGrant(t, never)
	w.present("r0", false)
	w.wantNone(GrantPresented, true)
	if s := w.Summary(w.rules, w.now); s.At(w.now.Add(lease)) != GrantDoubt {
		t.Errorf("the summary foretells %q, want doubt", s.At(w.now.Add(lease)))
	}
	w.wait(lease)
	w.wantNone(GrantDoubt, false)
	w.present("r0", true)
	w.wait(lease)
	w.wantNone(GrantDead, true)
}

func TestALateAnswerIsKeptByItsMarkWhateverWasBegunSince(t *testing.T) {
	w := startGrant(t, window)
	consent := w.Grant.Consent
	a := w.present("r0", false)
	w.wait(10 * time.Second)
	b := w.present("r0", false)
	w.keep(b, consent, "rb")
	w.wait(time.Hour)
	w.keep(a, consent, "ra") // a sibling, from the spool of a process that was away
	c := w.present("rb", false)
	w.keep(c, b, "rc")
	d := w.present("rc", false)
	w.Grant, _ = w.Refuse(d, c, "")
	w.present("ra", false)
}

func TestATokenThatWasUsedUpDoesNotComeBackWithALateAnswer(t *testing.T) {
	w := startGrant(t, window)
	consent := w.Grant.Consent
	a, b, c := w.present("r0", false), w.present("r0", false), w.present("r0", false)
	w.keep(b, consent, "r1") // an issuer of the same pair
	w.keep(a, consent, "r1")
	if len(w.Tokens) != 1 {
		t.Fatalf("the token is there %d times", len(w.Tokens))
	}
	d := w.present("r1", false)
	w.keep(d, b, "r2")
	w.keep(c, consent, "r1")
	if len(w.Tokens) != 1 || len(w.Presentations) != 0 || w.Newest() != d {
		t.Errorf("%d tokens and %d marks are there, want the successor alone", len(w.Tokens), len(w.Presentations))
	}
}

func TestManyReplaysDoNotMoveTheWindow(t *testing.T) {
	w := startGrant(t, window)
	for range 60 {
		w.present("r0", false)
		w.wait(9 * time.Second)
	}
	if until := w.Summary(w.rules, w.now).ReplayUntil; until.After(grantEpoch.Add(10 * time.Minute)) {
		t.Errorf("the window is open until %v", until)
	}
	w.wait(time.Minute)
	w.wantNone(GrantDoubt, false)
}

func TestARepeatedConsentDoesNotBringBackATokenThatWasPresentedSince(t *testing.T) {
	w := startGrant(t, never)
	again := Consent{Token: NewToken("r0")}
	a := w.present("r0", false)
	if g := w.Consented(again, w.now); g.Version != w.Version {
		t.Error("the token is there: it was consented once more")
	}
	w.keep(a, w.Grant.Consent, "r1")
	if g := w.Consented(again, w.now); g.Version != w.Version {
		t.Error("the token was used up: it was consented once more")
	}
	b := w.present("r1", false)
	w.Grant, _ = w.Refuse(b, a, "")
	w.Grant = w.Consented(Consent{Token: NewToken("r1")}, w.now) // a person may try again
	w.want(GrantGood)
}

func TestAConsentThatIsNotNewerByTheIssuersClockChangesNothing(t *testing.T) {
	w := startGrant(t, never)
	at := grantEpoch.Add(time.Hour)
	w.Grant = w.Consented(Consent{Token: NewToken("s0"), At: at}, w.now)
	for _, c := range []Consent{{At: at.Add(-time.Minute)}, {Token: NewToken("s1"), At: at}} {
		if g := w.Consented(c, w.now); g.Version != w.Version {
			t.Errorf("Consented(%v) has changed the record", c.At)
		}
	}
	w.Grant = w.Consented(Consent{At: at.Add(time.Minute)}, w.now) // withdrawn
	w.wantNone(GrantNone, false)
	if g := w.Consented(Consent{Token: NewToken("s2"), At: at.Add(time.Second)}, w.now); g.Version != w.Version {
		t.Error("an older consent was taken after the withdrawal")
	}
	w.Grant = w.Consented(Consent{Token: NewToken("s3")}, w.now) // by a person
	w.fence = w.Grant.Consent
	w.present("s3", false)
}

func TestAnEventThatComesAgainAfterAConsentByAPersonChangesNothing(t *testing.T) {
	at := grantEpoch.Add(-time.Minute)
	unknown := grantEpoch.Add(10 * MaxFenceAhead) // no CredibleTime
	for name, person := range map[string]Consent{"imported": {Token: NewToken("s0")}, "in another unit": {Token: NewToken("s0"), At: unknown}, "withdrawn": {}} {
		t.Run(name, func(t *testing.T) {
			w := startGrant(t, never)
			w.Grant = w.Consented(Consent{Token: NewToken("e0"), At: at}, w.now)
			w.wait(time.Minute)
			w.Grant = w.Consented(person, w.now)
			for _, c := range []Consent{{Token: NewToken("e0"), At: at}, {At: at}, {Token: NewToken("older"), At: at.Add(-time.Minute)}} {
				if g := w.Consented(c, w.now); g.Version != w.Version {
					t.Errorf("an event of %v has changed the record", c.At)
				}
			}
			w.Grant = w.Consented(Consent{Token: NewToken("e1"), At: w.now}, w.now)
			w.fence = w.Grant.Consent
			w.present("e1", false)
		})
	}
}

func TestAWithdrawnMarkIsAsIfItHadNotBeen(t *testing.T) {
	w := startGrant(t, never)
	a := w.present("r0", false)
	w.Grant, _ = w.Withdraw(a)
	w.want(GrantGood)
	b := w.present("r0", false)
	w.Grant, _ = w.GiveUp(b)
	w.want(GrantDoubt)
	c := w.present("r0", true)
	w.Grant, _ = w.Withdraw(c)
	w.want(GrantDoubt)
	w.present("r0", true)
}

func TestAfterAConsentNothingOfTheOneBeforeGetsIn(t *testing.T) {
	w := startGrant(t, never)
	before := w.Grant.Consent
	a := w.present("r0", false)
	w.Grant = w.Consented(Consent{Token: NewToken("s0")}, w.now)
	if _, kept := w.Keep(GrantAnswer{Fence: a, Parent: before, Token: NewToken("r1")}, w.now); kept {
		t.Error("an answer of the earlier consent was kept")
	}
	if _, changed := w.Refuse(a, before, ""); changed {
		t.Error("a refusal of the earlier consent has changed the record")
	}
	if w.fence = w.Grant.Consent - 1; !errors.Is(w.try(), ErrGrantNewer) {
		t.Errorf("Present() of an older attempt = %v, want %v", w.try(), ErrGrantNewer)
	}
	w.fence = w.Grant.Consent
	w.present("s0", false)
}

// A code that is exchanged once may be such a grant, and its answer would have no place.
func TestAnAttemptThatIsOlderThanTheConsentPresentsNothingOfIt(t *testing.T) {
	for name, rules := range map[string]GrantRules{"never": never, "window": window, "free": free} {
		t.Run(name, func(t *testing.T) {
			w := startGrant(t, rules)
			w.Grant = w.Consented(Consent{Token: NewToken("code"), Form: "code"}, w.now)
			w.fence = w.Grant.Consent - 1
			if err := w.try(); !errors.Is(err, ErrGrantNewer) {
				t.Errorf("Present() of an attempt with the fence of the consent = %v, want %v", err, ErrGrantNewer)
			}
			w.fence++
			older, consent := w.fence, w.Grant.Consent
			newer := w.present("code", false) + 1
			w.keep(newer, consent, "s0")
			if w.fence = older; !errors.Is(w.try(), ErrGrantNewer) {
				t.Errorf("Present() of an attempt older than the newest token = %v, want %v", w.try(), ErrGrantNewer)
			}
			w.fence = newer
			w.present("s0", false)
		})
	}
}

func TestNoAttemptIsBehindATokenThatIsPushed(t *testing.T) {
	w := &grantWalk{T: t, rules: pushed, now: grantEpoch}
	w.Grant, _ = w.WithReceived(Received{Token: NewToken("pushed"), At: w.now, Life: time.Hour}, w.now)
	w.present("pushed", false) // with the first fence of all
}

func TestATokenThatIsNeverUsedUpIsPresentedThoughItsFenceIsOfAClockThatHasGoneBack(t *testing.T) {
	w := startGrant(t, free)
	w.now = w.now.Add(-2 * MaxFenceAhead)
	w.fence = Fence(w.now.UnixMicro())
	w.present("r0", false)
}

func (w *grantWalk) try() error {
	_, _, err := w.Present(PresentRequest{Fence: w.fence + 1, Now: w.now, For: lease, Rules: w.rules})
	return err
}

func TestAnAnswerWithoutATokenLeavesThePresentedOneGood(t *testing.T) {
	w := startGrant(t, window)
	consent := w.Grant.Consent
	a := w.present("r0", false)
	w.Grant, _ = w.GiveUp(a)
	b := w.present("r0", false)
	w.keep(b, consent, "")
	w.want(GrantGood)
	w.present("r0", false)
}

func TestAnAnswerWithoutATokenSettlesTheMarkOfAProcessThatDied(t *testing.T) {
	for name, rules := range map[string]GrantRules{"never": never, "window": window} {
		t.Run(name, func(t *testing.T) {
			w := startGrant(t, rules)
			consent := w.Grant.Consent
			w.present("r0", false) // its process dies
			w.wait(max(lease, rules.Replay))
			w.want(GrantDoubt)
			w.keep(w.present("r0", true), consent, "")
			w.want(GrantGood)
			w.present("r0", false)
		})
	}
}

func TestAnAnswerWithoutATokenSettlesNoMarkOfARequestThatMayHaveArrivedAfterIt(t *testing.T) {
	t.Run("of an earlier presentation", func(t *testing.T) {
		w := startGrant(t, window)
		a := w.present("r0", false)
		w.wait(time.Second)
		w.keep(w.present("r0", false), w.Grant.Consent, "")
		if w.presentation(a) < 0 {
			t.Error("the mark is gone")
		}
	})
	t.Run("of a later one", func(t *testing.T) {
		w := startGrant(t, never)
		a := w.present("r0", false)
		w.wait(lease)
		w.Grant, _ = w.GiveUp(w.present("r0", true))
		w.keep(a, w.Grant.Consent, "") // from a spool
		w.want(GrantDoubt)
	})
}

func TestATokenThatIsNeverUsedUpNeedsNoMark(t *testing.T) {
	w := startGrant(t, free)
	version := w.Version
	w.present("r0", false)
	w.present("r0", false)
	if w.Version != version {
		t.Error("the record was changed")
	}
	w.Grant, _ = w.Refuse(w.fence, w.Grant.Consent, "")
	w.wantNone(GrantDead, true)
}

func TestATokenThatWasRefusedToOneCredentialIsPresentedWithAnother(t *testing.T) {
	for name, rules := range map[string]GrantRules{"never": never, "window": window, "free": free} {
		t.Run(name, func(t *testing.T) {
			w := startGrant(t, rules)
			r0 := w.Grant.Consent
			w.credential = "wrong"
			w.refuse(w.present("r0", false), r0)
			w.wantNone(GrantDead, true)

			w.credential = "right"
			a := w.present("r0", false)
			w.Grant, _ = w.Withdraw(a)
			w.credential = "wrong"
			w.wantNoneHere(GrantDead, true) // it has had its try
			w.want(GrantGood)

			w.credential = "right"
			b := w.present("r0", false)
			w.keep(b, r0, "r1")
			w.credential = "wrong"
			w.refuse(w.present("r1", false), b)
			w.credential = "right"
			w.present("r1", false)
		})
	}
}

func TestATokenIsPresentedWithFewCredentialsAndWithEachOnce(t *testing.T) {
	for name, rules := range map[string]GrantRules{"never": never, "window": window, "free": free} {
		t.Run(name, func(t *testing.T) {
			w := startGrant(t, rules)
			for i := range maxRefusals {
				w.credential = fmt.Sprint(i)
				w.refuse(w.present("r0", false), w.Grant.Consent)
			}
			for i := range maxRefusals + 1 {
				w.credential = fmt.Sprint(i)
				w.wantNone(GrantDead, true)
			}
		})
	}
}

func TestARefusalWithoutACredentialHoldsForAll(t *testing.T) {
	w := startGrant(t, free)
	w.credential = "wrong"
	w.refuse(w.present("r0", false), w.Grant.Consent)
	w.credential = ""
	w.wantNone(GrantDead, true)
	w.credential = "another"
	w.present("r0", false)
	w.credential = ""
	w.refuse(w.present("r0", false), w.Grant.Consent)
	w.credential = "right"
	w.wantNone(GrantDead, true)
}

func TestAMergeKeepsWhichCredentialsATokenWasRefusedTo(t *testing.T) {
	w := startGrant(t, never)
	r0 := w.Grant.Consent
	first, _ := w.Refuse(0, r0, "first")
	second, _ := w.Refuse(0, r0, "second")
	w.Grant = first.merge(second)
	for _, w.credential = range []string{"first", "second"} {
		w.wantNone(GrantDead, true)
	}
	w.credential = "third"
	w.present("r0", false)
}

func TestATokenThatWasRefusedToOthersIsPresentedWhenNothingElseIsLeft(t *testing.T) {
	w := startGrant(t, window)
	consent := w.Grant.Consent
	a, b := w.present("r0", false), w.present("r0", false)
	w.keep(a, consent, "ra")
	w.keep(b, consent, "rb")
	w.credential = "wrong"
	w.refuse(w.present("rb", false), b)
	w.credential = "right"
	w.Grant, _ = w.GiveUp(w.present("ra", false)) // a good one goes first
	w.wait(time.Hour)
	w.wantNone(GrantDoubt, false)
	w.Grant, _ = w.GiveUp(w.present("ra", true)) // also in doubt
	w.present("rb", false)
}

func TestATokenThatMayBeUsedUpAndWasRefusedIsTheLastResortOfAnotherCredential(t *testing.T) {
	w := startGrant(t, never)
	w.credential = "wrong"
	w.Grant, _ = w.GiveUp(w.present("r0", false)) // to a server that does not answer
	w.refuse(w.present("r0", true), w.Grant.Consent)
	w.credential = "right"
	a := w.present("r0", true)
	if i := w.presentation(a); !w.Presentations[i].Probe {
		t.Error("the presentation is not the last resort")
	}
	w.refuse(a, w.Grant.Consent)
	w.wantNone(GrantDead, true)
}

func TestOfPushedTokensTheNewestByTheIssuersTimeIsCurrent(t *testing.T) {
	w := &grantWalk{T: t, rules: pushed, now: grantEpoch}
	w.wantNone(GrantNone, false)
	for _, minute := range []int{10, 30, 20, 40, 0, 50} {
		r := Received{Token: NewToken(time.Duration(minute).String()), At: grantEpoch.Add(time.Duration(minute) * time.Minute), Life: time.Hour}
		before := w.Version
		var added bool
		if w.Grant, added = w.WithReceived(r, w.now); added != (w.Version > before) {
			t.Errorf("the push of minute %d was added: %t; the version is %d after %d", minute, added, w.Version, before)
		}
		if again, added := w.WithReceived(r, w.now); added || again.Version != w.Version {
			t.Errorf("the push of minute %d was added twice", minute)
		}
	}
	w.present(time.Duration(50).String(), false)
	w.Grant, _ = w.Refuse(0, w.Newest(), "")
	w.present(time.Duration(40).String(), false)
	w.wait(time.Hour)
	w.wantNone(GrantDead, false)
}

func TestAPushIsTheNewestThoughTheStoresClockHasGoneBackByMoreThanADay(t *testing.T) {
	w := &grantWalk{T: t, rules: pushed, now: grantEpoch}
	push := func(name string, at time.Time) {
		t.Helper()
		var added bool
		if w.Grant, added = w.WithReceived(Received{Token: NewToken(name), At: at, Life: 12 * time.Hour}, w.now); !added {
			t.Errorf("%s was not added", name)
		}
	}
	for i := range maxReceived {
		push(fmt.Sprint("before", i), w.now)
		w.wait(10 * time.Minute)
	}
	issuer := w.now
	w.now = w.now.Add(-25 * time.Hour)
	for i := range 2 * maxReceived {
		push(fmt.Sprint("after", i), issuer)
		w.present(fmt.Sprint("after", i), false)
		w.Grant, _ = w.Withdraw(w.fence)
		w.wait(10 * time.Minute)
		issuer = issuer.Add(10 * time.Minute)
	}
}

// An issuer that states its times in another unit must neither stop a process nor have
// all later events count as older ones.
func TestATimeOfTheIssuersThatCannotBeIsNotKnown(t *testing.T) {
	for _, seconds := range []int64{grantEpoch.Unix() * 1000, grantEpoch.Add(25 * time.Hour).Unix(), 1 << 40, math.MaxInt64, math.MinInt64, -1} {
		at := time.Unix(seconds, 0)
		w := &grantWalk{T: t, rules: pushed, now: grantEpoch}
		w.Grant, _ = w.WithReceived(Received{Token: NewToken("first"), At: at, Life: time.Hour}, w.now)
		EncodeGrant(w.Grant)
		w.wait(time.Minute)
		w.Grant, _ = w.WithReceived(Received{Token: NewToken("second"), At: w.now, Life: time.Hour}, w.now)
		w.present("second", false)

		w = &grantWalk{T: t, rules: free, now: grantEpoch}
		w.Grant = w.Consented(Consent{Token: NewToken("first"), At: at}, w.now)
		EncodeGrant(w.Grant)
		w.fence = w.Grant.Consent
		w.present("first", false)
		w.wait(time.Minute)
		w.Grant = w.Consented(Consent{Token: NewToken("second"), At: w.now}, w.now)
		w.fence = w.Grant.Consent
		w.present("second", false)
	}
}

func TestAGrantIsWrittenDownWhole(t *testing.T) {
	const written = `{"version":3,"save_id":"s","saves":["a"],"consent":5,"consented_at":"2026-01-01T00:00:00Z","replaced":["q"],` +
		`"presentations":[{"Fence":7,"Token":6,"At":"2026-01-02T00:00:00Z","Until":"2026-01-02T00:01:00Z","Probe":true,"Over":true}],` +
		`"obtained_at":"2026-01-03T00:00:00Z","idle_ns":8,"idle_until":"2026-01-04T00:00:00Z","ends_at":"2026-01-05T00:00:00Z",` +
		`"tokens":[{"form":"f","fence":6,"parent":5,"refused":true,"refused_to":["c"],"probed":true,"at":"2026-01-06T00:00:00Z","until":"2026-01-07T00:00:00Z","token":"secret"}]}`
	g, err := DecodeGrant([]byte(written))
	if err != nil || string(EncodeGrant(g)) != written {
		t.Errorf("DecodeGrant() = %+v, %v; written again %s", g, err, EncodeGrant(g))
	}
	if public, err := json.Marshal(g); err != nil || bytes.Contains(public, []byte("secret")) {
		t.Errorf("encoding the grant itself shows its token: %s, %v", public, err)
	}
	if _, err := DecodeGrant([]byte(`{"tokens":"secret"`)); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("nonsense was decoded, or is quoted: %v", err)
	}
}

func TestTwoVersionsOfARecordAreMerged(t *testing.T) {
	w := startGrant(t, window)
	consent := w.Grant.Consent
	a, b := w.present("r0", false), w.present("r0", false)
	lost := w.Grant
	w.keep(b, consent, "rb")
	remembered := w.Grant
	w.Grant = lost // the store goes on from an older version
	w.keep(a, consent, "ra")
	for range 3 {
		w.wait(time.Hour)
		c := w.present("ra", false)
		w.Grant, _ = w.Withdraw(c)
	}
	for name, m := range map[string]Grant{"one way": w.Grant.merge(remembered), "the other": remembered.merge(w.Grant)} {
		if len(m.Tokens) != 2 || m.Tokens[0].Token.Reveal() != "ra" || m.Tokens[1].Token.Reveal() != "rb" || len(m.Presentations) != 0 {
			t.Errorf("%s: %d tokens and %d marks, want both siblings and none", name, len(m.Tokens), len(m.Presentations))
		}
		for _, g := range []Grant{w.Grant, remembered, lost} {
			if !m.follows(g) || g.follows(m) || !g.merge(m).Same(m) {
				t.Errorf("%s: what was merged does not follow version %d", name, g.Version)
			}
		}
	}
	if m := lost.merge(remembered); !m.Same(remembered) {
		t.Error("a version that was only lost was merged")
	}
	consented := lost.Consented(Consent{Token: NewToken("s0")}, w.now)
	if m := remembered.merge(consented); !m.Same(consented) {
		t.Error("a newer consent was merged with an earlier one")
	}
}

func TestAnAnswerIsKeptOnlyUnderTheConsentThatItWasPresentedFrom(t *testing.T) {
	w := startGrant(t, never)
	before := w.Grant.Consent
	late := w.Grant.Consented(Consent{Token: NewToken("s0")}, w.now) // lost for a while, and put back
	a := w.present("r0", false) + 100
	if _, kept := late.Keep(GrantAnswer{Fence: a, Parent: before, Consent: before, Token: NewToken("r1")}, w.now); kept {
		t.Error("an answer of the consent before was kept, because its attempt is newer")
	}
	if _, kept := late.Keep(GrantAnswer{Fence: a, Parent: late.Consent, Consent: late.Consent, Token: NewToken("s1")}, w.now); !kept {
		t.Error("an answer of the consent itself was not kept")
	}
}

func TestAnAnswerOfAConsentThatIsLostIsWhatIsLeftOfIt(t *testing.T) {
	w := startGrant(t, never)
	older := w.Grant
	w.wait(time.Hour)
	w.Grant = w.Consented(Consent{Token: NewToken("s0"), Idle: time.Hour}, w.now)
	consent := w.Grant.Consent
	w.fence = consent
	a := w.present("s0", false)
	w.wait(time.Minute)
	answer := GrantAnswer{Fence: a, Parent: consent, Consent: consent, Token: NewToken("s1"), Form: "form", Idle: 2 * time.Hour}
	for name, lost := range map[string]Grant{"the record is lost": {}, "the consent before is back": older} {
		g, kept := lost.Keep(answer, w.now)
		if !kept || g.Consent != consent || len(g.Tokens) != 1 || g.Tokens[0].Token.Reveal() != "s1" || g.Tokens[0].Form != "form" ||
			len(g.Presentations) != 0 || g.Idle != 2*time.Hour || !g.IdleUntil.Equal(w.now.Add(2*time.Hour)) {
			t.Errorf("%s: Keep() = %+v, %v", name, g, kept)
		}
		if g, kept = g.Keep(answer, w.now); kept {
			t.Errorf("%s: kept twice", name)
		}
		if m := w.Grant.merge(g); len(m.Presentations) != 0 || m.Newest() != a {
			t.Errorf("%s: together with what another process remembers there are %d marks and the newest token is %d's, want %d's", name, len(m.Presentations), m.Newest(), a)
		}
		if _, kept := lost.Keep(GrantAnswer{Fence: a, Parent: consent, Consent: consent}, w.now); kept {
			t.Errorf("%s: an answer without a token was kept", name)
		}
	}
}

func TestNothingOvertakesARequestThatMayStillBeSent(t *testing.T) {
	const sending = 3 * time.Second
	w := startGrant(t, window)
	consent := w.Grant.Consent
	w.present("r0", false) // its request is late
	b := w.present("r0", false)
	w.keep(b, consent, "r1")
	r := PresentRequest{Fence: b + 1, Now: w.now, For: lease, Rules: w.rules, Sending: sending}
	_, _, err := w.Present(r)
	var wait *GrantError
	if !errors.As(err, &wait) || wait.Condition != GrantPresented || wait.RetryIn != sending {
		t.Fatalf("Present() = %v, want to wait for %v", err, sending)
	}
	r.Now = w.now.Add(sending)
	if _, token, err := w.Present(r); err != nil || token.Token.Reveal() != "r1" {
		t.Errorf("Present() after that = %q, %v", token.Token.Reveal(), err)
	}
}

func TestARequestIsSentOnlyWhileTheWindowOfItsTokenIsOpen(t *testing.T) {
	const margin = 5 * time.Second
	for _, test := range []struct {
		name   string
		rules  GrantRules
		ahead  time.Duration // of the clock by which the first presentation was marked
		waits  []time.Duration
		bounds []time.Duration // for each presentation, from the first; 0: none
	}{
		{"again and again", window, 0, []time.Duration{4 * time.Minute, 5 * time.Minute}, []time.Duration{10*time.Minute - margin, 10*time.Minute - margin, 10*time.Minute - margin}},
		{"by a clock that is behind", window, ClockSlack, []time.Duration{0}, []time.Duration{10*time.Minute - margin, 10*time.Minute - margin - ClockSlack}},
		{"never, and the last resort", never, 0, []time.Duration{lease}, []time.Duration{0, 0}},
		{"a last resort", window, 0, []time.Duration{time.Hour}, []time.Duration{10*time.Minute - margin, 0}},
		{"never used up", free, 0, nil, []time.Duration{0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := startGrant(t, test.rules)
			first := w.now
			for i, bound := range test.bounds {
				if i > 0 {
					w.wait(test.waits[i-1])
				}
				probe := len(w.Presentations) > 0 && !w.inWindow(w.Tokens[0], w.rules, w.now)
				fence := w.present("r0", probe)
				var want time.Time
				if bound > 0 {
					want = first.Add(bound)
				}
				if before := w.sendBefore(fence, w.rules); !before.Equal(want) {
					t.Errorf("presentation %d is sent before %v, want %v", i, before, want)
				}
				if i == 0 {
					w.now = w.now.Add(-test.ahead)
				}
			}
		})
	}
}

func TestEachUseOfAGrantMovesItsIdleEnd(t *testing.T) {
	w := &grantWalk{T: t, rules: never, now: grantEpoch}
	w.Grant = w.Grant.Consented(Consent{Token: NewToken("r0"), Idle: time.Hour}, w.now)
	w.fence = w.Grant.Consent
	w.wait(50 * time.Minute)
	w.keep(w.present("r0", false), w.Grant.Consent, "r1")
	if want := w.now.Add(time.Hour); !w.IdleUntil.Equal(want) {
		t.Errorf("the idle end is %v, want %v", w.IdleUntil, want)
	}
	w.Grant = w.Consented(Consent{Token: NewToken("s0")}, w.now)
	if w.Idle != 0 || !w.IdleUntil.IsZero() {
		t.Errorf("a new consent keeps the idle time of the one before: %v, %v", w.Idle, w.IdleUntil)
	}
}

func TestATokenIsPresentedAgainBeforeItsWindowPassesWhateverTheIssuerAsksFor(t *testing.T) {
	for _, test := range []struct{ asked, left, least, most time.Duration }{
		{0, 10 * time.Minute, storeRetryFirst, 10 * time.Second},
		{0, 8 * time.Second, storeRetryFirst, 2 * time.Second},
		{10 * time.Second, time.Minute, 10 * time.Second, 10 * time.Second},
		{time.Minute, 24 * time.Second, 18 * time.Second, 18 * time.Second},
		{24 * time.Hour, 24 * time.Second, 18 * time.Second, 18 * time.Second},
		{time.Minute, 0, time.Minute, time.Minute}, // it has passed
		{0, -time.Second, 0, 0},
	} {
		if in := replayIn(test.asked, test.left, 1); in < test.least || in > test.most {
			t.Errorf("replayIn(%v, %v) = %v, want %v to %v", test.asked, test.left, in, test.least, test.most)
		}
	}
}
