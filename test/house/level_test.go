package house

import (
	"go/ast"
	"go/token"
	"regexp"
	"strings"
	"testing"
)

// levelKnown are the files outside of internal/stripe that may know parts of a level by
// number, and for what.
var levelKnown = map[string]string{}

// Names of single parts, and names of levels.
var (
	partByName = regexp.MustCompile(`(?i)^part[1-9]`)
	levelName  = regexp.MustCompile(`^"raid\d"$`)
)

// A level is a file in internal/stripe and a line in its table. It stays so as long as
// nobody else knows how many parts there are, or asks which of them it has.
func TestOnlyStripeKnowsTheNumbersOfALevel(t *testing.T) {
	used := map[string]bool{}
	for _, f := range all(t).files {
		if f.isTest() || f.generated || strings.HasPrefix(f.dir(), "test/") || strings.HasPrefix(f.dir(), "internal/stripe") {
			continue
		}
		ast.Inspect(f.File, func(n ast.Node) bool {
			found := ""
			switch n := n.(type) {
			case *ast.Ident:
				if partByName.MatchString(n.Name) {
					found = n.Name
				}
			case *ast.BasicLit:
				if levelName.MatchString(n.Value) || n.Kind == token.STRING && partByName.MatchString(strings.Trim(n.Value, "`\"")) {
					found = n.Value
				}
			case *ast.BinaryExpr:
				if isPart(n.X) && isNumber(n.Y) || isPart(n.Y) && isNumber(n.X) {
					found = "a part compared with a number"
				}
			case *ast.SwitchStmt:
				if n.Tag != nil && isPart(n.Tag) {
					found = "a switch over parts"
				}
			}
			if used[f.path] = used[f.path] || found != ""; found != "" && levelKnown[f.path] == "" {
				t.Errorf("%s has %s: ask the stripe.Level", f.path, found)
			}
			return true
		})
	}
	for path, why := range levelKnown {
		if !used[path] {
			t.Errorf("%s may know parts by number (%s) and does not", path, why)
		}
	}
}

// isPart reports whether an expression is the number of a part.
func isPart(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "part"
	case *ast.SelectorExpr:
		return e.Sel.Name == "Part"
	}
	return false
}

// isNumber reports whether an expression is a number that is a part's in some level: parts
// count from 1, which any level has.
func isNumber(e ast.Expr) bool {
	lit, ok := e.(*ast.BasicLit)
	return ok && lit.Kind == token.INT && lit.Value != "0" && lit.Value != "1"
}
