/*
 * The refresh of one account's token by several processes, as package
 * coordinator and its stores do it: lock, begin, fetch, commit or fail, unlock.
 * spin tries every interleaving. README.md explains how to run it and what it
 * shows.
 *
 * REFRESHERS processes refresh at any time: on schedule, forced, because an
 * attempt is overdue. The model requires no reason, so every reason is covered
 * (due.pml requires one). At any moment
 *   - a process dies; a new one takes its place;
 *   - a process is paused for any time (which is an interleaving);
 *   - the lock is lost, whichever process holds it;
 *   - a request to the issuer is lost, or its answer is;
 *   - the reply of a commit is lost, and the process repeats it;
 *   - with -DFORGED_MESSAGES, a process learns of a generation newer than any;
 *   - with -DFORGED_WRITES, an attacker writes a generation or a last fence to
 *     the store: none, one that is not credible, or one newer than any.
 *     -DANY_WRITE adds every number in use, and deletes the attempts.
 * It is not bounded how often this happens: see tidy.
 *
 * What must hold:
 *   1. A quiet store, one without an open attempt, holds the token that the
 *      issuer issued last. (This is more than the protocol promises, which says
 *      so only while no process holds the lock or is between issue and settling.)
 *      After a forged write it need not hold until a refresh has ended that began
 *      when every attempt had ended that was open at the time of the write.
 *   2. The stored generation never goes back, unless it was not credible.
 *   3. The fence that begin hands out is credible.
 *   4. Whatever was written before: if a process reads the store, begins and
 *      commits, and no other process writes meanwhile, its token is stored.
 *
 * Time is left out: an attempt becomes overdue at any moment after its begin.
 * The model assumes, as the protocol requires, that a call to the issuer happens
 * within its attempt's deadline: a process sends no request after it, and a
 * request that has not reached the issuer by then never will. No network
 * guarantees the latter. The coordinator documents that it does not promise this,
 * and Invalidate corrects it. With -DLATE_REQUESTS, which removes the assumption,
 * spin finds the counterexample.
 *
 * The clock is modelled as far as this: a forged number may be ahead of it and
 * still credible. The next number that begin hands out is above it or, if the
 * attacker sets it back, above the clock and below it. With -DTIME_FLIES such a
 * number is in the past at once, otherwise at any later moment.
 *
 * Also left out are the loss of the store's data, and limits and back-off, which
 * only prevent refreshes.
 *
 * Mutants, each of which must be detected:
 *   -DMUTANT_NO_FENCE          commit ignores newer fences
 *   -DMUTANT_SETTLE_ALL        commit settles every open attempt
 *   -DMUTANT_REVIVE            extend moves the deadline of an overdue attempt
 *   -DMUTANT_SEEN_CHOOSES      begin hands out a fence above any number that is to be replaced
 *   -DMUTANT_FENCE_BINDS       a last fence that is not credible counts
 *   -DMUTANT_GENERATION_BINDS  a generation that is not credible counts
 */

#ifndef REFRESHERS
#define REFRESHERS 2
#endif

/* Numbers in use at one time. An assertion checks that this is enough. */
#define NUMBERS 14

#define FREE 255
#define NONE 0
#define LOST 255
#define BEYOND 254 /* a number that is not credible */
#define BIT(f) (1 << (f))
#define me _pid

/* A number that is not credible counts as none. */
#define CREDIBLE(n) (n == BEYOND -> NONE : n)
#ifdef MUTANT_GENERATION_BINDS
#define GENERATION generation
#else
#define GENERATION CREDIBLE(generation)
#endif
#ifdef MUTANT_FENCE_BINDS
#define LAST last
#else
#define LAST CREDIBLE(last)
#endif
#ifdef MUTANT_SEEN_CHOOSES
#define SEEN seen[me]
#else
#define SEEN CREDIBLE(seen[me])
#endif
#define MAX(a, b) (a > b -> a : b)

/* The store. Sets of fences are bit masks. */
byte lock = FREE;      /* who holds the lock */
byte generation;       /* the fence of the token that is stored */
byte last;             /* the fence handed out last */
short open;            /* attempts that are not settled */
short overdue;         /* those of them whose deadline has passed */

/* The issuer. */
short flying;          /* attempts whose request is on its way to it */
short answered;        /* attempts that got a token, until a process reads the answer */
byte issued_last;      /* the attempt whose token was issued last; LOST: one that no process can store */

/* What each process knows. */
byte fence[REFRESHERS];    /* its attempt */
byte seen[REFRESHERS];     /* the generation it wants replaced */
short settles[REFRESHERS]; /* what was overdue at its begin */

/* The numbers in use are 1 to top, in their order; those above clock are ahead of
   the store's. Their values are not kept. */
byte top;
byte clock;

/* What a forged write excuses, and what it does not. */
bit tainted;               /* there was a forged write and no refresh since that repairs it */
short old;                 /* attempts that were under way at the last forged write */
bit clean[REFRESHERS];     /* its attempt began when none of those were left */
bit alone[REFRESHERS];     /* no other process has written since its last step there */

#include "tidy.pml"

/* The operations of the store. Each is one atomic script. */

inline begin() {
	d_step {
		if
		:: GENERATION > SEEN -> /* another process has refreshed */
			assert(!alone[me]);
			forget()
		:: else ->
			i = MAX(LAST, GENERATION);
			i = MAX(i, SEEN);
			i = MAX(i, clock);
			assert(i < BEYOND); /* no input makes the fence not credible */
			i++; /* the next one, or the clock's */
			INSERT;
			clock = (clock + 1 == i -> i : clock);
			fence[me] = i;
			last = i;
			seen[me] = NONE;
			settles[me] = overdue;
			open = open | BIT(i);
			written();
			clean[me] = tainted && old == 0
		fi;
		tidy()
	}
}

/* A process has written to the store. */
inline written() {
	EACH_PROCESS(alone[p] = (p == me))
}

inline commit() {
	d_step {
		if
		:: generation == fence[me] -> skip /* carried out before */
#ifndef MUTANT_NO_FENCE
		:: generation != fence[me] && (LAST > fence[me] || GENERATION > fence[me]) ->
			/* Superseded: it is unknown which token was issued last. */
			assert(!alone[me]);
			open = open | BIT(fence[me]);
			overdue = overdue | BIT(fence[me])
#endif
		:: else ->
			assert(fence[me] > CREDIBLE(generation)); /* it never goes back */
			generation = fence[me];
			last = fence[me];
#ifdef MUTANT_SETTLE_ALL
			open = 0;
#else
			open = open & ~(BIT(fence[me]) | settles[me]);
#endif
			overdue = overdue & open;
			written();
			if
			:: clean[me] -> tainted = 0; old = 0; EACH_PROCESS(clean[p] = 0)
			:: else -> skip
			fi
		fi;
		tidy()
	}
}

inline fail_surely() {
	d_step {
		open = open & ~BIT(fence[me]);
		overdue = overdue & open;
		forget();
		tidy()
	}
}

inline fail_unknown() {
	d_step {
		open = open | BIT(fence[me]);
		overdue = overdue | BIT(fence[me]);
		too_late(fence[me]);
		forget();
		tidy()
	}
}

inline unlock() {
	d_step {
		if
		:: lock == me -> lock = FREE
		:: else -> skip
		fi;
		forget();
		tidy()
	}
}

/* What comes next is a fresh process, which knows nothing. The lock of a dead
   one stays until it is lost, its attempt until it is overdue and settled; its
   request flies on. */
#define OR_DIES :: d_step { forget(); tidy() }; goto fresh

inline forget() {
	fence[me] = NONE;
	seen[me] = NONE;
	settles[me] = 0;
	clean[me] = 0;
	alone[me] = 0
}

/* The real Extend moves a deadline that has not passed, which is nothing where
   there is no time. This one moves a deadline that has, though a successor may
   count on it. */
inline revive() {
	d_step {
		if
		:: lock == me -> overdue = overdue & ~BIT(fence[me])
		:: else -> skip
		fi
	}
}

/* What becomes of a request that has not reached the issuer in time. */
inline too_late(f) {
#ifndef LATE_REQUESTS
	flying = flying & ~BIT(f)
#else
	skip
#endif
}

/*
 * A process that has the account's source. Each option is one step; what takes
 * no step of its own could not be told from its having come earlier or later.
 * (A process that dies with an answer unread is like one that dies before the
 * answer comes, or like one that is paused.)
 */
active [REFRESHERS] proctype refresher() {
fresh:
	if
	:: d_step { seen[me] = CREDIBLE(generation); alone[me] = 1 }
#ifdef FORGED_MESSAGES
	:: d_step { clock == top -> /* a message says that there is a generation newer than any */
#ifdef MUTANT_SEEN_CHOOSES
		seen[me] = BEYOND;
#else
		i = top + 1;
		INSERT;
		seen[me] = i;
#endif
		alone[me] = 1;
		tidy()
	}
#endif
	fi;
	atomic { lock == FREE -> lock = me };
	if
	:: atomic {
		begin();
		if
		:: fence[me] == NONE -> goto leave /* take the token that is there */
		:: else -> skip
		fi
	}
	OR_DIES
	fi;
fetch:
	if
	:: atomic { /* within the deadline, by the process' own clock */
		open & ~overdue & BIT(fence[me]) -> flying = flying | BIT(fence[me])
	}
	:: fail_surely(); goto leave /* no connection, or too late to send */
#ifdef MUTANT_REVIVE
	:: revive(); goto fetch
#endif
	OR_DIES
	fi;
	if
	:: atomic { answered & BIT(fence[me]) -> commit() }
	:: atomic { flying & BIT(fence[me]) -> flying = flying & ~BIT(fence[me]); goto refused } /* an error */
	:: fail_unknown(); goto leave /* timeout, reset, garbage: issued or not */
	OR_DIES
	fi;
stored:
	if
	:: unlock(); goto fresh
	:: commit(); goto stored /* the answer got lost: once more */
	OR_DIES
	fi;
refused:
	if
	:: fail_surely()
	OR_DIES
	fi;
leave:
	if
	:: unlock(); goto fresh
	OR_DIES
	fi
}

#define IS(set, n) :: (set) & BIT(n) -> f = n
#define ANY_OF(set) if \
	IS(set, 1) IS(set, 2) IS(set, 3) IS(set, 4) IS(set, 5) IS(set, 6) IS(set, 7) \
	IS(set, 8) IS(set, 9) IS(set, 10) IS(set, 11) IS(set, 12) IS(set, 13) IS(set, 14) \
	fi

#ifdef ANY_WRITE
#define ONE_IN_USE :: top > 0 -> f = 1; do :: f < top -> f++ :: break od
#else
#define ONE_IN_USE
#endif
/* No number, one that is not credible, one newer than all others. */
#define A_NUMBER if \
	:: f = NONE \
	:: f = BEYOND \
	:: d_step { clock == top -> f = top + 1; i = f; INSERT } \
	ONE_IN_USE \
	fi

/* An attacker has written to the store. */
inline forge() {
	f = NONE;
	tainted = 1;
	old = flying;
	EACH_PROCESS(
		old = old | (fence[p] != NONE -> BIT(fence[p]) : 0);
		clean[p] = 0;
		alone[p] = 0
	);
	tidy()
}

/* The issuer, the network and time. */
active proctype world() {
	byte f;
	do
	:: atomic { /* the issuer answers a request with a new token */
		ANY_OF(flying);
		d_step {
			flying = flying & ~BIT(f);
			answered = answered | BIT(f);
			issued_last = f;
			f = NONE;
			tidy()
		}
	}
	:: atomic { /* a deadline passes */
		ANY_OF(flying | (open & ~overdue));
		d_step {
			overdue = overdue | (open & BIT(f));
			too_late(f);
			f = NONE;
			tidy()
		}
	}
	:: d_step { lock != FREE -> lock = FREE } /* it ends, or is lost */
	:: assert(tainted || open != 0 || generation == issued_last) /* quiet: the last token */
#ifdef FORGED_WRITES
	:: atomic { A_NUMBER; skip; d_step { generation = f; forge() } }
	:: atomic { A_NUMBER; skip; d_step { last = f; forge() } }
#ifdef ANY_WRITE
	:: d_step { open != 0 -> open = 0; overdue = 0; forge() }
#endif
#endif
	:: d_step { clock < top -> clock = top; tidy() } /* time passes */
	od
}
