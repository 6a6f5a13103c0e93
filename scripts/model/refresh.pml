/*
 * The refresh of one account's token by several processes, as package
 * coordinator and its stores do it: lock, begin, fetch, commit or fail, unlock.
 * spin tries every interleaving. README.md says how to run it and what to make
 * of it.
 *
 * REFRESHERS processes refresh whenever they like: on schedule, forced, because
 * an attempt is overdue. The model asks for no reason, so every reason is
 * covered. At any moment
 *   - a process dies; a fresh one takes its place;
 *   - a process is paused for any time (that is what interleaving means);
 *   - the lock is lost, whoever holds it;
 *   - a request to the issuer gets lost, or its answer does;
 *   - the answer of a commit gets lost, and the process repeats it.
 * There is no bound on how often any of this happens: see tidy.
 *
 * What must hold:
 *   1. A quiet store, one without an open attempt, holds the token that the
 *      issuer issued last. (This is more than the protocol promises, which says
 *      so only while nobody holds the lock or is between issue and settling.)
 *   2. The stored generation never goes back.
 *
 * Time is left out: an attempt becomes overdue at any moment after its begin.
 * But the model assumes what the protocol asks for, that a call to the issuer
 * happens within its attempt's deadline: a process sends nothing once it has
 * passed, and a request that has not reached the issuer by then never will. The
 * second half cannot be had from a network. It is the documented non-promise,
 * and Invalidate heals it; with -DLATE_REQUESTS, which takes the assumption
 * out, spin finds the counterexample.
 *
 * Also left out are the loss of the store's data, and limits and back-off, which
 * only ever prevent a refresh.
 *
 * Mutants, each of which must be found out:
 *   -DMUTANT_NO_FENCE    commit stores whatever comes
 *   -DMUTANT_SETTLE_ALL  commit settles every open attempt
 *   -DMUTANT_REVIVE      extend moves the deadline of an overdue attempt
 */

#ifndef REFRESHERS
#define REFRESHERS 2
#endif

/* Fences that matter at one time. Whether that is enough is asserted. */
#define FENCES 14

#define FREE 255
#define NONE 0
#define LOST 255
#define BIT(f) (1 << (f))
#define me _pid

/* The store. Sets of fences are bit masks. */
byte lock = FREE;      /* who holds the lock */
byte generation;       /* the fence of the token that is stored */
byte newest;           /* the fence handed out last */
short open;            /* attempts that nobody has settled */
short overdue;         /* those of them whose deadline has passed */

/* The issuer. */
short flying;          /* attempts whose request is on its way to it */
short answered;        /* attempts that got a token, until somebody reads that */
byte issued_last;      /* the attempt whose token was issued last; LOST: one that nobody can store */

/* What each process knows. */
byte fence[REFRESHERS];    /* its attempt */
byte seen[REFRESHERS];     /* the generation it wants replaced */
short settles[REFRESHERS]; /* what was overdue at its begin */

/* Variables of tidy. */
hidden byte i, j, p;
hidden short held, below, flip;

#define EACH(x, from, to, body) x = from; do :: x <= to -> body; x++ :: else -> break od
#define EACH_PROCESS(body) EACH(p, 0, REFRESHERS - 1, body)
#define EACH_SET(body) body(open); body(overdue); body(flying); body(answered); EACH_PROCESS(body(settles[p]))
#define EACH_NAME(body) body(generation); body(newest); body(issued_last); EACH_PROCESS(body(fence[p]); body(seen[p]))

/* An open attempt of a dead process, and what sets it is in. */
#define ORPHAN(f) ((open & ~held & BIT(f)) && f != generation && f != newest)
#define IN(set, f) ((set >> (f)) & 1)
#if REFRESHERS == 2
#define KIND(f) (IN(overdue, f) + 2 * IN(flying, f) + 4 * IN(settles[0], f) + 8 * IN(settles[1], f))
#else
#define KIND(f) (IN(overdue, f) + 2 * IN(flying, f) + 4 * IN(settles[0], f) + 8 * IN(settles[1], f) + 16 * IN(settles[2], f))
#endif

/* Fence i is no more; those above it step down. */
#define CLOSE_GAP(set) set = (set & below) | ((set >> 1) & ~below)
#define STEP_DOWN(f) f = (f > i && f != LOST -> f - 1 : f)
#define DROP below = BIT(i) - 1; EACH_SET(CLOSE_GAP); EACH_NAME(STEP_DOWN)

/* Fences j and j+1 change places. */
#define SWAP_BITS(set) flip = IN(set, j) ^ IN(set, j + 1); set = set ^ ((flip << j) | (flip << (j + 1)))
#define SWAP_NAME(f) f = (f == j -> j + 1 : (f == j + 1 -> j : f))

/*
 * tidy makes states equal that differ only in their past. That makes the search
 * finite without a bound on the length of a run. Fences are only compared and
 * looked up in sets, so that
 *   - a fence nobody refers to any more is given up, and those above it step
 *     down by one;
 *   - the order of fences does not matter among the attempts of dead processes,
 *     which nobody will commit;
 *   - of two such attempts that are alike in every set, one is given up. (They
 *     can only be settled, and only matter while they are open; in a run that
 *     ends with both settled, the one that issued first can be left out without
 *     a change to how it ends.)
 */
inline tidy() {
	held = 0;
	EACH_PROCESS(held = held | BIT(fence[p]));
	if
	:: issued_last != generation && issued_last != LOST && !(held & BIT(issued_last)) -> issued_last = LOST
	:: else -> skip
	fi;
	answered = answered & held;
	EACH_PROCESS(
		seen[p] = (seen[p] == generation -> generation : NONE);
		settles[p] = settles[p] & (open | held)
	);
	i = 1;
	do
	:: i < newest ->
		if
		:: i != generation && !((open | held | flying) & BIT(i)) -> DROP; held = (held & below) | ((held >> 1) & ~below)
		:: else -> i++
		fi
	:: else -> break
	od;
	EACH(i, 2, newest,
		EACH(j, 1, newest - i,
			if
			:: ORPHAN((j + 1)) && (!ORPHAN(j) || KIND(j) > KIND((j + 1))) ->
				EACH_SET(SWAP_BITS);
				SWAP_BITS(held);
				EACH_NAME(SWAP_NAME)
			:: else -> skip
			fi
		)
	);
	i = 1;
	do
	:: i + 1 < newest && ORPHAN(i) && ORPHAN((i + 1)) ->
		if
		:: KIND(i) == KIND((i + 1)) -> DROP; held = (held & below) | ((held >> 1) & ~below)
		:: else -> i++
		fi
	:: else -> break
	od;
	i = 0; j = 0; p = 0; held = 0; below = 0; flip = 0
}

/* The operations of the store. Each is one atomic script. */

inline begin() {
	d_step {
		if
		:: generation > seen[me] -> forget() /* somebody did it */
		:: else ->
			assert(newest < FENCES);
			newest++;
			fence[me] = newest;
			settles[me] = overdue;
			open = open | BIT(newest)
		fi;
		tidy()
	}
}

inline commit() {
	d_step {
		if
		:: generation == fence[me] -> skip /* carried out before */
#ifndef MUTANT_NO_FENCE
		:: generation != fence[me] && newest > fence[me] ->
			/* Superseded: nobody knows whose token was issued last. */
			open = open | BIT(fence[me]);
			overdue = overdue | BIT(fence[me])
#endif
		:: else ->
			assert(fence[me] > generation); /* it never goes back */
			generation = fence[me];
#ifdef MUTANT_SETTLE_ALL
			open = 0;
#else
			open = open & ~(BIT(fence[me]) | settles[me]);
#endif
			overdue = overdue & open
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
	settles[me] = 0
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
	seen[me] = generation;
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
		ANY_OF(open & ~overdue);
		d_step {
			overdue = overdue | BIT(f);
			too_late(f);
			f = NONE;
			tidy()
		}
	}
	:: d_step { lock != FREE -> lock = FREE } /* it ends, or is lost */
	:: assert(open != 0 || generation == issued_last) /* quiet: the last token */
	od
}
