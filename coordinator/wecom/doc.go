// Package wecom gets tokens and tickets from WeCom (企业微信).
//
//	app, err := wecom.Config{CorpID: corpID, Secret: secret}.Source()     // GET /cgi-bin/gettoken
//	corp, err := wecom.Config{Kind: wecom.JSAPITicket}.Source()           // for wx.config
//	agent, err := wecom.Config{Kind: wecom.AgentTicket}.Source()          // for wx.agentConfig
//	provider, err := wecom.Config{Kind: wecom.Provider, …}.Source()       // get_provider_token
//	suite, err := wecom.Config{Kind: wecom.SuiteToken, SuiteID: id, …}.Source() // get_suite_token
//
// Each is a [coordinator.Source].
//
// # One secret, one token
//
// A corp has a secret for each app, and others without an app: for the contacts,
// customer contact, 微信客服. Each secret has a token of its own, which is good for
// nothing else. So each needs an account of its own, with a name of its own: the corpid
// alone does not name one.
//
// A ticket is a child of the account whose token it is fetched with
// ([coordinator.AccountConfig].Parent): the corp's ticket of any app's, an app's ticket
// of the same app's.
//
// # The same value
//
// While a value lives, WeCom answers the same one again, with the life that is left or
// with the whole, so asking twice is harmless and a refresh cannot force another.
// WeCom may end a value early. The sources are therefore asked again long before the
// end: every 30 minutes for a token, every 9 for a ticket, but those of suites just before
// their end and just after it.
//
// # Wrong secrets
//
// Several wrong secrets make WeCom block the source address for an hour, for all apps
// behind it. A source does not send a secret that was refused for 2 hours, even if a
// refresh is forced, and the store keeps the other processes from it. A corrected secret
// is sent at once. If the secret was right and the app has been enabled again, force a
// refresh from a process that is started anew, such as "zhongkong refresh".
//
// # Suites
//
// A service provider's suite is a third-party app, or a template of custom apps (代开发):
//
//	suite_ticket, pushed every 10 minutes, good for 30   the grant of the suite's account
//	  suite_access_token                                 its token
//	    auth_code, pushed or by redirect, for 10 minutes  exchanged at once
//	      permanent code of a corp                        the grant of the corp's account
//	        access_token of the corp                      its token, with tickets of its own
//
// A [Suite] takes what WeCom pushes, and keeps an account SUITEID.CORPID for each corp
// that has the suite, in every process of the fleet. The coordinator must Run while the
// Suite does: without it there is no suite_access_token, and no auth_code is exchanged
// before it ends. The grants are in the store, durable
// (see [coordinator.GrantStore]): a permanent code that is lost costs a new installation.
//
// WeCom gives the same token until its end, and a suite_access_token only for a
// suite_ticket that is not older than 30 minutes. So while tickets do not arrive, what is
// stored serves to its end and no longer; the next ticket brings everything back.
//
// What is not promised: if WeCom has exchanged an auth_code and the answer is lost on its
// way, the corp has to install the suite again. If the process ends before it has stored
// the answer, its spool has it, unless there is none. However late it is found there, it
// counts unless the corp has removed the suite since, or installed it again.
//
// A corp whose cancel_auth was lost is found when its token ends: its account is dead
// until the corp comes back. A custom app's permanent code is presented as a secret:
// a dead one counts as a wrong secret, once. Several within an hour make WeCom block the
// source address.
//
// # Business calls
//
// [wechat.Transport] serves WeCom as well: it puts the token of an App in, and its
// errcodes for a rejected token are WeCom's (see IsTokenRejected).
package wecom
