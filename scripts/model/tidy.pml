/*
 * Part of refresh.pml: what makes its states finitely many. Numbers in use are
 * renamed and given up so that only their order and their sets are left.
 */

/* Variables of tidy. */
hidden byte i, j, p;
hidden short held, named, below, flip;

#define EACH(x, from, to, body) x = from; do :: x <= to -> body; x++ :: else -> break od
#define EACH_PROCESS(body) EACH(p, 0, REFRESHERS - 1, body)
#define EACH_SET(body) body(open); body(overdue); body(flying); body(answered); body(old); body(named); EACH_PROCESS(body(settles[p]))
#define EACH_NAME(body) body(generation); body(last); body(issued_last); EACH_PROCESS(body(fence[p]); body(seen[p]))

/* An attempt of a dead process, and what sets it is in. */
#define ORPHAN(f) ((open | flying) & ~named & BIT(f))
#define IN(set, f) ((set >> (f)) & 1)
#define KIND2(f) (IN(open, f) + 2 * IN(overdue, f) + 4 * IN(flying, f) + 8 * IN(old, f) + 16 * IN(settles[0], f) + 32 * IN(settles[1], f))
#if REFRESHERS == 2
#define KIND(f) KIND2(f)
#else
#define KIND(f) (KIND2(f) + 64 * IN(settles[2], f))
#endif

/* Number i is removed; those above it step down. */
#define CLOSE_GAP(set) set = (set & below) | ((set >> 1) & ~below)
#define STEP_DOWN(f) f = (f > i && f < BEYOND -> f - 1 : f)
#define DROP below = BIT(i) - 1; EACH_SET(CLOSE_GAP); EACH_NAME(STEP_DOWN); top--; clock = (clock >= i -> clock - 1 : clock)

/* Those from i on step up; i is a new number. */
#define OPEN_GAP(set) set = (set & below) | ((set & ~below) << 1)
#define STEP_UP(f) f = (f >= i && f < BEYOND -> f + 1 : f)
#define INSERT assert(top < NUMBERS); below = BIT(i) - 1; EACH_SET(OPEN_GAP); EACH_NAME(STEP_UP); top++; clock = (clock >= i -> clock + 1 : clock)

/* Numbers j and j+1 change places. */
#define SWAP_BITS(set) flip = IN(set, j) ^ IN(set, j + 1); set = set ^ ((flip << j) | (flip << (j + 1)))
#define SWAP_NAME(f) f = (f == j -> j + 1 : (f == j + 1 -> j : f))

#define NAMED(f) named = named | (f > NONE && f < BEYOND -> BIT(f) : 0)

/*
 * tidy makes states equal that differ only in their past. That makes the search
 * finite without a bound on the length of a run. Fences are only compared and
 * looked up in sets, so that
 *   - a number without a reference is removed, and those above it step down by
 *     one;
 *   - the order of fences does not matter among the attempts of dead processes,
 *     which will not be committed;
 *   - of two such attempts that are alike in every set, one is removed. (They
 *     can only be settled, and only matter while they are open; in a run that
 *     ends with both settled, the one that issued first can be left out without
 *     a change to how it ends.)
 */
inline tidy() {
#ifdef TIME_FLIES
	clock = top;
#endif
	held = 0;
	EACH_PROCESS(held = held | (fence[p] != NONE -> BIT(fence[p]) : 0));
	if
	:: issued_last != generation && issued_last != LOST && !(held & BIT(issued_last)) -> issued_last = LOST
	:: else -> skip
	fi;
	answered = answered & held;
	old = old & (held | flying);
	/* The last fence matters where it is ahead of the clock, or supersedes. */
	if
	:: last <= clock && !(held & (BIT(last) - 1)) -> last = NONE
	:: else -> skip
	fi;
	named = held;
	NAMED(generation);
	NAMED(last);
	EACH_PROCESS(
		seen[p] = (seen[p] > clock -> seen[p] : (seen[p] >= CREDIBLE(generation) -> CREDIBLE(generation) : NONE));
		NAMED(seen[p]);
		settles[p] = settles[p] & (open | held)
	);
	i = 1;
	do
	:: i <= top ->
		if
		:: !((open | flying | named) & BIT(i)) -> DROP
		:: else -> i++
		fi
	:: else -> break
	od;
	if
	:: (open | flying) & ~named -> tidy_orphans()
	:: else -> skip
	fi;
	i = 0; j = 0; p = 0; held = 0; named = 0; below = 0; flip = 0
}

/* The attempts of dead processes come first, those that are alike together. */
inline tidy_orphans() {
	EACH(i, 2, top,
		EACH(j, 1, top + 1 - i,
			if
			:: ORPHAN((j + 1)) && (!ORPHAN(j) || KIND(j) > KIND((j + 1))) ->
				EACH_SET(SWAP_BITS);
				EACH_NAME(SWAP_NAME);
				clock = (clock == j -> j + 1 : clock)
			:: else -> skip
			fi
		)
	);
	i = 1;
	do
	:: i <= top && ORPHAN(i) ->
		if
		:: i < top && ORPHAN((i + 1)) && KIND(i) == KIND((i + 1)) -> DROP
		:: else -> clock = (clock < i -> i : clock); i++
		fi
	:: else -> break
	od
}
