/*
 * The reasons of a refresh, and the effect of forged messages on them. In
 * refresh.pml a process refreshes at any time, here only for a reason: the
 * schedule, an operator, a message on `wanted`, or an attempt that is overdue by
 * what the process knows, from the store and from messages since. spin tries every
 * interleaving. README.md explains how to run it and what it shows.
 *
 * Messages are lost and come late. An attacker with the right to publish sends, at
 * any moment and any number of times,
 *   - on `wanted` any generation, and a fence, which such a message does not have;
 *   - on `begun` any fence: that of an open attempt, of one that has ended, or one
 *     that is newer than any that the store has handed out. (A message with a fence
 *     that is not credible is dropped before.)
 * A process reads the store at any time. What it has read may be over by the time it
 * has the lock: begin looks whether an attempt is overdue still. The lock is never
 * lost and no process dies: refresh.pml covers that.
 *
 * What must hold: each call to the source has its own cause. The schedule and an
 * operator add one call to the credit, and so do each failure of a call, each
 * forged demand, and each forged attempt for each process that receives it. No call
 * is made without credit, and the credit is reset when no refresh is due any more.
 * So there is no loop.
 *
 * Time is left out: an attempt may become overdue at any moment. Also left out are
 * the limits, the brake and the back-off, which only prevent calls. Messages about
 * attempts that the store knows already are not modelled: they make a process read
 * the store, which it does anyway, and the read replaces them.
 *
 * Mutants, each of which must be detected:
 *   -DMUTANT_WANTED_FENCE   the fence of a message on `wanted` raises the known fence
 *   -DMUTANT_NEVER_SETTLED  no commit settles what is known only from messages
 *   -DMUTANT_ANY_DEMAND     a message on `wanted` may name a newer generation than the process has
 *   -DMUTANT_OVER           begin does not look whether an attempt is overdue still
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
bit overdue;              /* attempts with an unknown outcome are open; one has the same effect as many */
bit settles;              /* there were some at the begin of the one under way */

/* An attempt that a process thinks open: nothing, not overdue yet, overdue. */
#define UNKNOWN 0
#define OPEN 1
#define OVERDUE 2

/* What each process knows. */
byte held[REFRESHERS] = CURRENT; /* its token's generation */
byte demand[REFRESHERS];   /* a generation whose replacement was demanded */
byte saw[REFRESHERS];      /* the oldest attempt that was open when it read the store */
byte heard[REFRESHERS];    /* the attempt NEWER, of which only messages told */
byte begun[REFRESHERS];    /* the attempt that began last, as far as it knows */
bit lists[REFRESHERS];     /* NEWER was overdue then: that one's token settles it */
#ifdef MUTANT_WANTED_FENCE
bit raised[REFRESHERS];    /* a read no longer replaces what is known */
#define RAISED raised[me]
#else
#define RAISED 0
#endif

/* A message on its way to each. */
mtype = { none, begins, refreshed, wanted };
mtype kind[REFRESHERS] = none;
byte about[REFRESHERS];

/* The credit of calls. */
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

/* By the store no attempt is overdue any more. It does not know NEWER, so it cannot tell of
   that, nor of what a process has read with a fence that is raised. */
#ifdef MUTANT_OVER
#define OVER 0
#else
#define OVER (demand[me] == NONE && !overdue && heard[me] != OVERDUE && !RAISED)
#endif

/* A message reaches a process, or is lost. */
#define SEND(p, k, f) if :: kind[p] == none -> kind[p] = k; about[p] = f :: skip fi

inline install() {
	held[me] = CURRENT;
	demand[me] = (demand[me] == CURRENT -> CURRENT : NONE)
}

/* A read replaces the result of an earlier one. */
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
	:: begun[me] == f -> /* PAST may stand for two */
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
	:: d_step { demand[me] == NONE && credit < MOST -> demand[me] = held[me]; credit++ } /* the schedule, or an operator */
	:: atomic { (demand[me] != NONE || saw[me] == OVERDUE || heard[me] == OVERDUE) && lock == FREE -> lock = me; break }
	od;
	if
	/* another process has refreshed, or settled what was overdue */
	:: d_step { held[me] == PAST || OVER -> read(); lock = FREE; tidy() }; goto idle
	:: atomic {
		held[me] == CURRENT && !OVER ->
		d_step {
			busy = 1;
			settles = overdue;
			hear_begin(UNDERWAY);
			assert(credit > 0); /* there is credit for the call */
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
	:: d_step { credit < MOST -> credit++; EACH_FENCE(FAILED); end() } /* nothing was issued */
	:: d_step { credit + 2 <= MOST -> credit = credit + 2; overdue = 1; EACH_FENCE(FAILED); end(); read(); tidy() } /* unknown */
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
