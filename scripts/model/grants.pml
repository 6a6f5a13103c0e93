/*
 * A grant: the refresh tokens of one account, which several processes present to the
 * issuer, as package coordinator (grant*.go) and its stores do it: mark, send, keep.
 * spin tries every interleaving. README.md explains how to run it and what it shows.
 *
 * REFRESHERS processes refresh at any time; the model has no lock, so any two may do it
 * at once. At any moment
 *   - a process dies; a new one takes its place, with the spool and the copy of the old one;
 *   - a process is paused for any time (which is an interleaving);
 *   - a request to the issuer is lost, or its answer is, or the issuer turns the request
 *     away without using the token up;
 *   - the store does not confirm what it has stored;
 *   - time passes: an attempt's deadline; the time until which its answer is awaited; a window;
 *   - once, the store falls back to what it had at any earlier moment, or to nothing;
 *   - once, a person consents anew.
 *
 * The issuer, by macro: with -DFREE it never uses a token up. With -DNEVER it does, and
 * takes a used token for stolen. With -DSAME_PAIR and -DSIBLING it answers a used token in
 * its window again, with the token it gave before, or with another one. If the token given
 * before has been used as well, it may take that for theft. Theft kills every token, or the
 * request is only refused.
 *
 * Tokens and attempts have the same names, as in the code: an attempt's fence names the
 * token that it brings. At most FENCES names are in use at one time; how many there have
 * been is not bounded (see granttidy.pml).
 *
 * What must hold:
 *   a. A token is sent twice only in its window, or as its one last resort (probe).
 *   b. No step of a process lets go of the last token in hand that the issuer accepts: in
 *      the store; and in the store, the copies and the spools together.
 *   c. When nothing is under way, the current token is accepted unless it is marked. None
 *      is called refused that is accepted.
 *   d. The issuer kills the grant only for a probe, and no token is probed while another
 *      one that it accepts is known.
 *   e. Nothing of an earlier consent gets into the record of a new one.
 *
 * Time is left out but for its order. Assumed is that
 *   - no request reaches the issuer after its attempt's deadline (as in refresh.pml);
 *   - a window counts from the mark of the first presentation, less a margin: the issuer's
 *     ends later, and when every request has arrived that was sent before that end;
 *   - windows are equally long: they end in the order in which they began;
 *   - after the store has lost writes, only what is newer is put back for one lease. That is
 *     longer than an attempt: when it is over, none is under way that began before.
 *
 * A process knows the record that it had confirmed last: in memory, and as its copy
 * outside of the store. That it writes the copy, and a keep its removal from the spool,
 * is one step with the confirmation. With -DSHARED there is one copy for all.
 * A process that is dead or paused may say nothing during the whole lease, although it
 * knows more than the store: with -DSILENT. The others then do what they would not do if
 * they knew, so a and d are not required any more. With -DNO_COPY a process that dies knows
 * nothing any more but its spool; then nor is it required that the current token is accepted,
 * and b is not of what only a dead process knew.
 *
 * The entry of a process that gives up is over at once. That is left out: it is as if the
 * entry's time was over.
 *
 * Mutants, each of which must be detected:
 *   -DMUTANT_KEEP_FENCE   keep refuses an answer if a newer attempt has begun
 *   -DMUTANT_KEEP_PARENT  keep refuses an answer if its parent has left the record
 *   -DMUTANT_MARK_LATER   the mark is written after the request was sent
 *   -DMUTANT_UNCONFIRMED  the request is sent though the mark is not confirmed
 *   -DMUTANT_WITHDRAW_ALL withdraw removes the other marks of the token, too
 *   -DMUTANT_NO_SIBLINGS  keep removes every other token
 *   -DMUTANT_TWO_PROBES   a token is probed more than once
 *   -DMUTANT_NO_SPOOL     an answer is in memory only until it is stored
 *   -DMUTANT_SENT_LATE    a request is sent after its attempt's deadline
 *   -DMUTANT_SENT_OUTSIDE a request that was marked in a window is sent after its end
 *   -DMUTANT_STALE        a record is used though the store may have lost a newer one
 *   -DMUTANT_COPY_UNREAD  a shared copy is not read after the store has lost writes
 *   -DMUTANT_NO_LINE      of two records the one with the higher version is newer, whatever it was made of
 *   -DMUTANT_NO_MERGE     what a silent process knew is dropped if the store has gone on
 *   -DMUTANT_ANY_CONSENT  keep does not ask to which consent an answer belongs
 *   -DMUTANT_SAME_TWICE   keep does not see that it has the same token already
 *   -DMUTANT_OVERTAKEN    a token is presented while a request for another is on its way
 *   -DMUTANT_NO_PLACE     keep has no place for an answer of a consent that the store has lost
 */

#ifndef REFRESHERS
#define REFRESHERS 2
#endif
#ifndef FENCES
#define FENCES 4
#endif
#if defined(SAME_PAIR) || defined(SIBLING)
#define WINDOW
#endif

#define NONE 15
#define BIT(f) (1 << (f))
#define BIT_OF(f) (f == NONE -> 0 : BIT(f))
#define IN(set, f) (((set) >> (f)) & 1)
#define EACH(x, from, to, body) x = from; do :: x <= to -> body; x++ :: else -> break od
#define EACH_FENCE(x, body) EACH(x, 0, FENCES - 1, body)
#define me _pid

/* Records: the store's, the one that it falls back to, and what the processes know. Sets
   of fences are bit masks. */
#define STORE 0
#define EARLIER 1
#ifdef SHARED
#define KNOWN(p) 2
#define RECORDS 3
#else
#define KNOWN(p) (2 + p)
#define RECORDS 4
#endif
#define MINE KNOWN(me)
#define LAST_RECORD (RECORDS - 1)

byte rank[RECORDS];     /* the order of records: consent, line, version; 0: there is none */
byte tokens[RECORDS];
byte refused[RECORDS];
byte marks[RECORDS];    /* entries: attempts that may present a token, or did */
byte replaced[RECORDS]; /* tokens that have left (in the code: their fingerprints) */
#define CONSENT 64
#define LINE 32         /* made of what was left after a loss, not of what was lost */

/* Attempts. */
byte last;              /* the fence handed out last */
byte parent[FENCES] = NONE; /* the token that the attempt presents */
byte probes;            /* those that are the last resort */
byte consented;         /* those after the second consent, and its token */
byte sendable;          /* marked, and their deadline has not passed */
byte flying;            /* their request is on its way */
byte answered;          /* their answer is, with a token */
byte rejected;          /* their answer is: there is no such token */
byte late;              /* no answer is awaited any more */
byte sent;              /* those that were sent and may have used their token up */

/* The issuer. It names a token by the attempt that got it first. */
byte unspent;           /* tokens that it accepts */
byte used;
bit killed;
#ifdef WINDOW
byte user[FENCES];      /* the attempt that used the token first */
byte before[FENCES];    /* tokens that were used before */
byte aged;              /* marks that are older than the window */
byte prompt;            /* attempts marked before the end of the issuer's window */
byte closed;            /* tokens whose window has ended there */
#else
#define closed 255
#endif
#ifdef SAME_PAIR
byte value[FENCES] = NONE; /* the issuer's name of the token */
#define VALUE(f) value[f]
#else
#define VALUE(f) (f)
#endif

/* Processes. */
byte fence[REFRESHERS] = NONE; /* the attempt under way */
byte spool[REFRESHERS] = NONE; /* an answer that is not stored yet */

bit consents;           /* the consent has been given */
bit remembered;         /* what the store falls back to is chosen */
byte loss;              /* 0: none yet; 1: only put back; 2: the lease is over; 3: settled */
#ifdef NO_COPY
#define silence 1
#define KNOWS_LESS 1
#else
bit silence;            /* a process that knew more was silent for a lease */
#define KNOWS_LESS 0
#endif

#include "granttidy.pml"
#include "grantrules.pml"

/* A process that dies keeps its spool and its copy. Its request flies on. */
#define FORGET \
	sendable = sendable & ~BIT_OF(fence[me]); answered = answered & ~BIT_OF(fence[me]); \
	rejected = rejected & ~BIT_OF(fence[me]); fence[me] = NONE
#ifdef NO_COPY
#define DIES CLEAR(MINE)
#else
#define DIES skip
#endif
#define OR_DIES :: d_step { FORGET; DIES; tidy() }; goto fresh

/* The process has chosen a token and marked it, or goes back. */
#define PRESENT(how) atomic { \
	d_step { \
		MAY_WRITE -> \
		choose(fence[me]); \
		if \
		:: t != NONE -> mark(fence[me]); how \
		:: else -> skip \
		fi; \
		tidy() \
	}; \
	if \
	:: parent[fence[me]] == NONE -> goto marking \
	:: else -> skip \
	fi }
#define WRITE_MARK marks[STORE] = marks[STORE] | BIT(fence[me]); write()
#define UNSENDABLE sendable = sendable & ~BIT(fence[me])

/*
 * Each option is one step; what takes no step of its own could not be told from its
 * having come earlier or later. (A process that dies after a refusal is like one that
 * dies before it; one that dies with a spool is like one that is paused.)
 */
active [REFRESHERS] proctype refresher() {
	unspent != 0;
fresh:
	if
	:: d_step { spool[me] != NONE && MAY_WRITE -> /* confirmed, copied, and removed from the spool */
		keep(spool[me]);
		know();
		IN_HAND(spool[me] = NONE);
		tidy()
	}
	:: d_step { spool[me] != NONE && MAY_WRITE -> keep(spool[me]); tidy() } /* not confirmed */
#ifdef NO_COPY
	:: d_step { rank[MINE] != 0 -> DIES; tidy() }
#endif
#ifdef MUTANT_NO_SPOOL
	:: d_step { spool[me] != NONE -> IN_HAND(spool[me] = NONE); tidy() } /* it dies */
#endif
	:: d_step { spool[me] == NONE && last < FENCES - 1 -> last++; fence[me] = last }; goto marking
	:: d_step { spool[me] == NONE && last < FENCES - 1 && !consents -> last++; consent(last); tidy() }
	fi;
	goto fresh;
marking:
	if
#if defined(FREE) || defined(MUTANT_MARK_LATER)
	:: PRESENT(skip)
#else
	:: PRESENT(WRITE_MARK; know())
#ifdef MUTANT_UNCONFIRMED
	:: PRESENT(WRITE_MARK)
	:: PRESENT(skip)
#else
	:: PRESENT(WRITE_MARK; UNSENDABLE); goto withdraw /* not confirmed */
#endif
#endif
	OR_DIES
	fi;
	if
#ifdef MUTANT_SENT_LATE
	:: d_step { send(fence[me]); tidy() }
#else
	:: d_step { IN(sendable, fence[me]) -> send(fence[me]); tidy() }
#endif
	:: d_step { UNSENDABLE; tidy() }; goto withdraw /* no connection, or too late to send */
	OR_DIES
	fi;
#ifdef MUTANT_MARK_LATER
	if
	:: d_step { MAY_WRITE -> WRITE_MARK; know(); tidy() }
	OR_DIES
	fi;
#endif
	if
#ifdef FREE
	:: d_step { IN(answered, fence[me]) -> FORGET; tidy() }; goto fresh
#else
	:: d_step { IN(answered, fence[me]) -> spool[me] = fence[me]; FORGET; tidy() }; goto fresh
#endif
	:: d_step { IN(rejected, fence[me]) && MAY_WRITE -> refuse(fence[me]); FORGET; tidy() }; goto fresh
	:: d_step { IN(flying, fence[me]) -> /* turned away: surely not used up */
		flying = flying & ~BIT(fence[me]);
		sent = sent & ~BIT(fence[me]);
		tidy()
	}
	OR_DIES /* or gives up */
	fi;
withdraw:
	if
	:: d_step { MAY_WRITE -> withdraw_mark(fence[me]); FORGET; tidy() }; goto fresh
	OR_DIES
	fi
}

#define OF_OLD_CONSENT(f) (consents && !IN(consented, f))
#ifdef WINDOW
#define THEFT(t, harsh) (!killed && !IN(unspent, t) && IN(used, t) && (IN(closed, t) || (harsh && !IN(unspent, user[t]))))
#define OLD_ENOUGH aged
#else
#define THEFT(t, harsh) (!killed && !IN(unspent, t) && IN(used, t))
#define OLD_ENOUGH 255
#endif

/* The issuer handles a request. harsh: theft kills the grant. */
inline issue(f, harsh) {
	flying = flying & ~BIT(f);
	t = VALUE(parent[f]);
	if
	:: IN(unspent, t) ->
		answered = answered | BIT(f);
#ifndef FREE
		unspent = (unspent & ~BIT(t)) | BIT(f);
#ifdef WINDOW
		user[t] = f;
		before[t] = used;
#endif
#ifdef SAME_PAIR
		value[f] = f;
#endif
		used = used | BIT(t)
#endif
	:: THEFT(t, harsh) ->
		rejected = rejected | BIT(f);
		if
		:: harsh ->
			assert(silence || IN(probes, f)); /* d */
			killed = 1;
			unspent = 0
		:: else -> skip
		fi
#ifdef WINDOW
	:: !IN(unspent, t) && IN(used, t) && !killed && !THEFT(t, harsh) ->
		answered = answered | BIT(f);
#ifdef SAME_PAIR
		value[f] = user[t]
#else
		unspent = unspent | BIT(f)
#endif
#endif
	:: !IN(unspent, t) && (killed || !IN(used, t)) ->
		if
		:: OF_OLD_CONSENT(f) && !harsh -> answered = answered | BIT(f) /* it may go on answering those */
		:: else -> rejected = rejected | BIT(f)
		fi
	fi
}

#ifdef MUTANT_SENT_OUTSIDE
#define UNSENT_BY_THE_END(f) skip
#else
/* A request that was marked in the window is not sent any more. */
#define UNSENT_BY_THE_END(f) \
	EACH_FENCE(z, sendable = (IN(prompt & sendable & ~probes, z) && VALUE(parent[z]) == f -> sendable & ~BIT(z) : sendable))
#endif

/* The issuer's window of a token ends, if it may. */
inline close_window(f) {
	x = 0;
	EACH_FENCE(z, x = (IN(prompt & flying, z) && VALUE(parent[z]) == f -> 1 : x));
	if
	:: x == 0 && IN(aged, user[f]) && (before[f] & ~closed) == 0 -> closed = closed | BIT(f); UNSENT_BY_THE_END(f)
	:: else -> skip
	fi
}

#define IS(set, n) :: IN(set, n) -> f = n
#define ANY_OF(set) if IS(set, 0) IS(set, 1) IS(set, 2) IS(set, 3) IS(set, 4) IS(set, 5) fi
#define STEP(set, body) atomic { ANY_OF(set); d_step { body; f = 0; tidy() } }

#define QUIET (fence[0] == NONE && fence[1] == NONE && SPOOLS == 0 && flying == 0 && loss != 1 && !AHEAD(2) && !AHEAD(LAST_RECORD))

inline check() {
	EACH_FENCE(x, assert(!IN(tokens[STORE], x) || IN(consented, x) == (rank[STORE] >= CONSENT))); /* e */
	if
	:: QUIET ->
		TOP(t, (tokens[STORE] & ~refused[STORE]));
		PRESENTED(y, marks[STORE]);
		assert(KNOWS_LESS || t == NONE || IN(y, t) || killed || IN(unspent, VALUE(t))) /* c */
	:: else -> skip
	fi;
	tidy()
}

/* The issuer, the network, the store's fate, and time. */
active proctype world() {
	byte f;
	atomic {
		d_step {
			rank[STORE] = 1;
			tokens[STORE] = 1;
#ifdef SAME_PAIR
			value[0] = 0
#endif
		};
		if
		:: unspent = 1
#ifndef NO_LOSS
		:: d_step { unspent = 1; remembered = 1; COPY(STORE, KNOWN(0)) } /* it will lose everything */
#endif
		fi
	}
	do
	:: STEP(flying, issue(f, 1))
	:: STEP(flying, if :: THEFT(VALUE(parent[f]), 1) || OF_OLD_CONSENT(f) -> issue(f, 0) :: else -> skip fi)
	:: STEP(sendable | flying, sendable = sendable & ~BIT(f); flying = flying & ~BIT(f)) /* a deadline passes */
	:: STEP(MARKS & ~(late | sendable | flying) & OLD_ENOUGH, late = late | BIT(f))
#ifdef WINDOW
	:: STEP(MARKS & ~aged, aged = aged | BIT(f))
	:: STEP(used & ~closed, close_window(f))
#endif
#ifndef NO_LOSS
	:: d_step { loss == 0 && !remembered -> remembered = 1; COPY(STORE, EARLIER); tidy() }
	:: d_step { loss == 0 && remembered && rank[EARLIER] != rank[STORE] ->
		loss = AFTER_A_LOSS;
		COPY(EARLIER, STORE);
		CLEAR(EARLIER);
		tidy()
	}
	:: d_step { loss == 1 && (sendable | flying) == 0 && HEARD -> NOTE_SILENCE; loss = 2; tidy() }
	:: d_step { MAY_PUT_BACK(2) -> put_back(2); tidy() }
#ifndef SHARED
	:: d_step { MAY_PUT_BACK(3) -> put_back(3); tidy() }
#endif
#endif
	:: d_step { check() }
	od
}
