package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/referencetest"
)

// commandWords are the words of the page of commands around those of the table.
type commandWords struct {
	file, introduction                 string
	commands, options, names           []string // headings of tables
	global, settings, table, variables string
	chinese                            bool
	say                                func(string) string
}

func TestThePageOfCommandsIsThatOfTheTable(t *testing.T) {
	catalog := referencetest.Open(t, "internal/referencetest/zh/commands.po")
	english := commandWords{
		file: "docs/reference/commands.md",
		introduction: `# Commands

[中文](commands.zh-CN.md)

    zhongkong [global options] command [options] [NAME...]

A test generates this page from the table of commands. ` + "`NAME`" + ` is the name of an account: its AppID unless the configuration says otherwise. It may be left
out if there is only one account. Options may stand before or after names. Data goes to stdout, messages and logs to stderr. [Exit codes](exit-codes.md) are the
same for all commands.

`,
		commands: []string{"command", "does"}, options: []string{"option", "meaning"}, names: []string{"variable", "meaning"},
		global:   "## Global options\n\nThey are [settings](../configuration.md#settings), which can also be variables or fields of the configuration file; `--version` prints the version:\n\n",
		settings: "Its [settings](../configuration.md#settings), which can also be variables or fields of the configuration file:\n\n",
		table:    "default", variables: "## Variables\n\nEach setting has a variable `ZHONGKONG_…`, see [Configuration](../configuration.md#settings). Others that begin so are refused, except these:\n\n",
		say: func(text string) string { return text },
	}
	chinese := commandWords{
		file: "docs/reference/commands.zh-CN.md",
		introduction: `# 命令

[English](commands.md)

    zhongkong [global options] command [options] [NAME...]

本页由测试根据命令表生成。` + "`NAME`" + ` 是账号名：默认就是 AppID，除非配置另有规定；只有一个账号时可以省略。选项放在名称之前或之后均可。数据输出到 stdout，
提示和日志输出到 stderr。所有命令的[退出码](exit-codes.zh-CN.md)含义相同。

`,
		commands: []string{"命令", "作用"}, options: []string{"选项", "含义"}, names: []string{"环境变量", "含义"},
		global:   "## 全局选项\n\n它们都是[配置项](../configuration.zh-CN.md#配置项)，也可以用环境变量或配置文件给出；`--version` 输出版本：\n\n",
		settings: "它的[配置项](../configuration.zh-CN.md#配置项)，也可以用环境变量或配置文件给出：\n\n",
		table:    "默认", variables: "## 环境变量\n\n每个配置项都有对应的 `ZHONGKONG_…` 变量，见[配置参考](../configuration.zh-CN.md#配置项)。其他以此开头的变量会被拒绝，以下除外：\n\n",
		say: catalog.Chinese, chinese: true,
	}
	for _, words := range []commandWords{english, chinese} {
		referencetest.Page(t, words.file, words.page())
	}
}

func (w commandWords) page() string {
	all := newCommandTable(program{}.app())
	var b strings.Builder
	b.WriteString(w.introduction)
	referencetest.Heading(&b, w.commands...)
	for _, c := range all.Commands {
		referencetest.Row(&b, "["+c.Name+"](#"+c.Name+")", w.marked(w.say(c.Usage)))
	}
	settings, _ := w.split(all.Globals)
	fmt.Fprintf(&b, "\n%s%s\n", w.global, settings)
	for _, c := range all.Commands {
		w.command(&b, c)
	}
	b.WriteString("\n" + w.variables)
	referencetest.Heading(&b, w.names...)
	for _, name := range variables {
		referencetest.Row(&b, "`"+name+"`", w.marked(w.variable(all, name)))
	}
	return b.String()
}

// command writes the section of a command.
func (w commandWords) command(b *strings.Builder, c command) {
	usage := strings.TrimSpace("zhongkong " + c.Name + " " + c.ArgsUsage)
	fmt.Fprintf(b, "\n## %s\n\n    %s\n\n%s%s\n", c.Name, usage, w.marked(sentence(w.say(c.Usage), w.chinese)), w.description(c.Description))
	settings, own := w.split(c.Options)
	if settings != "" {
		fmt.Fprintf(b, "\n%s%s\n", w.settings, settings)
	}
	if len(own) > 0 {
		b.WriteString("\n")
		referencetest.Heading(b, w.options...)
	}
	for _, o := range own {
		usage, variable := cutVariable(o.Full)
		usage = w.marked(w.say(usage))
		if o.Default != "" && w.chinese {
			usage += "（" + w.table + " `" + o.Default + "`）"
		} else if o.Default != "" {
			usage += " (" + w.table + " `" + o.Default + "`)"
		}
		flag := "`" + strings.TrimSpace(o.Flag()+" "+o.Arg) + "`"
		if variable != "" {
			flag += ", `" + variable + "`"
		}
		referencetest.Row(b, flag, usage)
	}
}

// split returns the flags of the settings among options, as a list, and the others.
func (w commandWords) split(options []option) (settings string, own []option) {
	var flags []string
	for _, o := range options {
		_, variable := cutVariable(o.Full)
		isSetting := slices.ContainsFunc(config.Settings(), func(s config.Setting) bool { return s.Flag() == o.Name && s.Env() == variable })
		switch {
		case isSetting:
			flags = append(flags, "`"+o.Flag()+"`")
		case o.Name != "help" && o.Name != "version":
			own = append(own, o)
		}
	}
	separator := ", "
	if w.chinese {
		separator = "、"
	}
	return strings.Join(flags, separator), own
}

// description makes Markdown of a command's description. Its indented paragraphs are
// commands, lists, or commands with explanations.
func (w commandWords) description(text string) string {
	var b strings.Builder
	for _, paragraph := range strings.Split(strings.Trim(text, "\n"), "\n\n") {
		lines := strings.Split(strings.TrimRight(paragraph, "\n"), "\n")
		for i := range lines {
			lines[i] = strings.TrimPrefix(lines[i], "   ")
		}
		plain := strings.Join(lines, "\n")
		switch {
		case plain == "":
		case !strings.HasPrefix(paragraph, "   "):
			fmt.Fprintf(&b, "\n\n%s", w.marked(w.say(strings.Join(lines, " "))))
		case strings.HasPrefix(plain, "1. "):
			fmt.Fprintf(&b, "\n\n%s", w.marked(w.say(plain)))
		case regexp.MustCompile(`\S {2,}[^ #]`).MatchString(plain):
			fmt.Fprintf(&b, "\n\n```text\n%s\n```", w.say(plain))
		default:
			fmt.Fprintf(&b, "\n\n```sh\n%s\n```", plain)
		}
	}
	return b.String()
}

// variable returns what a variable that is no setting is for.
func (w commandWords) variable(all commandTable, name string) string {
	for _, c := range all.Commands {
		for _, o := range c.Options {
			if usage, variable := cutVariable(o.Full); variable == name {
				return "`zhongkong " + c.Name + "`: " + w.say(usage)
			}
		}
	}
	switch name {
	case envAskKey:
		return "`zhongkong ask`: " + w.say("the user's udp_key itself")
	case "ZHONGKONG_BIN":
		return w.say("ignored, so that scripts which call this program may have its path there")
	}
	return "?"
}

// cutVariable cuts the variable off a usage.
func cutVariable(full string) (usage, variable string) {
	usage, variable, _ = strings.Cut(full, " [$")
	return usage, strings.TrimSuffix(variable, "]")
}

// sentence makes a sentence of a usage.
func sentence(usage string, chinese bool) string {
	if chinese {
		return usage + "。"
	}
	return strings.ToUpper(usage[:1]) + usage[1:] + "."
}

// marked puts flags, variables, paths and fields of the configuration into backquotes.
func (commandWords) marked(text string) string {
	return regexp.MustCompile(`(--[a-z][a-z-]*|\b(?:users|redirect):|\$ZHONGKONG_[A-Z_]+|\bGET /[a-z]+|/(?:healthz|readyz|metrics|sandbox|wecom|http|oauth2)(?:/[a-zNAME]+)*/?)`).
		ReplaceAllString(text, "`$1`")
}

// Ask and the simulator have options that are called like settings of serve, and read neither
// their variables nor their fields.
func TestThePageOfCommandsCallsNoOptionASettingThatOnlyHasItsName(t *testing.T) {
	for _, file := range []string{"commands.md", "commands.zh-CN.md"} {
		page := readText(t, "cmd/zhongkong/docs/reference/"+file)
		for name, flag := range map[string]string{"ask": "--udp ADDR", "sandbox": "--listen ADDR"} {
			_, section, _ := strings.Cut(page, "\n## "+name+"\n")
			section, _, _ = strings.Cut(section, "\n## ")
			if !strings.Contains(section, "| `"+flag+"` |") {
				t.Errorf("%s: %s is not among the own options of %s", file, flag, name)
			}
		}
	}
}

func TestThePageOfCommandsNamesEveryVariable(t *testing.T) {
	if page := readText(t, "cmd/zhongkong/docs/reference/commands.md"); strings.Contains(page, "| ? |") {
		t.Error("a variable of app.go has no meaning in reference_test.go")
	}
}
