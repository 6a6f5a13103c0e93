/*
 * Why a process refreshes, and what forged messages can make of that. In
 * refresh.pml a process refreshes whenever it likes; here only for a reason: the
 * schedule or a person, a message on `wanted`, or an attempt that is overdue by
 * what the process knows. That is what it read in the store, and what messages
 * told it since. spin tries every interleaving. README.md says how to run it and
 * what to make of it.
 *
 * Messages get lost and come late. Somebody who may publish sends, at any moment
 * and as often as he likes,
 *   - on `wanted` any generation, and a fence, which such a message does not have;
 *   - on `begun` any fence: of an attempt that is under way, of one that has
 *     ended, or one that is newer than any the store has handed out. (What is
 *     not credible is thrown away before it gets this far.)
 * A process reads the store whenever it likes, and always before it refreshes
 * because an attempt is overdue. The lock is never lost and nobody dies: that is
 * the business of refresh.pml.
 *
 * What must hold: each call to the source has a cause of its own. What the
 * schedule or a person asks for pays for one call, and so does each failure of a
 * call, each forged demand, and each forged attempt for each process that hears
 * of it. No call is made that nothing has paid for, and what is left over is
 * forfeited when nothing is due any more. So nothing here is a loop.
 *
 * Time is left out: what is overdue some day may be overdue at any moment. Also
 * left out are the limits, the brake and the back-off, which only ever prevent a
 * call. What messages tell of attempts that the store knows by now is not kept
 * here: it makes a process read the store, which it does anyway, and a reading
 * replaces it.
 *
 * Mutants, each of which must be found out:
 *   -DMUTANT_WANTED_FENCE   the fence of a message on `wanted` raises what is known
 *   -DMUTANT_NEVER_SETTLED  no commit settles what only messages told of
 *   -DMUTANT_ANY_DEMAND     a message on `wanted` may name a newer generation than is held
 */

#define REFRESHERS 2

#define FREE 255
#define me _pid
#define other (1 - _pid)

/* A fence is known by what it is to the store: of a former token or attempt, of
   the token that is stored, of the attempt that is under way (the lock is never
   lost, so there is no other), or forged, and newer than any that was handed out. */
#define NONE 0
#define PAST 1
#define CURRENT 2
#define UNDERWAY 3
#define NEWER 4

/* The store. */
byte lock = FREE;
bit busy;                 /* an attempt is under way */
bit overdue;              /* attempts whose outcome nobody knows are open; one has the effect of many */
bit settles;              /* there were some at the begin of the one under way */

/* An attempt that a process thinks open: nothing, not overdue yet, overdue. */
#define UNKNOWN 0
#define OPEN 1
#define OVERDUE 2

/* What each process knows. */
byte held[REFRESHERS] = CURRENT; /* its token's generation */
byte demand[REFRESHERS];   /* a generation that somebody wants replaced */
byte saw[REFRESHERS];      /* the oldest attempt that was open when it read the store */
byte heard[REFRESHERS];    /* the attempt NEWER, of which only messages told */
byte begun[REFRESHERS];    /* the attempt that began last, as far as it knows */
bit lists[REFRESHERS];     /* NEWER was overdue then: that one's token settles it */
#ifdef MUTANT_WANTED_FENCE
bit raised[REFRESHERS];    /* a reading does not replace what is known any more */
#define RAISED raised[me]
#else
#define RAISED 0
#endif

/* A message on its way to each. */
mtype = { none, begins, refreshed, wanted };
mtype kind[REFRESHERS] = none;
byte about[REFRESHERS];

/* Calls that are paid for. */
byte credit;
#define MOST 3

/* The attempt under way ends, with a token or without. */
#define STORED(f) f = (f == CURRENT -> PAST : (f == UNDERWAY -> CURRENT : f))
#define FAILED(f) f = (f == UNDERWAY -> PAST : f)
#define EACH_FENCE(body) body(held[0]); body(held[1]); body(demand[0]); body(demand[1]); \
	body(begun[0]); body(begun[1]); body(about[0]); body(about[1])

/* Nothing is due any more, and nothing is known or on its way that could be. */
#define QUIET(p) (demand[p] == NONE && heard[p] == UNKNOWN && kind[p] == none)
#define FORGET_BEGUN(p) begun[p] = (lists[p] -> begun[p] : NONE)
inline tidy() {
	if
	:: !busy && !overdue && QUIET(0) && QUIET(1) -> credit = 0
	:: else -> skip
	fi;
	FORGET_BEGUN(0);
	FORGET_BEGUN(1)
}

/* A message gets to a process, or gets lost. */
#define SEND(p, k, f) if :: kind[p] == none -> kind[p] = k; about[p] = f :: skip fi

inline install() {
	held[me] = CURRENT;
	demand[me] = (demand[me] == CURRENT -> CURRENT : NONE)
}

/* A reading replaces what an earlier one showed. */
inline read() {
	install();
	if
	:: RAISED && saw[me] != UNKNOWN -> skip
	:: else -> saw[me] = (busy -> OPEN : UNKNOWN)
	fi;
	saw[me] = (overdue -> OVERDUE : saw[me])
}

/* An attempt begins: what is overdue now will be settled by its token. */
inline hear_begin(f) {
	lists[me] = (heard[me] == OVERDUE);
	begun[me] = f
}

/* A token is stored. */
inline hear_commit(f) {
	if
	:: begun[me] == f -> /* of the past there may be two */
#ifndef MUTANT_NEVER_SETTLED
		heard[me] = (lists[me] -> UNKNOWN : heard[me]);
#endif
		lists[me] = 0
	:: begun[me] != f || f == PAST -> skip
	fi
}

inline hear() {
	if
	:: kind[me] == begins ->
		hear_begin(about[me]);
		if
		:: about[me] == NEWER -> heard[me] = OPEN; lists[me] = 0
		:: else -> skip
		fi
	:: kind[me] == refreshed ->
		hear_commit(about[me]);
		if
		:: about[me] == CURRENT -> install()
		:: else -> skip
		fi
	:: kind[me] == wanted ->
#ifdef MUTANT_ANY_DEMAND
		demand[me] = about[me]
#else
		demand[me] = (about[me] == held[me] -> about[me] : demand[me])
#endif
#ifdef MUTANT_WANTED_FENCE
		; raised[me] = 1
#endif
	fi;
	kind[me] = none;
	about[me] = NONE
}

inline end() {
	demand[me] = NONE;
	busy = 0;
	settles = 0;
	lock = FREE;
	tidy()
}

active [REFRESHERS] proctype refresher() {
idle:
	do
	:: d_step { read(); tidy() }
	:: d_step { kind[me] != none -> hear(); tidy() }
	:: d_step { saw[me] == OPEN -> saw[me] = OVERDUE } /* deadlines pass */
	:: d_step { heard[me] == OPEN -> heard[me] = OVERDUE }
	:: d_step { demand[me] == NONE && credit < MOST -> demand[me] = held[me]; credit++ } /* the schedule, or a person */
	:: atomic { demand[me] != NONE && lock == FREE -> lock = me; break }
	:: atomic {
		(saw[me] == OVERDUE || heard[me] == OVERDUE) && lock == FREE ->
		d_step { read(); tidy() };
		if
		:: saw[me] == OVERDUE || heard[me] == OVERDUE -> lock = me; break
		:: else -> skip
		fi
	}
	od;
	if
	:: d_step { held[me] == PAST -> read(); lock = FREE; tidy() }; goto idle /* somebody did it */
	:: atomic {
		held[me] == CURRENT ->
		d_step {
			busy = 1;
			settles = overdue;
			hear_begin(UNDERWAY);
			assert(credit > 0); /* the call has been paid for */
			credit--;
			tidy()
		};
		SEND(other, begins, UNDERWAY)
	}
	fi;
	if
	:: atomic { /* a new token */
		SEND(other, refreshed, UNDERWAY);
		d_step {
			overdue = overdue && !settles;
			hear_commit(UNDERWAY);
			EACH_FENCE(STORED);
			held[me] = CURRENT;
			end()
		}
	}
	:: d_step { credit < MOST -> credit++; EACH_FENCE(FAILED); end() } /* surely none */
	:: d_step { credit + 2 <= MOST -> credit = credit + 2; overdue = 1; EACH_FENCE(FAILED); end(); read(); tidy() } /* nobody knows */
	fi;
	goto idle
}

/* Forged messages: about any fence in use, or one that is newer than all. */
active proctype forger() {
	byte f;
	do
	:: atomic {
		if
		:: f = NEWER
		:: busy -> f = UNDERWAY
		:: f = CURRENT
		:: f = PAST
		fi;
		if
		:: f == NEWER -> SEND(0, wanted, f); SEND(1, wanted, f)
		:: f != NEWER && credit < MOST -> credit++; SEND(0, wanted, f); SEND(1, wanted, f)
		:: f != NEWER -> SEND(0, begins, f); SEND(1, begins, f)
		:: f == NEWER && credit + REFRESHERS <= MOST -> credit = credit + REFRESHERS; SEND(0, begins, f); SEND(1, begins, f)
		:: else -> skip
		fi;
		d_step { f = NONE; tidy() }
	}
	od
}
