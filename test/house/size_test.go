package house

import (
	"go/ast"
	"slices"
	"testing"
)

const (
	maxFileLines     = 600
	maxFunctionLines = 120
	p90FunctionLines = 40
	medianFileLines  = 150
	maxMethods       = 5
)

// wideInterfaces may have more methods than maxMethods, for the reason given.
var wideInterfaces = map[string]string{
	"catalogtest.Catalog":    "all of them together are the contract of a catalog",
	"catalogtest.controller": "who puts the parts together asks for what no part asks for",
}

func TestFilesAndFunctionsStaySmall(t *testing.T) {
	s := all(t)
	var files, functions []int
	for _, f := range s.files {
		if f.generated {
			continue
		}
		if f.lines > maxFileLines {
			t.Errorf("%s has %d lines, want at most %d", f.path, f.lines, maxFileLines)
		}
		if !f.isTest() {
			files = append(files, f.lines)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			n := s.lines(fn)
			if n > maxFunctionLines {
				t.Errorf("%s: %s has %d lines, want at most %d", f.path, fn.Name.Name, n, maxFunctionLines)
			}
			if !f.isTest() {
				functions = append(functions, n)
			}
		}
	}
	if m := percentile(files, 50); m > medianFileLines {
		t.Errorf("the median file has %d lines, want at most %d", m, medianFileLines)
	}
	if p := percentile(functions, 90); p > p90FunctionLines {
		t.Errorf("the 90th percentile of functions has %d lines, want at most %d", p, p90FunctionLines)
	}
}

func percentile(values []int, p int) int {
	slices.Sort(values)
	return values[(len(values)-1)*p/100]
}

func TestInterfacesStayNarrow(t *testing.T) {
	for _, f := range all(t).files {
		if f.generated {
			continue
		}
		ast.Inspect(f.File, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			iface, ok := spec.Type.(*ast.InterfaceType)
			if !ok {
				return true
			}
			name := f.Name.Name + "." + spec.Name.Name
			if methods := iface.Methods.NumFields(); methods > maxMethods && wideInterfaces[name] == "" {
				t.Errorf("%s: interface %s has %d methods, want at most %d", f.path, name, methods, maxMethods)
			}
			return true
		})
	}
}
