package kubernetes

import (
	"strings"
	"testing"
)

// TestValuesThatAreWrongAreRefused: with an error that names the value.
func TestValuesThatAreWrongAreRefused(t *testing.T) {
	t.Parallel()
	for values, want := range map[string]string{
		"replica: 2":           "additional properties 'replica' not allowed",
		"redis: {urll: x}":     "at '/redis': additional properties 'urll' not allowed",
		"replicas: two":        "at '/replicas'",
		"tls: {secret: Upper}": "at '/tls/secret'",
		"redis: {url: 'redis://user:hunter2@redis:6379'}":                               "redis.url has a password: write $(REDIS_PASSWORD)",
		"redis: {url: 'redis:6379'}":                                                    "at '/redis/url'",
		"image: {digest: sha256:12}":                                                    "at '/image/digest'",
		"usersSecret: {name: ''}":                                                       "at '/usersSecret/name'",
		"podDisruptionBudget: {maxUnavailable: 0}":                                      "at '/podDisruptionBudget/maxUnavailable'",
		"extraEnv: [{name: ZHONGKONG_REDIS, value: x}]":                                 "at '/extraEnv/0/name'",
		"extraEnv: [{name: ZHONGKONG_TLS_CERT, value: x}]":                              "at '/extraEnv/0/name'",
		"podLabels: {app.kubernetes.io/name: x}":                                        "podLabels must not have app.kubernetes.io/name",
		"config: null":                                                                  "missing property 'config'",
		"redis: {url: null}":                                                            "at '/redis': missing property 'url'",
		"config: {accounts: null}":                                                      "at '/config': missing property 'accounts'",
		"appSecrets: [a, a]":                                                            "at '/appSecrets'",
		"appSecrets: wx":                                                                "at '/appSecrets': got string, want array",
		"config: {accounts: [{secret_file: x}]}":                                        "missing property 'name'",
		"config: {accounts: [{name: wx1, secret: hunter2}]}":                            "config.accounts[0].secret would put a secret into a ConfigMap",
		"config: {accounts: [{name: a}, {name: b, client_secret: x}]}":                  "config.accounts[1].client_secret would",
		"config: {redis: redis://redis}":                                                "config.redis cannot be set there: set redis.url",
		"config: {users: []}":                                                           "set usersSecret",
		"config: {instance: one}":                                                       "config.instance would give all replicas one name",
		"config: {routes: [{name: wx, account: a, listen: ':8080'}]}":                   "wx listens at port 8080",
		"config: {routes: [{name: wx, account: a, listen: 'here'}]}":                    "at '/config/routes/0/listen'",
		"grants: {enabled: true}":                                                       "grants.enabled needs sealKeySecret.name",
		"grants: {copyClaim: nfs}":                                                      "grants.copyClaim has no effect",
		"tls: {clientCASecret: {name: ca}}":                                             "tls.clientCASecret.name needs tls.secret",
		"redis: {passwordSecret: {name: ''}}":                                           "redis.passwordSecret.name is empty",
		"redis: {caSecret: {name: ca}}":                                                 "needs a redis.url that begins with rediss://",
		"redis: {clientSecret: client}":                                                 "needs a redis.url that begins with rediss://",
		"serviceMonitor: {enabled: true}":                                               "serviceMonitor.enabled needs metrics.basicAuthSecret.name",
		"drainDelaySeconds: 70":                                                         "terminationGracePeriodSeconds must be at least drainDelaySeconds + 15 (85)",
		"{drainDelaySeconds: 30, grants: {enabled: true}, sealKeySecret: {name: seal}}": "terminationGracePeriodSeconds must be at least drainDelaySeconds + 55 (85)",
		"fullnameOverride: 2tokens":                                                     "at '/fullnameOverride'",
	} {
		_, _, err := release{values: values}.render(t)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, not %q", values, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows the secret: %v", values, err)
		}
	}
	for _, name := range []string{"2nd", "my.release"} {
		if _, _, err := (release{name: name}).render(t); err == nil || !strings.Contains(err.Error(), "set fullnameOverride") {
			t.Errorf("a release named %s: %v", name, err)
		}
	}
}
