// Package coordinator shares one credential among many processes.
//
// The issuer of the credential (WeChat's access_token is the model) kills the
// previous token whenever it issues a new one, answers a limited number of
// times a day, and cannot be asked which token is current. So exactly one
// process may call it at a time, everyone must hold what it issued last, and a
// crash at any line must heal by itself. A [Coordinator] in each process and a
// [Store] that they share see to that.
//
// # Use
//
//	store, err := redisstore.Open("redis://127.0.0.1:6379", redisstore.Options{})
//	...
//	defer store.Close()
//	c, err := coordinator.New(coordinator.Config{Store: store, Accounts: []coordinator.AccountConfig{
//		{Name: appID, Source: wechat.NewSource(appID, secret)}, // no Source: a reader
//	}})
//	stop := c.Start(ctx)
//	defer stop() // waits until a call to the source under way is stored
//	token, err := c.Token(ctx, appID)
//
// Ask for the token each time it is needed; while Run runs that is a read from
// memory. When the issuer rejects a token, report it with [Account.Invalidate]
// and use the one it returns.
//
// # Words
//
//   - account: one credential that is kept fresh, known by its name
//   - source: what issues tokens for an account. A process with a source for an
//     account is a refresher of it, one without a reader
//   - attempt: one call to the source, announced in the store before it is made
//   - fence: the number of an attempt, strictly increasing
//   - generation: the fence of the attempt whose token is in the store
//   - parent: the account whose token the source of another one, its child, needs
//   - due: a refresh is needed now
//   - overdue attempt: one whose deadline has passed and that is not settled: the
//     source may have issued a token that was never stored
//
// # Other issuers
//
// A source that is not like WeChat's says so ([Described]): what a repeated call does to
// the token before, what is allowed in which window, how often to ask. A ticket, or
// another token that is issued only to those who come with a token, belongs to an
// account with a [AccountConfig].Parent. What readers need beside a token is in
// [Record].Attributes.
//
// # What is promised
//
//   - One call to the source for each refresh, however many processes and
//     callers ask for it, as long as the store's lock holds. When it does not
//     (a paused holder, a fail-over), the fence still keeps an older token from
//     replacing a newer one, and one more refresh follows by itself.
//   - A refresher that dies at any line is replaced within LockTTL + 1 s; the
//     current token is served all the while.
//   - A new token reaches every process that Runs with its notification; if that
//     is lost, within two ProbeEvery if the store is a [ChangeStore], otherwise within
//     PollEvery (and a tenth).
//   - While the store is away tokens in memory are served until they end, marked
//     stale, and no process calls a source. A store that comes back empty gets its
//     tokens back from memory within a second of the reconnect. What it does not
//     take back, because an attempt was begun since, is replaced by another refresh.
//   - A generation never goes backwards in one process, unless the store's clock was set
//     back by more than a day: what it hands out from then on is older by number.
//   - A token that the issuer repeats until it replaces it ([RepeatSame]) is served
//     for at most RefreshEvery (and some seconds) after it was replaced.
//   - An account whose parent has no token makes no call, and is looked at as soon
//     as the parent has one.
//   - Every wait ends with its context.
//
// # What is not promised
//
// The fence orders what is stored, not what the issuer issues. A request that
// leaves a paused process after its attempt's deadline can still be answered
// after its successor's; then the stored token is the older one until a service
// reports it. Hence [Account.Invalidate].
//
// A program that fetches with the same secret outside of the store kills the
// tokens in it, if the issuer is one that kills. That is detected when a service
// reports one, counted ([State.Conflicts]) and logged; it can't be prevented.
//
// A process that starts on an empty store cannot know that another one still
// holds the token which the store lost: if it is the first to get the lock, it
// fetches a new one.
//
// # Lifecycle
//
// [New] starts nothing. [Coordinator.Run] blocks, owns every goroutine, and
// returns when all have ended and a call under way is stored; there is nothing
// to close. A program that exits before Run has returned can lose a token that the
// issuer has issued, and with it the one before: [Coordinator.Start] runs it in the
// background and returns the function that waits. Without Run everything works too, by asking the store each time: a
// program that only needs a token now and then calls [Account.Token] and, before
// it exits, [Coordinator.Drain].
package coordinator
