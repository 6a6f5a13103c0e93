package redisadmin

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// GrantSetting is a setting that grants need, as it was found. A grant that is lost costs
// a person, so more is needed of a server than for tokens.
type GrantSetting struct {
	Server  string // Diagnosis.Addr; "" for what concerns this process
	Name    string // "appendfsync"
	Verdict Verdict
	Found   string // "appendfsync is no: the last half minute can be lost"
	Fix     string // what to do; "" if it is good
}

// Verdict says whether a setting does.
type Verdict string

// The verdicts.
const (
	Good    Verdict = "good"
	Bad     Verdict = "bad"     // a grant can be lost, or cannot be stored
	Unknown Verdict = "unknown" // the server does not tell it
)

// GrantSettings examines the server, or each master of the cluster, and this process, for
// a store that has grants; see GrantAccounts. The names are "seal key", "info",
// "appendonly", "appendfsync", "maxmemory-policy", "replication id", "replicas" and
// "min-replicas-to-write"; the last two only where there are replicas, "info" only where
// it is refused. It needs the rules +info and +time, and +config|get for appendfsync and
// min-replicas-to-write.
func (i Inspector) GrantSettings(ctx context.Context) ([]GrantSetting, error) {
	settings := []GrantSetting{i.sealKey()}
	err := i.Client.EachMaster(ctx, func(ctx context.Context, client redis.UniversalClient, addr string) error {
		d, err := i.diagnose(ctx, client, addr)
		if err != nil {
			return err
		}
		s := grantServer{Diagnosis: d, waits: i.Replicas}
		s.appendFsync, s.minReplicas = i.config(ctx, client, "appendfsync"), i.config(ctx, client, "min-replicas-to-write")
		settings = append(settings, s.settings()...)
		return nil
	})
	return settings, i.Fault(ctx, "examine the settings that grants need", "", err)
}

// TryGrants runs a script of grants so that it changes nothing. It returns nil if the
// server, a proxy in front of it, and the user's rights to one of the accounts, or to all
// if there are none, allow it.
func (i Inspector) TryGrants(ctx context.Context, accounts ...string) error {
	tried, err := i.triedAccounts(accounts)
	if err != nil {
		return err
	}
	return i.tryUntilPermitted(ctx, "try the scripts of grants", tried, i.TryGrantScript)
}

func (i Inspector) sealKey() GrantSetting {
	if i.Seals {
		return GrantSetting{"", "seal key", Good, "grants are sealed", ""}
	}
	return GrantSetting{
		"", "seal key", Bad, "there is none, and grants are stored sealed only",
		"make one with `zhongkong keygen` and give every process its file (--seal-key-file)",
	}
}

// grantServer is a server that grants are stored in.
type grantServer struct {
	Diagnosis
	waits int // replicas that a grant waits for

	appendFsync string // "": the server does not tell it
	minReplicas string // likewise
}

func (s *grantServer) settings() []GrantSetting {
	if s.Denied != nil {
		return []GrantSetting{{
			s.Addr, "info", Bad, "INFO is not allowed, or refused: grants cannot be used, because a failover would not be noticed",
			"ACL SETUSER <user> +info",
		}}
	}
	all := []GrantSetting{s.appendOnly(), s.fsync(), s.eviction(), s.history()}
	if s.ConnectedReplicas > 0 || s.waits > 0 {
		all = append(all, s.replicas(), s.leastReplicas())
	}
	return all
}

// config returns a setting, "" if the server does not tell it.
func (i Inspector) config(ctx context.Context, client redis.UniversalClient, name string) string {
	bounded, cancel := i.Client.Bounded(ctx)
	defer cancel()
	return client.ConfigGet(bounded, name).Val()[name]
}

func (s *grantServer) appendOnly() GrantSetting {
	if s.AOF {
		return GrantSetting{s.Addr, "appendonly", Good, "appendonly is yes", ""}
	}
	return GrantSetting{
		s.Addr, "appendonly", Bad, "appendonly is no: a restart loses the newest grants",
		"CONFIG SET appendonly yes (and in redis.conf; on a managed Redis: that parameter in its console)",
	}
}

func (s *grantServer) fsync() GrantSetting {
	found := GrantSetting{s.Addr, "appendfsync", Bad, "appendfsync is " + s.appendFsync, ""}
	switch {
	case s.appendFsync == "":
		found.Verdict, found.Found = Unknown, "unknown: CONFIG GET is not allowed, or refused"
		found.Fix = "check that it is always, or from Redis 7.2 on everysec; only for this check: ACL SETUSER <user> +config|get"
	case s.appendFsync == "always":
		found.Verdict = Good
	case s.appendFsync == "everysec" && s.knowsWAITAOF():
		found.Verdict, found.Found = Good, "appendfsync is everysec, and grants wait for it (WAITAOF)"
	case s.appendFsync == "everysec":
		found.Found += ": the last two seconds can be lost, and this version cannot be asked to wait (WAITAOF)"
		found.Fix = "CONFIG SET appendfsync always (and in redis.conf), or use Redis 7.2 or newer"
	default:
		found.Found += ": the last half minute can be lost"
		found.Fix = "CONFIG SET appendfsync always (and in redis.conf), or from Redis 7.2 on everysec"
	}
	return found
}

func (s *grantServer) knowsWAITAOF() bool {
	major, rest, _ := strings.Cut(s.Version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	x, _ := strconv.Atoi(major)
	y, _ := strconv.Atoi(minor)
	return x > 7 || x == 7 && y >= 2
}

func (s *grantServer) eviction() GrantSetting {
	if s.MaxMemoryPolicy == "noeviction" {
		return GrantSetting{s.Addr, "maxmemory-policy", Good, "maxmemory-policy is noeviction", ""}
	}
	return GrantSetting{
		s.Addr, "maxmemory-policy", Bad, fmt.Sprintf("maxmemory-policy is %q: a full Redis drops grants, or the fences that go with them", s.MaxMemoryPolicy),
		"CONFIG SET maxmemory-policy noeviction (and in redis.conf), or use a separate Redis",
	}
}

func (s *grantServer) history() GrantSetting {
	if s.ReplicationID != "" {
		return GrantSetting{s.Addr, "replication id", Good, "a restart and a failover are noticed", ""}
	}
	return GrantSetting{
		s.Addr, "replication id", Bad, "INFO has no master_replid: a restart or a failover that loses a grant is not noticed",
		"use a Redis that tells it",
	}
}

func (s *grantServer) replicas() GrantSetting {
	found := GrantSetting{s.Addr, "replicas", Good, fmt.Sprintf("%d connected, a grant waits for %d", s.ConnectedReplicas, s.waits), ""}
	switch {
	case s.waits == 0:
		found.Verdict, found.Found = Bad, fmt.Sprintf("%d connected, but a grant does not wait for any: a failover can lose it", s.ConnectedReplicas)
		found.Fix = "set replicas: 1 in the configuration of every refresher"
	case s.ReplicasInSync < s.waits:
		found.Verdict, found.Found = Bad, fmt.Sprintf("only %d of the %d that a grant waits for keep up: it is not used until they do", s.ReplicasInSync, s.waits)
		found.Fix = "check the replicas, their load and their links"
	}
	return found
}

func (s *grantServer) leastReplicas() GrantSetting {
	switch s.minReplicas {
	case "":
		return GrantSetting{
			s.Addr, "min-replicas-to-write", Unknown, "unknown: CONFIG GET is not allowed, or refused",
			"check that it is 1 or more; only for this check: ACL SETUSER <user> +config|get",
		}
	case "0":
		return GrantSetting{
			s.Addr, "min-replicas-to-write", Bad, "min-replicas-to-write is 0: a master that is cut off goes on with grants that its successor has replaced",
			"CONFIG SET min-replicas-to-write 1 and min-replicas-max-lag 10 (and in redis.conf)",
		}
	}
	return GrantSetting{s.Addr, "min-replicas-to-write", Good, "min-replicas-to-write is " + s.minReplicas, ""}
}
