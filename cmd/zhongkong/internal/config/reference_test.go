package config

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/referencetest"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/sources"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
)

// pageWords are the words of a reference page around what the tables say.
type pageWords struct {
	file              string
	introduction      string
	settings, columns string
	accounts, limits  string

	sources, sourceColumns           string
	sourceFields, sourceFieldColumns string

	users, routes string
	files         string
	fields        string
	yes, no, end  string
	translate     func(key, usage string) string
}

func TestTheReferenceIsThatOfTheTables(t *testing.T) {
	for _, words := range []pageWords{english(), chinese(t)} {
		referencetest.Page(t, words.file, referencePage(words))
	}
}

func referencePage(w pageWords) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n\n%s", w.introduction, w.settings, w.columns)
	for _, s := range Settings() {
		yaml, without, reloads := "`"+s.Key+"`", "–", w.no
		if s.Key == "config" {
			yaml = "–"
		}
		if s.Default != "" {
			without = "`" + s.Default + "`"
		} else if s.Otherwise != "" {
			without = w.translate(s.Key+" otherwise", s.Otherwise)
		}
		if s.Reloads {
			reloads = w.yes
		}
		referencetest.Row(&b, yaml, "`--"+s.Flag()+"`", "`"+s.Env()+"`", without, reloads, w.translate(s.Key, s.Usage))
	}
	fieldRows(&b, w, w.accounts, "accounts[].", commonFields())
	sourceRows(&b, w)
	fieldRows(&b, w, w.limits, "accounts[].limits.", limitFields())
	fieldRows(&b, w, w.users, "users[].", userFields())
	fieldRows(&b, w, w.routes, "routes[].", routeFields())
	fieldRows(&b, w, w.files, "files[].", tokenFileFields())
	return b.String() + "\n" + w.end
}

func fieldRows[T any](b *strings.Builder, w pageWords, heading, prefix string, table []field[T]) {
	fmt.Fprintf(b, "\n%s\n\n%s", heading, w.fields)
	for _, f := range table {
		referencetest.Row(b, "`"+f.key+"`", w.translate(prefix+f.key, f.usage))
	}
}

// sourceRows writes the tables of the kinds of source and of their fields.
func sourceRows(b *strings.Builder, w pageWords) {
	fmt.Fprintf(b, "\n%s\n\n%s", w.sources, w.sourceColumns)
	forms := map[sources.Form]string{}
	for form, name := range formNames {
		forms[form] = w.translate("form."+name, name)
	}
	var fields []sources.Field
	of := map[string][]string{}
	for _, kind := range sources.All() {
		var own []string
		for _, f := range kind.Fields {
			if of[f.Key] == nil {
				fields = append(fields, f)
			}
			of[f.Key] = append(of[f.Key], "`"+kind.Name+"`")
			mark := ""
			if f.Required {
				mark = " *"
			}
			own = append(own, "`"+f.Key+"`"+mark)
		}
		switch {
		case len(kind.Of) > 0 && kind.MayLackParent == nil:
			own = append(own, "`of` *")
		case len(kind.Of) > 0:
			own = append(own, "`of`")
		}
		referencetest.Row(b, "`"+kind.Name+"`", w.translate("sources."+kind.Name, kind.Usage), strings.Join(own, ", "))
	}
	fmt.Fprintf(b, "\n%s\n\n%s", w.sourceFields, w.sourceFieldColumns)
	for _, f := range fields {
		referencetest.Row(b, "`"+f.Key+"`", forms[f.Form], strings.Join(of[f.Key], ", "), w.translate("fields."+f.Key, f.Usage))
	}
}

// formNames are how fields are written, in words.
var formNames = map[sources.Form]string{
	sources.Text: "text", sources.Secret: "secret", sources.Key: "key", sources.File: "file", sources.List: "list", sources.Map: "map", sources.Data: "group",
	sources.NamesOrAll: "names",
}

func english() pageWords {
	return pageWords{
		file: "../../docs/configuration.md",
		introduction: `# Configuration

[中文](configuration.zh-CN.md)

A test generates this page from the tables that parse the settings, and fails if the two differ.

Every setting can be given as a flag, as a variable and as a field of the YAML file (` + "`--config FILE`" + `). Flags take precedence over variables, variables over
the file, the file over the defaults. ` + "`zhongkong check`" + ` lists all problems with their places and fixes, and uses no network.

*Reloaded* says whether a running ` + "`serve`" + ` applies a change of the file, on SIGHUP or within 2 seconds. Other settings take effect at the next start, and
the log says so. The files named here (secrets, seal keys, certificates) are also read again when they change.
An account that ` + "`serve`" + ` would refuse at its start is refused then, too, and the old configuration stays in use.
`,
		settings:      "## Settings",
		columns:       "| YAML | flag | variable | default | reloaded | meaning |\n| --- | --- | --- | --- | --- | --- |\n",
		accounts:      "## `accounts:` – a list of accounts; all fields are reloaded",
		sources:       "### `source:` of an account",
		sourceColumns: "| source | tokens | fields (* must be given by a process that refreshes) |\n| --- | --- | --- |\n",
		sourceFields: "### Fields of sources\n\nA *secret* or a *key* `NAME` is given as `NAME_file` (a file, read again when it changes), `NAME_env` (a variable) or `NAME`. " +
			"Without one, this process only reads the account's token.",
		sourceFieldColumns: "| field | form | source | meaning |\n| --- | --- | --- | --- |\n",
		limits:             "### `limits:` of an account",
		users:              "## `users:` – a list of callers; all fields are reloaded",
		routes:             "## `routes:` – a list of paths to APIs with the token put in; a change takes effect at the next start",
		files:              "## `files:` – a list of files that have the token of an account; all fields are reloaded",
		fields:             "| field | meaning |\n| --- | --- |\n",
		yes:                "yes", no: "no",
		translate: func(_, usage string) string { return usage },
		end: `## Options that are not in the file

| flag | variable | meaning |
| --- | --- | --- |
| ` + "`--user NAME:PASSWORD`" + ` | ` + "`ZHONGKONG_USERS`" + ` | of ` + "`serve`" + `: callers of all accounts, with the refresh right, for trials; separate several by commas |
| ` + "`--sandbox`" + ` | – | of ` + "`serve`" + `: issue tokens from a built-in WeChat simulator |

` + "`secret_env`" + ` at the top of the file names the variable with the AppSecret of the single account that ` + "`appid`" + ` gives. Unknown variables that begin with
` + "`ZHONGKONG_`" + ` are refused, except the service links of Kubernetes.

## How the file is read

YAML 1.2, one document, in UTF-8 or UTF-16. Booleans are ` + "`true` and `false`" + ` (also ` + "`True`, `TRUE`" + `, …); ` + "`yes`, `no`, `on` and `off`" + ` are text and refused.
Durations need a unit (` + "`90s`, `20m`, `1h30m`" + `). Numbers are decimal digits, which ` + "`_`" + ` may separate. Text that looks like a number, a date or a boolean
must be in quotes. Anchors and aliases work for whole values; merge keys (` + "`<<`" + `), tags, repeated fields and unknown fields are refused.
`,
	}
}

func chinese(t *testing.T) pageWords {
	used := map[string]bool{}
	t.Cleanup(func() {
		for key := range chineseUsage {
			if !used[key] {
				t.Errorf("chineseUsage[%q] is of no setting any more", key)
			}
		}
	})
	return pageWords{
		file: "../../docs/configuration.zh-CN.md",
		introduction: `# 配置参考

[English](configuration.md)

本页由测试根据解析配置的表生成；两者不一致时测试失败。

每项配置都可以用命令行参数、环境变量或 YAML 文件（` + "`--config FILE`" + `）给出。优先级依次为：命令行参数、环境变量、文件、默认值。
` + "`zhongkong check`" + ` 一次列出所有问题、所在位置和改法，不访问网络。

“热更新”表示运行中的 ` + "`serve`" + ` 是否在收到 SIGHUP 时或 2 秒内接受文件的改动。不支持热更新的项在下次启动时生效，日志会说明。
此处引用的文件（AppSecret 等密钥、加密密钥、证书）内容变化时也会重新读取。
` + "`serve`" + ` 启动时会拒绝的账号，此时同样会被拒绝，旧配置继续使用。
`,
		settings:           "## 配置项",
		columns:            "| YAML | 命令行参数 | 环境变量 | 默认值 | 热更新 | 说明 |\n| --- | --- | --- | --- | --- | --- |\n",
		accounts:           "## `accounts:`：账号列表，全部支持热更新",
		sources:            "### 账号的 `source:`",
		sourceColumns:      "| source | token | 字段（* 为刷新进程必填） |\n| --- | --- | --- |\n",
		sourceFields:       "### 各 source 的字段\n\n*密钥*类字段 `NAME` 用 `NAME_file`（文件，变化时重新读取）、`NAME_env`（环境变量）或 `NAME` 给出；没有密钥时，本进程只读取该账号的 token。",
		sourceFieldColumns: "| 字段 | 形式 | source | 含义 |\n| --- | --- | --- | --- |\n",
		limits:             "### 账号的 `limits:`",
		users:              "## `users:`：调用方列表，全部支持热更新",
		routes:             "## `routes:`：代为填入 token 的转发路由列表，改动在下次启动时生效",
		files:              "## `files:`：写有账号 token 的文件列表，全部支持热更新",
		fields:             "| 字段 | 说明 |\n| --- | --- |\n",
		yes:                "是", no: "否",
		translate: func(key, usage string) string {
			used[key] = true
			if chineseUsage[key] == "" {
				t.Errorf("chineseUsage has no sentence for %q (%s)", key, usage)
			}
			return cmp.Or(chineseUsage[key], usage)
		},
		end: `## 不在文件中的参数

| 命令行参数 | 环境变量 | 说明 |
| --- | --- | --- |
| ` + "`--user NAME:PASSWORD`" + ` | ` + "`ZHONGKONG_USERS`" + ` | 用于 ` + "`serve`" + `：可以获取和刷新所有账号的调用方，供试用；多个用逗号分隔 |
| ` + "`--sandbox`" + ` | – | 用于 ` + "`serve`" + `：由内置的微信模拟器签发 token |

文件顶层的 ` + "`secret_env`" + ` 指定存放 AppSecret 的环境变量，对应由 ` + "`appid`" + ` 给出的唯一账号。以 ` + "`ZHONGKONG_`" + ` 开头的未知环境变量会被拒绝，
Kubernetes 的服务链接变量除外。

## 文件的读取规则

YAML 1.2，单个文档，UTF-8 或 UTF-16 编码。布尔值写 ` + "`true` 或 `false`" + `（` + "`True`、`TRUE`" + ` 等亦可）；` + "`yes`、`no`、`on`、`off`" + ` 是文本，会被拒绝。
时长必须带单位（` + "`90s`、`20m`、`1h30m`" + `）。数字用十进制书写，可用 ` + "`_`" + ` 分隔。看起来像数字、日期或布尔值的文本必须加引号。
锚点和别名可用于整个值；合并键（` + "`<<`" + `）、标签、重复字段和未知字段会被拒绝。
`,
	}
}

// chineseUsage has the Chinese page's sentence for each row of the tables.
var chineseUsage = map[string]string{
	"redis":                         "Redis 的 URL；加 addr= 表示集群，加 master_name= 表示 Sentinel",
	"redis otherwise":               "redis://127.0.0.1:6379；有密钥的 serve 必须给出 --redis、--embedded-redis、--sandbox 之一",
	"redis_ca":                      "签发 Redis 服务器证书（rediss://）的 CA，PEM 文件；启动时读取",
	"redis_ca otherwise":            "系统自带的 CA",
	"redis_cert":                    "连接 Redis 用的客户端证书，PEM 文件；每次建立连接时重新读取",
	"redis_key":                     "该证书的私钥，PEM 文件",
	"seal":                          "require（只用密文）、prefer（也读取明文 token）或 allow（两者都读取，只写入明文）；见 keygen",
	"seal otherwise":                "有密钥文件时为 require",
	"prefix":                        "Redis 中所有键的前缀",
	"seal_key_file":                 "加密 Redis 中 token 的密钥文件：用第一个密钥加密，用所有密钥解密，见 keygen；文件变化时重新读取",
	"grants.spool":                  "本机磁盘上的目录，新的 refresh token 在写入 Redis 之前先存放于此；需要 seal_key_file，见 grants.zh-CN.md",
	"grants.spool otherwise":        "无",
	"grants.copy":                   "存放每份授权副本的目录，Redis 丢失授权时从中恢复；多个进程可以共用；需要 seal_key_file",
	"grants.copy otherwise":         "无",
	"config":                        "YAML 文件：账号、调用方以及所有配置项",
	"log_level":                     "debug、info、warn 或 error",
	"log_format":                    "text 或 json；日志写到 stderr",
	"appid":                         "没有配置文件时的账号",
	"secret":                        "该账号的 AppSecret；建议用 --secret-file 或环境变量，因为进程列表会显示命令行参数",
	"secret_file":                   "存放 AppSecret 的文件；没有密钥的进程只读取 token。文件变化时重新读取",
	"source":                        "token 或 stable_token",
	"source otherwise":              "token",
	"api_base":                      "微信接口的地址",
	"api_base otherwise":            wechat.DefaultBaseURL,
	"embedded_redis":                "在本进程内运行 Redis，地址 127.0.0.1:6379，只供本机程序使用；它和其中的 token 随进程一起消失",
	"listen":                        "HTTP 监听地址",
	"tls_cert":                      "服务器证书，PEM 文件，给出后使用 HTTPS；文件变化时重新读取",
	"tls_key":                       "证书的私钥，PEM 文件；文件变化时重新读取",
	"client_ca":                     "签发客户端证书的 CA，PEM 文件：除用户名和密码外，每个客户端还需出示证书；只有探测接口 /healthz 和 /readyz 例外",
	"plaintext_ok":                  "允许在本机之外使用明文 HTTP，因为前面的代理负责 TLS",
	"metrics_open":                  "/metrics 无需用户名和密码",
	"access_log":                    "每个 HTTP 请求记一行日志，级别 info：调用方、账号、端点、状态码、大小、耗时；见 observability.zh-CN.md",
	"pprof":                         "本进程 Go 性能剖析的监听地址，只能是回环地址，无需用户名和密码；见 observability.zh-CN.md",
	"udp":                           "数据报监听地址；密钥在配置的 users: 中",
	"pprof otherwise":               "无",
	"udp otherwise":                 "不监听",
	"users_file":                    "YAML 文件，内容是一份调用方列表，写法同 users:，与那里的调用方一并生效；变化时重新读取",
	"drain_delay":                   "收到 SIGTERM 后端口继续开放的时间，期间 /readyz 返回 503，其余请求照常应答：应不短于负载均衡器发现所需的时间；强制结束进程之前要等它和正在进行的调用都结束，见 operate.zh-CN.md",
	"refresh_every":                 "两次刷新之间的最长间隔；改动从下一个 token 起生效",
	"budget.per_day":                "每个账号每天调用签发接口的次数；默认值是微信自身的限额",
	"budget.per_day otherwise":      "2000",
	"budget.reserve":                "其中保留给定时刷新的次数，从 1 到小于 budget.per_day：只剩这些时拒绝强制刷新",
	"budget.reserve otherwise":      "200，且不超过 budget.per_day 的十分之一",
	"budget.min_interval":           "同一账号两次按请求刷新之间的最短间隔",
	"budget.min_interval otherwise": "1s",
	"instance":                      "本进程在 Redis 中的名称",
	"instance otherwise":            "由主机名、进程号和随机数组成",
	"replicas":                      "新 token 需要多少个副本确认",
	"replicas otherwise":            "URL 指向集群或 Sentinel 时为 1，否则为 0",
	"lock_life":                     "进程在刷新中被杀死后，其他进程等待的时间",
	"fetch_timeout":                 "一次调用签发接口的最长时间",

	"accounts[].name":                "在 Redis 中和对调用方使用的名称（默认为 AppID）",
	"accounts[].label":               "给人看的名称，在 status 和状态页上显示在账号名旁",
	"accounts[].source":              "签发 token 的来源，见下表（默认为 source 的值）",
	"accounts[].api_base":            "签发方接口的地址（微信默认为 api_base 的值，其他为签发方自己的地址）",
	"accounts[].of":                  "其 source 需要哪个账号的 token",
	"accounts[].tickets":             "由本账号派生的 ticket 列表，各自成为名为 NAME.TICKET 的账号：微信账号有 jsapi 和 wx_card，企业微信账号有 corp 和 agent；第三方平台和套件则为其每个授权方账号或企业的 ticket",
	"accounts[].pages":               "可以获得 JS-SDK 签名的网页主机列表，如 www.example.com",
	"accounts[].refresh_every":       "两次刷新之间的最长间隔（默认由 source 决定，否则为 refresh_every 的值）",
	"sources.token":                  "微信 access_token，经 GET /cgi-bin/token 获取：每次调用都会使前一个失效",
	"sources.stable_token":           "微信 access_token，经 POST /cgi-bin/stable_token 获取，与 token 的互不影响",
	"sources.jsapi_ticket":           "微信 JS-SDK 的 ticket，属于 of 所指的账号；每 9 分钟重新获取一次",
	"sources.wx_card_ticket":         "微信卡券的 api_ticket，属于 of 所指的账号",
	"sources.wecom":                  "企业微信中一个应用（或其他持有 secret 者）的 access_token：每个 secret 一个账号",
	"sources.wecom_provider":         "企业微信服务商的 provider_access_token",
	"sources.wecom_jsapi_ticket":     "企业微信中企业的 jsapi_ticket，用于 wx.config，属于 of 所指的账号",
	"sources.wecom_agent_ticket":     "企业微信中 of 所指应用的 jsapi_ticket，用于 wx.agentConfig",
	"sources.oauth2":                 "任意 OAuth2 签发方（RFC 6749）的 access token",
	"sources.github_app":             "GitHub App 的 installation token",
	"sources.google_service_account": "Google 服务账号的 access token",
	"sources.http":                   "由 preset 指定或由 issuer 描述的签发方的 token",
	"fields.corpid":                  "CorpID",
	"fields.agentid":                 "应用的 AgentId，供人识别",
	"fields.token_url":               "token 端点（默认由 profile 给出）",
	"fields.profile":                 "某个签发方的已知信息，用于 grant 为 refresh_token 时：它的地址，以及它如何对待 refresh token：" + sources.ProfileNames("、"),
	"fields.replay":                  "再次出示已用过的 refresh token 的结果：never（被拒绝，或整个授权被撤销；没有 profile 时的默认值）、free（不会用完）或在多长时间内仍会得到应答，如 30s",
	"fields.auth_url":                "授权端点，供 zhongkong login 使用（默认由 profile 给出）",
	"fields.device_url":              "设备授权端点，供 zhongkong login --device 使用（默认由 profile 给出）",
	"fields.redirect":                "登录后签发方把浏览器重定向到的地址：本机的 http 地址，或其他地址，这时由人粘贴浏览器最后的 URL（默认为 127.0.0.1 空闲端口上的 /callback）",
	"fields.grant":                   "client_credentials（默认）、refresh_token（由人通过 zhongkong login 授权）或 jwt_bearer",
	"fields.client_id":               "客户端的 id",
	"fields.client_secret":           "客户端的密钥",
	"fields.client_auth":             "basic（默认，除非 profile 另有规定）、post、private_key_jwt 或 mtls；grant 为 refresh_token 的公开客户端用 none",
	"fields.private_key":             "签署断言的私钥：PEM 或 JWK",
	"fields.key_id":                  "断言的 kid",
	"fields.algorithm":               "断言的 alg（默认由密钥决定）",
	"fields.assertion_audience":      "断言的 aud（默认为 token_url）",
	"fields.certificate":             "mtls 所用客户端证书的 PEM 文件，每次请求时读取",
	"fields.certificate_key":         "证书私钥的 PEM 文件",
	"fields.issuer_id":               "jwt_bearer 断言的 iss（默认为 client_id）",
	"fields.subject":                 "jwt_bearer 断言的 sub，或 Google 服务账号所代表的用户",
	"fields.claims":                  "断言中的其他声明",
	"fields.scopes":                  "请求的 scope",
	"fields.audience":                "参数 audience",
	"fields.params":                  "每个请求的其他参数，登录的请求也包括在内",
	"fields.lifetime":                "签发方未说明时 token 的有效期（默认 10m）",
	"fields.repeat":                  "重复调用对前一个 token 的影响：keeps（仍有效，默认）、same（返回同一个）或 kills（使其失效）",
	"fields.app_id":                  "应用的 id",
	"fields.installation_id":         "installation 的 id",
	"fields.repositories":            "token 可用的仓库（默认全部）",
	"fields.permissions":             "token 的权限（默认为 installation 的全部权限）",
	"fields.key":                     "密钥的 JSON 文件",
	"fields.preset":                  "厂商：" + strings.Join(sources.PresetNames(), "、"),
	"fields.issuer":                  "其他签发方的描述，格式同 coordinator/httpsource/presets 中的文件",
	"fields.app_key":                 "preset 的参数：AppKey（Client ID）",
	"fields.app_secret":              "preset 的参数：AppSecret（Client Secret）",
	"fields.appkey":                  "preset 的参数：AppKey（Client ID）",
	"fields.appsecret":               "preset 的参数：AppSecret（Client Secret）",
	"fields.client_key":              "preset 的参数：Client Key（AppID）",
	"fields.host":                    "preset 的参数：e签宝测试环境为 smlopenapi.esign.cn，Lark 为 open.larksuite.com，中国境外的 OPPO 为 api-intl.push.oppomobile.com",
	"fields.master_secret":           "preset 的参数：MasterSecret",
	"accounts[].limits.window":       "per_day 次调用所在的时间窗口（默认由 source 决定，否则为一天）",
	"fields.appid":                   "AppID（默认为 name）",
	"fields.secret":                  "AppSecret，或该应用的 secret",
	"form.text":                      "文本",
	"form.secret":                    "密钥",
	"form.key":                       "密钥文件（PEM 或 JSON）",
	"form.file":                      "文件",
	"form.list":                      "列表",
	"form.map":                       "映射",
	"form.group":                     "字段组",
	"accounts[].limits":              "该账号自己的限额",
	"accounts[].limits.per_day":      "每天调用签发接口的次数（默认为 budget.per_day）",
	"accounts[].limits.reserve":      "其中保留给定时刷新的次数，从 1 到小于 per_day（默认为 budget.reserve，且不超过 per_day 的十分之一）",
	"accounts[].limits.min_interval": "两次按请求刷新之间的最短间隔（默认为 budget.min_interval）",

	"users[].name":          "调用方名称，不得含 : ~ ,",
	"users[].password":      "密码的哈希，由 `zhongkong passwd` 输出；或密钥的哈希，由 `zhongkong passwd --key` 输出；更换期间可以写成列表，每个在 `- ` 之后单独占一行，最多 3 个，全部有效",
	"users[].accounts":      `可以获取 token 的账号：名称列表，或 "*" 表示全部`,
	"users[].refresh":       "是否可以强制刷新（默认 false）",
	"users[].grant":         "可以通过 PUT /v1/grants 放入这些账号的 refresh token 和 auth_code（默认 false）",
	"users[].phantom":       "是否用替身代替 token：替身只在本集群的路由上有效（默认 false）",
	"users[].told":          "告知该调用方的最长有效期，例如 4m：短于微信 5 分钟的新旧 token 重叠期时，即使有强制刷新，它也不会持有失效的 token（默认到该 token 预计失效为止）",
	"users[].told_at_least": "token 的剩余时间足够时，告知该调用方的最短有效期；供会先减去一段余量、减完不足便出错的 SDK 使用：它可能短时间持有失效的 token（默认没有最短值）",
	"users[].udp_key":       "数据报密钥：32 字节的 base64，即 `zhongkong keygen` 输出中冒号之后的部分",

	"routes[].name":    "路径中的名称：路由位于 /proxy/NAME/",
	"routes[].account": "填入哪个账号的 token",
	"routes[].listen":  "路由自己的监听地址，路由位于其根路径，供基地址不能带路径的 SDK 使用；TLS 和 plaintext_ok 的规则与 listen 相同",
	"routes[].to":      "上游的 URL（默认为该账号的接口地址）",
	"routes[].put":     "上游在哪里读取 token：bearer、query NAME 或 header NAME（微信账号默认为 query access_token）",

	"files[].account":  "写入哪个账号的 token；用法见 files.zh-CN.md",
	"files[].path":     "文件的绝对路径，每次 token 变化时以 rename 替换；旁边的 PATH.expiry 给出 token 的到期时间",
	"files[].format":   "raw（默认：只有 token，没有换行）或 json（GET /v1/tokens 的记录）",
	"files[].template": "其他任何格式：Go 的 text/template，字段同上述记录，如 {{.access_token}}；启动时试用一次",
	"files[].mode":     `文件权限，八进制数字，写在引号中（默认 "0600"）`,
	"files[].owner":    "文件的属主：USER、USER:GROUP 或 :GROUP（默认为本进程的用户；交给其他用户需要 root）",
	"files[].notify":   "每次变化之后执行的命令，写成单词的列表；不经过 shell，30 秒后杀死，失败时重复执行直到成功",

	"form.names":                       "名称列表",
	"sources.wechat_platform":          "微信第三方平台的 component_access_token；每个授权给它的账号自动成为一个以其 AppID 为名的账号",
	"sources.wecom_suite":              "企业微信套件（第三方应用，或 suite_id 以 dk 开头的代开发应用模板）的 suite_access_token；每个安装了它的企业自动成为一个账号 SUITEID.CORPID",
	"fields.suite_id":                  "SuiteID（默认取 name）",
	"fields.callback_token":            "平台后台中回调 URL 的 Token",
	"fields.encoding_aes_key":          "回调 URL 的 EncodingAESKey",
	"fields.previous_encoding_aes_key": "上次更换之前的 EncodingAESKey",
	"fields.authorizers":               "哪些授权方（企业）成为账号：它们的 id，或 \"*\" 表示全部（默认）",
}

func TestEveryDefaultIsAValueOfItsSetting(t *testing.T) {
	for _, s := range Settings() {
		if s.Default != "" && s.Otherwise != "" {
			t.Errorf("%s has two defaults", s.Key)
		}
		if s.Default == "" {
			continue
		}
		if err := s.apply(&Config{}, s.Default); err != nil {
			t.Errorf("%s: the default %s: %v", s.Key, s.Default, err)
		}
	}
}
