package oauthtest

import "github.com/zhongkong/zhongkong/coordinator/oauth"

// KnobsOf returns the knobs with which a Server does with refresh tokens what a profile
// says of an issuer.
func KnobsOf(p oauth.Profile) RefreshKnobs {
	k := RefreshKnobs{
		Replay: p.Replay, ReplayBrings: p.Brings, Replayable: p.Replayable, Siblings: p.Siblings, Reuse: p.Reuse,
		Idle: Duration(p.Idle), Hard: Duration(p.Ends), Earliest: Duration(p.Earliest),
	}
	if p.Replay == "free" {
		k.Rotation = "silent"
	}
	switch p.Name {
	case "atlassian", "databricks", "exact", "fitbit", "github", "slack", "x":
		k.Dialect = p.Name
	}
	return k
}
