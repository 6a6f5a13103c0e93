/*
 * Part of grants.pml: makes states equal that differ only in their past. A fence that
 * nobody can name any more, and above which there is none, is handed out again: only the
 * order of fences matters. So the length of a run is not bounded.
 */

/* Variables of one step. */
hidden byte t, x, y, z, good, held, probe;
hidden int w;

#define COPY(a, b) rank[b] = rank[a]; tokens[b] = tokens[a]; refused[b] = refused[a]; marks[b] = marks[a]; replaced[b] = replaced[a]
#define CLEAR(a) rank[a] = 0; tokens[a] = 0; refused[a] = 0; marks[a] = 0; replaced[a] = 0

/* What the issuer calls a set of tokens. */
#ifdef SAME_PAIR
#define VALUES(to, set) to = 0; EACH_FENCE(z, to = to | (IN(set, z) && value[z] != NONE -> BIT(value[z]) : 0))
#else
#define VALUES(to, set) to = set
#endif

#define SPOOLS (BIT_OF(spool[0]) | BIT_OF(spool[1]))
#define MARKS (marks[0] | marks[1] | marks[2] | marks[LAST_RECORD])
#define TOKENS (tokens[0] | tokens[1] | tokens[2] | tokens[LAST_RECORD])

/* What a process knows matters if the store may lose it, or has. */
inline forget_known(k) {
	if
	:: loss == 0 && (!remembered || rank[k] <= rank[EARLIER]) -> CLEAR(k)
	:: loss != 0 && rank[k] <= rank[STORE] && ((rank[k] ^ rank[STORE]) & (CONSENT | LINE)) == 0 -> CLEAR(k)
	:: loss != 0 && rank[k] < CONSENT && rank[STORE] >= CONSENT -> CLEAR(k)
	:: else -> skip
	fi
}

/* Only the order of versions matters, and after a loss is settled not even that. */
inline tidy_ranks() {
	if
	:: loss >= 2 && rank[2] == 0 && rank[LAST_RECORD] == 0 -> loss = 3; rank[STORE] = rank[STORE] & ~LINE
	:: else -> skip
	fi;
	w = 0;
	EACH(x, 0, LAST_RECORD,
		y = 1;
		EACH(z, 0, LAST_RECORD, y = y + (rank[z] < rank[x] && rank[z] != 0));
		w = w | (rank[x] == 0 -> 0 : (y << (4 * x)))
	);
	EACH(x, 0, LAST_RECORD, rank[x] = (rank[x] == 0 -> 0 : (rank[x] & (CONSENT | LINE)) | ((w >> (4 * x)) & 15)))
}

inline tidy() {
	forget_known(2);
#ifndef SHARED
	forget_known(3);
#endif
	tidy_ranks();
	/* held: fences in use; t: tokens of the issuer that can come up again */
	held = TOKENS | MARKS | SPOOLS | BIT_OF(fence[0]) | BIT_OF(fence[1]) | flying | answered | rejected;
	VALUES(t, held);
	EACH_FENCE(x, t = t | (IN(sendable | flying, x) -> BIT(VALUE(parent[x])) : 0));
#ifdef WINDOW
	w = 0;
	EACH_FENCE(x,
		if
		:: IN(t & used & ~closed, x) -> w = w | BIT(user[x]); t = t | BIT(user[x])
		:: else -> user[x] = 0; before[x] = 0
		fi
	);
	closed = closed & used & t;
	EACH_FENCE(x, before[x] = before[x] & used & t & ~closed);
	aged = aged & (w | MARKS);
	prompt = prompt & (sendable | flying);
#endif
	used = used & t;
	unspent = unspent & t;
	EACH_FENCE(x,
		if
		:: IN(sent, x) && !IN(t, VALUE(parent[x])) -> sent = sent & ~BIT(x)
		:: else -> skip
		fi
	);
	held = held | sent;
	late = late & held;
	probes = probes & held;
	consented = consented & held;
	EACH_FENCE(x, parent[x] = (IN(held, x) -> parent[x] : NONE));
#ifdef SAME_PAIR
	held = held | t;
	EACH_FENCE(x, value[x] = (IN(held, x) -> value[x] : NONE));
#endif
	EACH(x, 0, LAST_RECORD, replaced[x] = replaced[x] & t);
#ifdef WINDOW
	held = held | w;
#endif
	do
	:: last > 0 && !IN(held, last) -> last--
	:: else -> break
	od;
	t = 0; w = 0; x = 0; y = 0; z = 0; good = 0; held = 0; probe = 0
}
