package logging_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logging"
)

const root = "../../../.."

// TestEveryLineOfTheLogUsesTheNamesOfTheTable reads the source of all that logs.
func TestEveryLineOfTheLogUsesTheNamesOfTheTable(t *testing.T) {
	kinds := map[string]logging.Kind{}
	for _, a := range logging.Attributes() {
		if kinds[a.Name] != "" {
			t.Errorf("%s is in the table twice", a.Name)
		}
		kinds[a.Name] = a.Kind
		if wrong := unitIn(a); wrong != "" {
			t.Errorf("%s: %s", a.Name, wrong)
		}
	}
	used := map[string]bool{}
	for _, found := range attributesUsed(t) {
		used[found.name] = true
		switch kind := kinds[found.name]; {
		case found.name == "":
			t.Errorf("%s: the attributes of this line cannot be read: write them as name, value, or add their form to this test", found.at)
		case kind == "":
			t.Errorf("%s: %q is not in the table of attributes (attributes.go): use a name that is there for this, or add it", found.at, found.name)
		case (kind == logging.Seconds) != found.seconds:
			t.Errorf("%s: %q has kind %q, and its value %s a number of seconds (d.Seconds(), or seconds(d))",
				found.at, found.name, kind, map[bool]string{true: "is", false: "is not"}[found.seconds])
		}
	}
	for name := range kinds {
		if !used[name] {
			t.Errorf("no line uses %q: take it out of the table", name)
		}
	}
}

// unitIn says what is wrong with an attribute's name.
func unitIn(a logging.Attribute) string {
	switch {
	case strings.HasSuffix(a.Name, "_seconds") != (a.Kind == logging.Seconds):
		return "seconds, and they alone, have names that end in _seconds"
	case strings.HasSuffix(a.Name, "_bytes") != (a.Kind == logging.Bytes):
		return "sizes, and they alone, have names that end in _bytes"
	case strings.HasSuffix(a.Name, "_ms"):
		return "times are in seconds"
	}
	return ""
}

// attribute is one use of a name; "": what is used there cannot be read.
type attribute struct {
	name    string
	seconds bool // its value is a number of seconds
	at      token.Position
}

// attributesUsed returns the attributes of all lines in the source.
func attributesUsed(t *testing.T) []attribute {
	t.Helper()
	var all []attribute
	set := token.NewFileSet()
	for _, dir := range []string{"coordinator", "redisstore", "cmd/zhongkong"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(set, path, nil, 0)
			if err != nil {
				return err
			}
			for _, declared := range file.Decls {
				if f, ok := declared.(*ast.FuncDecl); ok && f.Body != nil {
					r := lineReader{set: set, body: f.Body}
					ast.Inspect(f, r.look)
					all = append(all, r.found...)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(all) < 300 {
		t.Fatalf("only %d attributes were found: this test no longer finds the lines", len(all))
	}
	return all
}

// lineReader finds the attributes in one function.
type lineReader struct {
	set     *token.FileSet
	body    *ast.BlockStmt
	found   []attribute
	reading []string // variables whose values are being read
}

// logs are the methods of loggers, with the index of the first attribute. "log" is what the
// program itself has that passes attributes on.
var logs = map[string]int{
	"Debug": 1, "Info": 1, "Warn": 1, "Error": 1, "With": 0,
	"DebugContext": 2, "InfoContext": 2, "WarnContext": 2, "ErrorContext": 2, "Log": 3, "LogAttrs": 3,
}

func (r *lineReader) look(n ast.Node) bool {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return true
	}
	switch f := call.Fun.(type) {
	case *ast.SelectorExpr:
		if on, ok := f.X.(*ast.Ident); ok && on.Name == "slog" {
			r.constructor(f.Sel.Name, call)
			return true
		}
		if first, ok := logs[f.Sel.Name]; ok && isLogger(f.X) {
			r.line(call, first)
		}
	case *ast.Ident:
		switch f.Name {
		case "attrs":
			r.pairs(call.Args)
		case "log": // a method of a logger in a variable
			r.line(call, 2)
		}
	}
	return true
}

// isLogger reports whether an expression is a logger by its name.
func isLogger(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name == "log" || x.Name == "logger"
	case *ast.SelectorExpr:
		return x.Sel.Name == "log" || x.Sel.Name == "Logger"
	case *ast.CallExpr: // slog.New(…), cmp.Or(…)
		f, ok := x.Fun.(*ast.SelectorExpr)
		return ok && (f.Sel.Name == "New" || f.Sel.Name == "Or")
	}
	return false
}

// constructor reads slog.String(name, value) and its like.
func (r *lineReader) constructor(name string, call *ast.CallExpr) {
	switch name {
	case "String", "Int", "Int64", "Uint64", "Float64", "Bool", "Time", "Any", "Duration", "Group":
		if key, ok := call.Args[0].(*ast.Ident); ok && key.Name == "key" {
			return
		}
		if _, ok := call.Args[0].(*ast.IndexExpr); ok { // attrs, which is read where it is called
			return
		}
		r.pairs(call.Args)
	}
}

// line reads a line of which arguments from the first-th on are attributes.
func (r *lineReader) line(call *ast.CallExpr, first int) {
	if len(call.Args) < first {
		return
	}
	args := call.Args[first:]
	if !call.Ellipsis.IsValid() {
		if len(args) > 0 && isConstructed(args[0]) {
			return // look reads them
		}
		r.pairs(args)
		return
	}
	r.list(args[len(args)-1])
}

// isConstructed reports whether an argument is an attribute, not a name.
func isConstructed(x ast.Expr) bool {
	_, isCall := x.(*ast.CallExpr)
	return isCall
}

// list reads what args... stands for.
func (r *lineReader) list(x ast.Expr) {
	switch x := x.(type) {
	case *ast.CallExpr:
		f, _ := x.Fun.(*ast.Ident)
		switch {
		case f != nil && f.Name == "attrs":
			return // look reads it
		case f != nil && f.Name == "append":
			r.appended(x)
			return
		}
	case *ast.Ident:
		if r.assigned(x.Name) || r.isParameter(x) {
			return
		}
	}
	r.found = append(r.found, attribute{at: r.set.Position(x.Pos())})
}

// appended reads append(list, name, value, …), in which list is read too.
func (r *lineReader) appended(call *ast.CallExpr) {
	if more := call.Args[1:]; !call.Ellipsis.IsValid() && !isConstructed(more[0]) {
		r.pairs(more)
	}
	if made, ok := call.Args[0].(*ast.CallExpr); ok {
		if f, ok := made.Fun.(*ast.Ident); ok && f.Name == "make" {
			return
		}
	}
	if of, ok := call.Args[0].(*ast.Ident); !ok || !r.isBeingRead(of.Name) {
		r.list(call.Args[0])
	}
}

// isBeingRead avoids the endless reading of args = append(args, …).
func (r *lineReader) isBeingRead(name string) bool { return slices.Contains(r.reading, name) }

// assigned reads all values of a variable of the function, false if it has none.
func (r *lineReader) assigned(name string) bool {
	r.reading = append(r.reading, name)
	defer func() { r.reading = r.reading[:len(r.reading)-1] }()
	found := false
	ast.Inspect(r.body, func(n ast.Node) bool {
		set, ok := n.(*ast.AssignStmt)
		if !ok {
			return true
		}
		for i, to := range set.Lhs {
			if v, ok := to.(*ast.Ident); !ok || v.Name != name || len(set.Rhs) != len(set.Lhs) {
				continue
			}
			found = true
			if literal, ok := set.Rhs[i].(*ast.CompositeLit); ok {
				r.pairs(literal.Elts)
				continue
			}
			r.list(set.Rhs[i])
		}
		return true
	})
	return found
}

// isParameter reports whether a name is that of attributes that a function of the program
// passes on; its callers construct them one by one.
func (r *lineReader) isParameter(x *ast.Ident) bool { return x.Name == "more" }

// pairs reads name, value, name, value.
func (r *lineReader) pairs(args []ast.Expr) {
	for i := 0; i < len(args); i += 2 {
		at := r.set.Position(args[i].Pos())
		name, ok := args[i].(*ast.BasicLit)
		if !ok || i+1 == len(args) {
			r.found = append(r.found, attribute{at: at})
			return
		}
		text, _ := strconv.Unquote(name.Value)
		r.found = append(r.found, attribute{text, isSeconds(args[i+1]), at})
	}
}

// isSeconds reports whether a value is made by d.Seconds() or seconds(d).
func isSeconds(x ast.Expr) bool {
	call, ok := x.(*ast.CallExpr)
	if !ok {
		return false
	}
	switch f := call.Fun.(type) {
	case *ast.SelectorExpr:
		return f.Sel.Name == "Seconds"
	case *ast.Ident:
		return f.Name == "seconds"
	}
	return false
}
