package redisadmin

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/redisstore/internal/redisclient"
)

// Diagnosis is what a server reports about itself. A field that the server does not
// report is zero.
type Diagnosis struct {
	Addr    string // as the client knows it; "" if it does not
	Version string // "7.0.15"
	Mode    string // standalone, sentinel, cluster
	Role    string // master, slave

	// MaxMemory and MaxMemoryPolicy: with a limit and any policy but
	// noeviction (or volatile-... for keys without TTL) the server may drop
	// tokens and locks.
	MaxMemory       int64
	MaxMemoryPolicy string
	UsedMemory      int64 // in bytes, like MaxMemory

	ConnectedReplicas int
	ReplicasInSync    int  // of those, the ones in state online
	AOF               bool // whether it writes an append-only file

	// ReplicationID is by what a restart and a failover are noticed; see GrantSettings.
	ReplicationID string

	// Ahead is how far the server's clock is ahead of this machine's, give or take
	// half of RoundTrip.
	Ahead     time.Duration
	RoundTrip time.Duration

	// Denied is why only the clock is known, and what HELLO reports: version, mode and
	// role. Nil: everything is known.
	Denied error
}

// Diagnose asks the server, or each master of the cluster. It needs the rules
// +info and +time; without the first one Denied says so.
func (i Inspector) Diagnose(ctx context.Context) ([]Diagnosis, error) {
	var servers []Diagnosis
	err := i.Client.EachMaster(ctx, func(ctx context.Context, client redis.UniversalClient, addr string) error {
		d, err := i.diagnose(ctx, client, addr)
		if err == nil {
			servers = append(servers, d)
		}
		return err
	})
	return servers, i.Fault(ctx, "diagnose", "", err)
}

func (i Inspector) diagnose(ctx context.Context, client redis.UniversalClient, addr string) (Diagnosis, error) {
	bounded, cancel := i.Client.Bounded(ctx)
	defer cancel()
	d := Diagnosis{Addr: addr}
	if err := d.clock(bounded, client); err != nil {
		return d, err
	}
	info, err := client.Info(bounded).Result()
	if d.Denied = i.Fault(ctx, "info", "", err); d.Denied != nil {
		// HELLO tells less, but every user may send it, and hosts that forbid
		// INFO do not forbid it.
		fields, _ := redisclient.Hello(bounded, client)
		d.Version, d.Mode, d.Role = fields["version"], fields["mode"], fields["role"]
	}
	d.read(info)
	return d, nil
}

func (d *Diagnosis) clock(ctx context.Context, client redis.UniversalClient) error {
	// The first command may have to connect; the second one measures.
	if err := client.Time(ctx).Err(); err != nil {
		return err
	}
	start := time.Now()
	clock, err := client.Time(ctx).Result()
	if err != nil {
		return err
	}
	d.RoundTrip = time.Since(start)
	d.Ahead = clock.Sub(start.Add(d.RoundTrip / 2).Round(0))
	return nil
}

func (d *Diagnosis) read(info string) {
	for line := range strings.Lines(info) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		n, _ := strconv.ParseInt(value, 10, 64)
		switch name {
		case "redis_version":
			d.Version = value
		case "redis_mode":
			d.Mode = value
		case "role":
			d.Role = value
		case "maxmemory":
			d.MaxMemory = n
		case "used_memory":
			d.UsedMemory = n
		case "maxmemory_policy":
			d.MaxMemoryPolicy = value
		case "connected_slaves":
			d.ConnectedReplicas = int(n)
		case "aof_enabled":
			d.AOF = n == 1
		case "master_replid":
			d.ReplicationID = value
		}
		if strings.HasPrefix(name, "slave") && strings.Contains(value, "state=online") {
			d.ReplicasInSync++
		}
	}
}
