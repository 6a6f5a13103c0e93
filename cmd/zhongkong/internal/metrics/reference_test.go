package metrics_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/referencetest"
)

// described is a metric as a scrape describes it.
type described struct {
	name, kind, help string
	labels           []string
}

// describedIn returns the metrics of the program in a scrape in which every one has a sample.
func describedIn(text string) map[string]described {
	all := map[string]described{}
	for _, line := range regexp.MustCompile(`(?m)^# (HELP|TYPE) (zhongkong_\S+) (.*)$`).FindAllStringSubmatch(text, -1) {
		d := all[line[2]]
		d.name = line[2]
		if line[1] == "HELP" {
			d.help = line[3]
		} else {
			d.kind = line[3]
		}
		all[d.name] = d
	}
	for _, sample := range regexp.MustCompile(`(?m)^(zhongkong_[a-z_]+)\{(.*)\} `).FindAllStringSubmatch(text, -1) {
		name := sample[1]
		if _, found := all[name]; !found {
			name = regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		}
		d := all[name]
		for _, label := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(sample[2], -1) {
			if label[1] != "le" && !slices.Contains(d.labels, label[1]) {
				d.labels = append(d.labels, label[1])
			}
		}
		all[name] = d
	}
	return all
}

// metricGroups are the sections of the page. A metric is in the first one that has a
// beginning of its name, the last one has the rest.
var metricGroups = []struct {
	english, chinese string
	begins           []string
}{
	{"Tokens and budgets", "token 与限额", []string{"token_ttl", "token_age", "token_generation", "next_refresh", "calls_", "failures_", "parent_", "conflicts", "open_attempts"}},
	{"Refreshes", "刷新", []string{"refreshes", "source_", "superseded", "lock_"}},
	{"Grants", "授权", []string{"grant_"}},
	{"Redis", "Redis", []string{"store_", "restores", "missed_", "notifications"}},
	{"Callers", "调用方", []string{"http_", "stale_", "token_", "waiters", "datagrams", "caller", "access_"}},
	{"Routes", "转发路由", []string{"route_"}},
	{"Files", "文件", []string{"file_"}},
	{"Process", "进程", []string{""}},
}

func TestThePageOfMetricsIsThatOfAScrape(t *testing.T) {
	text := everything(t)
	referencetest.Page(t, "../../docs/reference/metrics.md", metricsPage(text, `# Metrics

[中文](metrics.zh-CN.md)

What `+"`GET /metrics`"+` of `+"`serve`"+` has, for Prometheus; a test generates this page from a scrape. It takes the name and password of a caller of all accounts, or
none with `+"`--metrics-open`"+`. No metric holds a token. Labels with more values are named in the help text; `+"`account`"+` is the account's name. Beside these there are
the usual `+"`go_…` and `process_…`"+` of the Go client. [Alerts and a dashboard](../../../../scripts/monitoring) use them.

What Redis holds of an account is absent until the process has read it, and while `+"`zhongkong_store_connected`"+` is 0, because it may have changed:
`+"`next_refresh_seconds`, `calls_today`, `open_attempts`, `failures_in_a_row`, `conflicts` and `grant_…`"+` of an account.
`, []string{"metric", "type", "labels", "meaning"}, false, func(help string) string { return help }))
	catalog := referencetest.Open(t, "../referencetest/zh/metrics.po")
	referencetest.Page(t, "../../docs/reference/metrics.zh-CN.md", metricsPage(text, `# 指标

[English](metrics.md)

`+"`serve` 的 `GET /metrics`"+` 提供给 Prometheus 的指标；本页由测试根据一次抓取生成。抓取需要可用全部账号的调用方的用户名和密码，有 `+"`--metrics-open`"+` 时不需要。
指标中不含 token。标签的取值见各指标的说明；`+"`account`"+` 是账号名。此外还有 Go 客户端常见的 `+"`go_…` 和 `process_…`"+`。[告警规则与仪表盘](../../../../scripts/monitoring)使用这些指标。

Redis 中关于账号的内容，在本进程读到之前，以及 `+"`zhongkong_store_connected`"+` 为 0 期间（此时可能已经变化），没有相应指标：
账号的 `+"`next_refresh_seconds`、`calls_today`、`open_attempts`、`failures_in_a_row`、`conflicts` 和 `grant_…`"+`。
`, []string{"指标", "类型", "标签", "含义"}, true, catalog.Chinese))
}

func metricsPage(text, introduction string, heading []string, chinese bool, say func(string) string) string {
	all := describedIn(text)
	var b strings.Builder
	b.WriteString(introduction)
	for _, group := range metricGroups {
		title := group.english
		if chinese {
			title = group.chinese
		}
		var section strings.Builder
		for _, name := range slices.Sorted(maps.Keys(all)) {
			of := func(begin string) bool { return strings.HasPrefix(name, "zhongkong_"+begin) }
			if !slices.ContainsFunc(group.begins, of) {
				continue
			}
			d := all[name]
			delete(all, name)
			labels := ""
			if len(d.labels) > 0 {
				labels = "`" + strings.Join(d.labels, "`, `") + "`"
			}
			referencetest.Row(&section, "`"+d.name+"`", d.kind, labels, say(d.help))
		}
		if section.Len() > 0 {
			b.WriteString("\n## " + title + "\n\n")
			referencetest.Heading(&b, heading...)
			b.WriteString(section.String())
		}
	}
	return b.String()
}
