package httpapi

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// documentedRequest is a row of the reference page.
type documentedRequest struct{ who, takes, answers string }

func documentedRequests(t *testing.T, page string) map[string]documentedRequest {
	t.Helper()
	all := map[string]documentedRequest{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[A-Z]+ /[^|]*`) \\| ([^|]+) \\| ([^|]+) \\| ([^|]+) \\|$").FindAllStringSubmatch(page, -1) {
		for _, request := range regexp.MustCompile("`([A-Z]+ /[^`]*)`").FindAllStringSubmatch(row[1], -1) {
			if _, twice := all[request[1]]; twice {
				t.Errorf("%s is there twice", request[1])
			}
			all[request[1]] = documentedRequest{row[2], row[3], row[4]}
		}
	}
	return all
}

// TestTheReferenceHasEveryRequest compares the pages with the routes and their description.
func TestTheReferenceHasEveryRequest(t *testing.T) {
	d := loadDescription(t)
	s := emptyStage(t)
	for file, caller := range map[string]string{"http.md": "a caller", "http.zh-CN.md": "调用方"} {
		text, err := os.ReadFile("../../docs/reference/" + file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(file, func(t *testing.T) {
			documented := documentedRequests(t, string(text))
			for _, e := range s.endpoints() {
				for method := range e.methods {
					if method == http.MethodHead {
						continue
					}
					request := method + " " + e.path
					row, found := documented[request]
					delete(documented, request)
					if !found {
						t.Errorf("there is no row of %s", request)
						continue
					}
					if e.access == private && !strings.Contains(row.who, caller) {
						t.Errorf("%s: who is %q, and it answers only callers", request, row.who)
					}
					d.sameAs(t, request, row)
				}
			}
			for request := range documented {
				t.Errorf("there is no %s", request)
			}
			d.sameErrors(t, string(text))
		})
	}
}

// sameAs compares a row with the description: statuses, and names of what it takes.
func (d descriptionDoc) sameAs(t *testing.T, request string, row documentedRequest) {
	t.Helper()
	method, path, _ := strings.Cut(request, " ")
	operation := d.at(d.root, "paths", path, strings.ToLower(method))
	want := slices.Sorted(maps.Keys(d.at(operation, "responses")))
	got := regexp.MustCompile(`\b[2-5]\d\d\b`).FindAllString(row.answers, -1)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s: the row has the statuses %q, openapi.yaml %q", request, got, want)
	}
	var names []string
	parameters, _ := operation["parameters"].([]any)
	for _, p := range parameters {
		names = append(names, fmt.Sprint(d.at(p)["name"]))
	}
	for kind := range d.at(operation, "requestBody", "content") {
		names = slices.AppendSeq(names, maps.Keys(d.at(operation, "requestBody", "content", kind, "schema", "properties")))
	}
	for _, name := range names {
		if !regexp.MustCompile("`" + regexp.QuoteMeta(name) + "[`=]").MatchString(row.takes) {
			t.Errorf("%s: the row does not name `%s`", request, name)
		}
	}
}

// sameErrors compares the table of errors with the description's codes, and looks for
// each described header.
func (d descriptionDoc) sameErrors(t *testing.T, page string) {
	t.Helper()
	var got []string
	for _, row := range regexp.MustCompile("(?m)^\\| [\\d, ]+ \\| (`[^|]*) \\|").FindAllStringSubmatch(page, -1) {
		for _, code := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(row[1], -1) {
			got = append(got, code[1])
		}
	}
	var want []string
	for _, code := range d.at(d.root, "components", "schemas", "error", "properties", "error")["enum"].([]any) {
		want = append(want, fmt.Sprint(code))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the page has the errors %q, openapi.yaml %q", got, want)
	}
	for _, path := range d.at(d.root, "paths") {
		for _, operation := range path.(node) {
			for status := range d.at(operation, "responses") {
				for header := range d.at(operation, "responses", status, "headers") {
					if !strings.Contains(page, "`"+header+"`") {
						t.Errorf("the page does not have the header %s", header)
					}
				}
			}
		}
	}
}
