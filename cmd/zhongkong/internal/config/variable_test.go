package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
)

func TestVariablesThatNothingReadsAreRefusedByName(t *testing.T) {
	yaml := "accounts:\n- {appid: wx1, secret_env: ZHONGKONG_SHOP_SECRET}\n- {appid: wx2, secret_env: OTHER}\n"
	path := filepath.Join(t.TempDir(), "zk.yaml")
	if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		variables []string
		want      string // "": they are allowed
	}{
		"a letter in the wrong place":   {[]string{"ZHONGKONG_REDSI=redis://10.0.0.5:6379"}, "ZHONGKONG_REDSI: unknown variable: did you mean ZHONGKONG_REDIS?"},
		"small letters":                 {[]string{"ZHONGKONG_prefix=p"}, "ZHONGKONG_prefix: unknown variable: did you mean ZHONGKONG_PREFIX?"},
		"far from any":                  {[]string{"ZHONGKONG_COLOUR=red"}, "ZHONGKONG_COLOUR: unknown variable: unset it"},
		"near one that a command reads": {[]string{"ZHONGKONG_USRES=a:b"}, "did you mean ZHONGKONG_USERS?"},
		"a port that is no link":        {[]string{"ZHONGKONG_PORT=8080"}, "ZHONGKONG_PORT: unknown variable"},
		"a host that is no link":        {[]string{"ZHONGKONG_SERVICE_HOST=the-redis"}, "ZHONGKONG_SERVICE_HOST: unknown variable"},
		"known ones":                    {[]string{"ZHONGKONG_REDIS=redis://h:1", "ZHONGKONG_USERS=a:b", "ZHONGKONG_UDP=:1"}, ""},
		"another prefix":                {[]string{"ZHONGKONGS=1", "PATH=/bin", "zhongkong_redsi=1"}, ""},
		"an empty one":                  {[]string{"ZHONGKONG_REDSI="}, ""},
		"one that an account names":     {[]string{"ZHONGKONG_SHOP_SECRET=" + appSecret}, ""},
		"links to a service": {[]string{
			"ZHONGKONG_SERVICE_HOST=10.96.0.7", "ZHONGKONG_SERVICE_PORT=8080", "ZHONGKONG_SERVICE_PORT_HTTP=8080",
			"ZHONGKONG_PORT=tcp://10.96.0.7:8080", "ZHONGKONG_PORT_8080_TCP=tcp://10.96.0.7:8080", "ZHONGKONG_PORT_8080_TCP_PROTO=tcp",
			"ZHONGKONG_PORT_8080_TCP_PORT=8080", "ZHONGKONG_PORT_8080_TCP_ADDR=10.96.0.7", "ZHONGKONG_PORT_9091_UDP=udp://10.96.0.7:9091",
		}, ""},
		"links to a service beside it, on IPv6": {[]string{
			"ZHONGKONG_REDIS_SERVICE_HOST=fd00::7", "ZHONGKONG_REDIS_SERVICE_PORT=6379", "ZHONGKONG_REDIS_SERVICE_PORT_REDIS=6379",
			"ZHONGKONG_REDIS_PORT=tcp://[fd00::7]:6379", "ZHONGKONG_REDIS_PORT_6379_TCP=tcp://[fd00::7]:6379",
			"ZHONGKONG_REDIS_PORT_6379_TCP_ADDR=fd00::7",
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			in := config.Input{
				Flags: map[string]string{"config": path}, Env: func(string) string { return "" },
				Environ: func() []string { return test.variables },
			}
			err := config.CheckVariables(in, "ZHONGKONG_USERS")
			switch {
			case test.want == "" && err != nil:
				t.Errorf("CheckVariables() = %v, want nil", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("CheckVariables() = %v, want %q in it", err, test.want)
			case err != nil && strings.Contains(err.Error(), "10.0.0.5"):
				t.Errorf("CheckVariables() = %v: it repeats the value", err)
			}
		})
	}
}
