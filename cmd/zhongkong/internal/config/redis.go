package config

import (
	"fmt"
	"net/url"
)

// The values of Config.Seal.
const (
	SealRequire = "require" // sealed tokens only
	SealPrefer  = "prefer"  // writes sealed tokens, reads both
	SealAllow   = "allow"   // writes plain tokens, reads both
)

func (c *Config) checkRedis(p *problems) {
	switch {
	case c.SealKeyFile == "" && c.Seal != "":
		p.addf("%s: seal needs keys: give seal_key_file (--seal-key-file) too", c.Where("seal"))
	case c.Seal == "" && c.SealKeyFile != "":
		c.Seal = SealRequire
	}
	if (c.RedisCert == "") != (c.RedisKey == "") {
		p.addf("redis_cert and redis_key belong together: give both")
	}
	u, err := url.Parse(c.Redis)
	if err != nil {
		return // parseRedis has reported it
	}
	for _, s := range []struct{ key, path string }{{"redis_ca", c.RedisCA}, {"redis_cert", c.RedisCert}, {"redis_key", c.RedisKey}} {
		switch {
		case s.path == "" || u.Scheme == "rediss":
		case c.Redis == "":
			p.addf("%s: %s is for TLS to Redis: give --redis rediss://HOST:PORT too", c.Where(s.key), s.key)
		default:
			p.addf("%s: %s is for TLS to Redis, and the URL (%s) begins with %s://: write rediss://", c.Where(s.key), s.key, c.Where("redis"), u.Scheme)
		}
	}
	switch v := u.Query().Get("skip_verify"); {
	case v != "true" && v != "1":
	case c.RedisCA != "":
		p.addf("%s: redis_ca has no effect, because the URL (%s) has skip_verify=true: remove that", c.Where("redis_ca"), c.Where("redis"))
	default:
		c.Warnings = append(c.Warnings, fmt.Sprintf("%s: skip_verify=true: an attacker on the path to Redis can impersonate it and read every token; "+
			"remove it and name the authority with --redis-ca", c.Where("redis")))
	}
}
