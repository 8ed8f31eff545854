package house

import (
	"go/ast"
	"regexp"
	"strings"
	"testing"
)

// privateWords are those that only we knew the meaning of, and what is said instead.
var privateWords = map[string]string{
	"attacker": "failingClient",
	"beat":     "heartbeat", "beats": "heartbeats",
	"besides": "maxParallel",
	"book":    "store",
	"calm":    "idle",
	"crowd":   "addressGroup", "crowds": "evictor",
	"desk":    "registrar",
	"door":    "connLimiter",
	"doubled": "colocated",
	"forgive": "readmit",
	"guest":   "tracked",
	"hurry":   "wake",
	"mend":    "repair", "mended": "repaired",
	"misfit": "mismatch",
	"remake": "rereplicate",
	"spurn":  "exclude", "spurned": "excluded",
}

var wordsOfName = regexp.MustCompile(`[A-Z]?[a-z]+|[A-Z]+`)

// Names are the field's terms, which a new engineer guesses the meaning of.
func TestNamesHaveNoPrivateWords(t *testing.T) {
	for _, f := range all(t).files {
		if f.generated || f.isTest() {
			continue
		}
		ast.Inspect(f.File, func(n ast.Node) bool {
			id, ok := n.(*ast.Ident)
			if !ok {
				return true
			}
			for _, w := range wordsOfName.FindAllString(id.Name, -1) {
				if say := privateWords[strings.ToLower(w)]; say != "" {
					t.Errorf("%s: %s has the private word %q: say %s, or what it is", f.path, id.Name, w, say)
				}
			}
			return true
		})
	}
}
