package kubernetes

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// TestASpoolComesBackToItsReplica: with grants each replica has a volume that its
// successor gets again, and that outlives the release.
func TestASpoolComesBackToItsReplica(t *testing.T) {
	t.Parallel()
	manifests, _ := release{values: valuesFiles(t)["grants"]}.must(t)
	all := objects(t, manifests)
	set := all["StatefulSet/zhongkong"]
	if set == nil || all["Deployment/zhongkong"] != nil {
		t.Fatal("grants are not in a StatefulSet alone")
	}
	if all["Service/"+set.text("spec", "serviceName")].text("spec", "clusterIP") != "None" {
		t.Errorf("the pods get no names: there is no headless Service %s", set.text("spec", "serviceName"))
	}
	for _, when := range []string{"whenDeleted", "whenScaled"} {
		if got := set.text("spec", "persistentVolumeClaimRetentionPolicy", when); got != "Retain" {
			t.Errorf("%s: %s", when, got)
		}
	}
	claim := set.text("spec", "volumeClaimTemplates", 0, "metadata", "name")
	var mount string
	for _, m := range set.list("spec", "template", "spec", "containers", 0, "volumeMounts") {
		if m.text("name") == claim {
			mount = m.text("mountPath")
		}
	}
	for _, e := range set.list("spec", "template", "spec", "containers", 0, "env") {
		// Below the mount: the program makes the directory, for itself alone.
		if e.text("name") == "ZHONGKONG_GRANTS_SPOOL" && (mount == "" || !strings.HasPrefix(e.text("value"), mount+"/")) {
			t.Errorf("the spool %s is not below the volume's %q", e.text("value"), mount)
		}
	}
}

// TestTheNetworkPolicyFollowsTheConfiguration: the ports of Redis, routes and datagrams
// are written once.
func TestTheNetworkPolicyFollowsTheConfiguration(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct{ redis, ports, service []any }{
		"minimal":    {redis: []any{6379}, ports: []any{"http"}, service: []any{8080}},
		"tls":        {redis: []any{6380, 6381}, ports: []any{"http"}, service: []any{8080}},
		"everything": {redis: []any{26379, 6379}, ports: []any{"http", "route-8090", "datagrams"}, service: []any{443, 8090, 9091}},
	} {
		manifests, _ := release{values: valuesFiles(t)[name]}.must(t)
		object := "zhongkong"
		if name == "everything" {
			object = "tokens"
		}
		all := objects(t, manifests)
		policy, service := all["NetworkPolicy/"+object], all["Service/"+object]
		for what, got := range map[string][2][]any{
			"egress to Redis": {values(policy.list("spec", "egress", 1, "ports"), "port"), want.redis},
			"ingress":         {values(policy.list("spec", "ingress", 0, "ports"), "port"), want.ports},
			"Service":         {values(service.list("spec", "ports"), "port"), want.service},
			"targets":         {values(service.list("spec", "ports"), "targetPort"), want.ports},
		} {
			if !reflect.DeepEqual(got[0], got[1]) {
				t.Errorf("%s, %s: %v, not %v", name, what, got[0], got[1])
			}
		}
	}
}

// values returns a field of each object.
func values(list []object, field string) []any {
	var all []any
	for _, o := range list {
		all = append(all, o[field])
	}
	return all
}

// TestEverySelectorFindsThePods: of the Service, the budget, the policy, the workload.
func TestEverySelectorFindsThePods(t *testing.T) {
	t.Parallel()
	for name, given := range valuesFiles(t) {
		manifests, _ := release{values: given}.must(t)
		pod := pods(t)[name]
		for key, o := range objects(t, manifests) {
			var selector any
			switch kind, _, _ := strings.Cut(key, "/"); kind {
			case "Service":
				selector = o.at("spec", "selector")
			case "NetworkPolicy":
				selector = o.at("spec", "podSelector", "matchLabels")
			case "Deployment", "StatefulSet", "PodDisruptionBudget":
				selector = o.at("spec", "selector", "matchLabels")
			default:
				continue
			}
			if !reflect.DeepEqual(selector, any(pod.matching())) {
				t.Errorf("%s: %s selects %v, the pods are %v", name, key, selector, pod.matching())
			}
		}
	}
}

// TestThePodIsTheUserOfTheImage, who owns what is in it.
func TestThePodIsTheUserOfTheImage(t *testing.T) {
	t.Parallel()
	user := regexp.MustCompile(`(?m)^USER (\d+):(\d+)$`).FindStringSubmatch(readText(t, "scripts/Dockerfile"))
	if user == nil {
		t.Fatal("the image has no numeric user")
	}
	pod := pods(t)["default"]
	for field, want := range map[string]string{"runAsUser": user[1], "runAsGroup": user[2], "fsGroup": user[2]} {
		if got := fmt.Sprint(pod.at("spec", "securityContext", field)); got != want {
			t.Errorf("%s is %s, the image's is %s", field, got, want)
		}
	}
}
