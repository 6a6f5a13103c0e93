/*
 * Part of grants.pml: the rules of the record, and the operations of the store that
 * use them. In the code they are functions of the record (coordinator/grantrules.go);
 * the store compares and sets, so that each is one step here.
 */

#ifdef WINDOW
#define ACCEPTED (unspent | (killed -> 0 : used & ~closed))
#else
#define ACCEPTED unspent
#endif

/* the greatest in a set */
#define TOP(to, set) to = NONE; EACH_FENCE(z, to = (IN(set, z) -> z : to))
/* the tokens that some attempts present */
#define PRESENTED(to, set) to = 0; EACH_FENCE(z, to = to | (IN(set, z) -> BIT(parent[z]) : 0))

/* b: what a step does not let go of. */
#define IN_STORE(step) VALUES(y, tokens[STORE]); good = y & ACCEPTED; step; VALUES(y, tokens[STORE]); assert(!good || (y & ACCEPTED))
#define ALL (tokens[STORE] | tokens[2] | tokens[LAST_RECORD] | SPOOLS)
#define IN_HAND(step) VALUES(y, ALL); good = y & ACCEPTED; step; VALUES(y, ALL); assert(!good || (y & ACCEPTED))

/* What is known in k is newer than the store's record, or of a line that the store lost. */
#define AHEAD(k) (rank[k] != 0 && (rank[k] > rank[STORE] || ((rank[k] ^ rank[STORE]) & (CONSENT | LINE)) == LINE))

#ifdef SHARED
#define UNHEARD 0
#else
#define UNHEARD (AHEAD(2) || AHEAD(3))
#endif
#ifdef SILENT
#define HEARD 1
#else
#define HEARD (!UNHEARD)
#endif
#ifdef NO_COPY
#define NOTE_SILENCE skip
#else
#define NOTE_SILENCE silence = UNHEARD
#endif

#ifdef MUTANT_STALE
#define AFTER_A_LOSS 3
#else
#define AFTER_A_LOSS 1
#endif
#if defined(MUTANT_STALE) || defined(MUTANT_COPY_UNREAD)
#define MAY_WRITE (loss != 1 && rank[STORE] != 0)
#define MAY_PUT_BACK(k) 0
#else
/* A process that knows more puts that back first. */
#ifdef NO_COPY
#define MAY_WRITE (loss != 1 && !AHEAD(MINE))
#else
#define MAY_WRITE (loss != 1 && rank[STORE] != 0 && !AHEAD(MINE))
#endif
#define MAY_PUT_BACK(k) (loss != 0 && AHEAD(k))
#endif

/* The next version. The first one after a loss begins a line of its own. */
inline write() {
	if
	:: loss == 2 ->
		loss = 3;
#ifndef MUTANT_NO_LINE
		rank[STORE] = rank[STORE] | LINE
#endif
	:: else -> skip
	fi;
	rank[STORE]++
}

/* What was written is confirmed, and copied. */
inline know() {
	IN_HAND(COPY(STORE, MINE))
}

#ifdef WINDOW
#define OUTSIDE aged
#else
#define OUTSIDE 255
#endif

/* t: the token that attempt f may present, or NONE; probe: as the last resort. */
inline choose(f) {
	probe = 0;
	TOP(t, (tokens[STORE] & ~refused[STORE])); /* the current token */
#ifdef FREE
	t = (t != NONE && BIT(f) < tokens[STORE] -> NONE : t) /* there is a newer token */
#else
	PRESENTED(y, marks[STORE]);
	PRESENTED(w, (marks[STORE] & OUTSIDE)); /* not in their windows any more */
	if
	:: t == NONE -> skip
	:: t != NONE && BIT(f) < tokens[STORE] -> t = NONE /* there is a newer token */
	:: t != NONE && BIT(f) > tokens[STORE] && !IN(w, t) -> skip
	:: t != NONE && BIT(f) > tokens[STORE] && IN(w, t) ->
		t = NONE;
		if
		:: marks[STORE] & ~late -> skip
		:: else ->
			x = tokens[STORE] & ~refused[STORE];
			TOP(t, (x & ~y)); /* another good one */
			if
			:: t == NONE ->
#ifndef MUTANT_TWO_PROBES
				PRESENTED(y, (marks[STORE] & probes));
				x = x & ~y;
#endif
				TOP(t, x);
				probe = (t != NONE)
			:: else -> skip
			fi
		fi
	fi;
#if defined(WINDOW) && !defined(MUTANT_OVERTAKEN)
	/* A request for another token is not overtaken. (Its deadline has passed when it can
	   neither be sent nor is on its way; or later, which makes no difference.) */
	x = t;
	EACH_FENCE(z, t = (IN(marks[STORE] & (sendable | flying), z) && parent[z] != x -> NONE : t))
#endif
#endif
}

inline mark(f) {
	parent[f] = t;
	consented = consented | (rank[STORE] >= CONSENT -> BIT(f) : 0);
	probes = probes | (probe -> BIT(f) : 0);
	sendable = sendable | BIT(f);
#ifdef WINDOW
	x = VALUE(t);
	prompt = prompt | (IN(used, x) && IN(aged, user[x]) -> 0 : BIT(f));
#endif
	VALUES(y, (ALL & ~(SPOOLS & late)));
	assert(silence || !probe || !(y & unspent & ~BIT(VALUE(t)))) /* d */
}

inline send(f) {
	sendable = sendable & ~BIT(f);
	flying = flying | BIT(f);
#ifndef FREE
	x = 0; y = 0;
	EACH_FENCE(z,
		x = x | (IN(sent, z) -> BIT(VALUE(parent[z])) : 0);
		y = y | (IN(sent & probes, z) -> BIT(VALUE(parent[z])) : 0)
	);
	t = VALUE(parent[f]);
	/* a; but a token that is none any more, or of an earlier consent, does no harm */
	assert(silence || !IN(x, t) || !IN(unspent | used, t) || killed || !IN(closed, t) || (IN(probes, f) && !IN(y, t)));
#ifdef WINDOW
	sent = sent | (probes & BIT(f)) /* of the others it only matters whether the window is closed */
#else
	sent = sent | BIT(f)
#endif
#endif
}

#ifdef MUTANT_ANY_CONSENT
#define OF_ANOTHER_CONSENT(f) 0
#else
#define OF_ANOTHER_CONSENT(f) (IN(consented, f) != (rank[STORE] >= CONSENT))
#endif

#if defined(MUTANT_KEEP_FENCE)
#define HAS_A_PLACE(f) (f == last)
#elif defined(MUTANT_KEEP_PARENT)
#define HAS_A_PLACE(f) IN(tokens[STORE], parent[f])
#else
#define HAS_A_PLACE(f) (IN(marks[STORE], f) || BIT(f) > tokens[STORE])
#endif

#ifdef MUTANT_NO_SIBLINGS
#define TAKE_PLACE(f) tokens[STORE] = BIT(f)
#else
#define TAKE_PLACE(f) tokens[STORE] = (tokens[STORE] & ~BIT(parent[f])) | BIT(f)
#endif

#define REPLACE(f) replaced[STORE] = replaced[STORE] | (IN(tokens[STORE], parent[f]) -> BIT(VALUE(parent[f])) : 0)
#if defined(SAME_PAIR) && !defined(MUTANT_SAME_TWICE)
/* The same token is in the record, or was. */
#define HAS_VALUE(to, f) VALUES(to, tokens[STORE]); to = IN(to | replaced[STORE], value[f])
#else
#define HAS_VALUE(to, f) to = 0
#endif

/* A token that attempt f has brought gets its place in the store's record. */
inline place(f) {
	HAS_VALUE(w, f);
	if
	:: w -> skip
	:: !w && HAS_A_PLACE(f) ->
		REPLACE(f);
		TAKE_PLACE(f);
		refused[STORE] = refused[STORE] & tokens[STORE]
	:: else -> skip
	fi;
	marks[STORE] = marks[STORE] & ~BIT(f)
}

/* The store, and who knew it, have lost the consent of the answer, or even the record. */
#if defined(NO_COPY) && !defined(MUTANT_NO_PLACE)
#define LACKS(f) (rank[STORE] == 0 || (IN(consented, f) && rank[STORE] < CONSENT))
#else
#define LACKS(f) 0
#endif

inline begin_anew(f) {
	CLEAR(STORE);
	tokens[STORE] = BIT(f);
	rank[STORE] = (IN(consented, f) -> CONSENT : 0)
}

inline keep(f) {
	if
	:: LACKS(f) ->
		IN_STORE(begin_anew(f));
		write()
	:: !LACKS(f) && (OF_ANOTHER_CONSENT(f) || IN(tokens[STORE], f)) -> skip
	:: else ->
		x = tokens[STORE] | (marks[STORE] << 8);
		IN_STORE(place(f));
		if
		:: x != (tokens[STORE] | (marks[STORE] << 8)) -> write()
		:: else -> skip
		fi
	fi
}

inline withdraw_mark(f) {
	if
	:: IN(marks[STORE], f) ->
#ifdef MUTANT_WITHDRAW_ALL
		x = parent[f];
		EACH_FENCE(z, marks[STORE] = (IN(marks[STORE], z) && parent[z] == x -> marks[STORE] & ~BIT(z) : marks[STORE]));
#endif
		marks[STORE] = marks[STORE] & ~BIT(f);
		write();
		know()
	:: else -> skip
	fi
}

inline refuse(f) {
	if
	:: IN(marks[STORE], f) || IN(tokens[STORE] & ~refused[STORE], parent[f]) ->
		if
		:: IN(tokens[STORE], parent[f]) ->
			assert(!IN(ACCEPTED, VALUE(parent[f]))); /* c */
			refused[STORE] = refused[STORE] | BIT(parent[f])
		:: else -> skip
		fi;
		marks[STORE] = marks[STORE] & ~BIT(f);
		write();
		know()
	:: else -> skip
	fi
}

/* A person consents. No record that the store has lost can be newer. */
inline consent(f) {
	consents = 1;
	consented = consented | BIT(f);
	CLEAR(STORE);
	tokens[STORE] = BIT(f);
	rank[STORE] = CONSENT + 1;
	loss = (loss == 0 -> 0 : 3);
	killed = 0;
	unspent = BIT(f);
	used = 0;
#ifdef SAME_PAIR
	value[f] = f;
#endif
	COPY(STORE, MINE)
}

/* No token of either is lost whose successor is not there; what either marks is marked. */
inline merge(k) {
	replaced[STORE] = replaced[STORE] | replaced[k];
	EACH_FENCE(x,
		if
		:: IN(tokens[k] & ~tokens[STORE], x) ->
			HAS_VALUE(w, x);
			tokens[STORE] = tokens[STORE] | (w -> 0 : BIT(x))
		:: else -> skip
		fi
	);
	EACH_FENCE(x, tokens[STORE] = (IN(tokens[STORE], x) && IN(replaced[STORE], VALUE(x)) -> tokens[STORE] & ~BIT(x) : tokens[STORE]));
	marks[STORE] = (marks[STORE] | marks[k]) & ~tokens[STORE];
	refused[STORE] = (refused[STORE] | refused[k]) & tokens[STORE]
}

/*
 * A process puts back what it knows. If that was made of the store's record, it takes its
 * place. If the store has gone on without it, the two are merged.
 */
inline put_back(k) {
	if
	:: rank[k] > rank[STORE] -> IN_STORE(COPY(k, STORE))
	:: else ->
#ifndef MUTANT_NO_MERGE
		IN_STORE(merge(k));
		write();
#endif
		IN_HAND(COPY(STORE, k))
	fi
}
