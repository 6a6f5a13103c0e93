package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

func TestTheImageIsCheckedByHealth(t *testing.T) {
	data, err := os.ReadFile("../../scripts/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), `CMD ["/zhongkong", "health"]`) {
		t.Error("the image has no health check")
	}
}

func TestTheComposeFileSpeaksOurNames(t *testing.T) {
	data, err := os.ReadFile("../../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var compose struct {
		Services map[string]struct {
			Image       string
			Command     []string
			Environment map[string]string
			Healthcheck struct {
				Test    []string
				Disable bool
			}
		}
	}
	if err := yaml.Unmarshal(data, &compose); err != nil {
		t.Fatal(err)
	}
	variables := []string{envUsers}
	for _, s := range config.Settings() {
		variables = append(variables, s.Env())
	}
	for name, service := range compose.Services {
		if service.Image != "zhongkong" {
			continue
		}
		if (program{}).app().Command(service.Command[0]) == nil {
			t.Errorf("%s runs %q, which is no command", name, service.Command[0])
		}
		for variable, value := range service.Environment {
			if !slices.Contains(variables, variable) {
				t.Errorf("%s sets %s, which nothing reads", name, variable)
			}
			if strings.Contains(variable, "SECRET") && strings.Contains(value, "$") {
				t.Errorf("%s takes %s from the shell: it would reach the simulator", name, variable)
			}
		}
		check := service.Healthcheck
		if isServe := service.Command[0] == "serve"; isServe && !slices.Equal(check.Test, []string{"CMD", "/zhongkong", "health"}) || !isServe && !check.Disable {
			t.Errorf("%s is checked by %v", name, check)
		}
	}
	for _, instance := range []string{"zhongkong-1", "zhongkong-2"} {
		env := compose.Services[instance].Environment
		if !strings.Contains(env["ZHONGKONG_APPID"], wechattest.DefaultAppID) || !strings.Contains(env["ZHONGKONG_SECRET"], wechattest.DefaultSecret) {
			t.Errorf("%s does not have the simulator's account: %v", instance, env)
		}
	}
}
