package house

import (
	"go/ast"
	"go/doc/comment"
	"regexp"
	"strings"
	"testing"
)

// longSentence is the number of words that a sentence of a doc comment may have.
const longSentence = 25

// Figures that may only fall: sentences that have more words, and those with a turn that
// makes a reader look twice. Who makes ten better lowers them here.
const (
	longSentences = 142
	oddSentences  = 36
)

// oddTurns stand where a noun or a verb would.
var oddTurns = regexp.MustCompile(`(?i)\b(is|are) (what|how|who)\b`)

var (
	endOfSentence = regexp.MustCompile(`[.!?](\s|$)`)
	blanks        = regexp.MustCompile(`\s+`)
)

// Doc comments say one fact a sentence.
func TestSentencesOfDocCommentsAreShort(t *testing.T) {
	var long, odd []string
	for _, f := range all(t).files {
		if f.generated || f.isTest() {
			continue
		}
		for _, doc := range docsOf(f.File) {
			for _, s := range sentencesOf(doc.Text()) {
				if words := strings.Fields(s); len(words) > longSentence {
					long = append(long, f.path+": "+s)
				}
				if oddTurns.MatchString(s) {
					odd = append(odd, f.path+": "+s)
				}
			}
		}
	}
	if len(long) > longSentences || len(long) <= longSentences-10 {
		t.Errorf("%d sentences of doc comments have more than %d words, longSentences is %d:\n%s", len(long), longSentence, longSentences, strings.Join(long, "\n"))
	}
	if len(odd) > oddSentences || len(odd) <= oddSentences-10 {
		t.Errorf("%d sentences of doc comments say %s, oddSentences is %d:\n%s", len(odd), oddTurns, oddSentences, strings.Join(odd, "\n"))
	}
}

// docsOf are the doc comments of a file: its package's, and those of declarations,
// fields and methods.
func docsOf(f *ast.File) (docs []*ast.CommentGroup) {
	ast.Inspect(f, func(n ast.Node) bool {
		var doc *ast.CommentGroup
		switch n := n.(type) {
		case *ast.File:
			doc = n.Doc
		case *ast.FuncDecl:
			doc = n.Doc
		case *ast.GenDecl:
			doc = n.Doc
		case *ast.TypeSpec:
			doc = n.Doc
		case *ast.ValueSpec:
			doc = n.Doc
		case *ast.Field:
			doc = n.Doc
		}
		if doc != nil {
			docs = append(docs, doc)
		}
		return true
	})
	return docs
}

// sentencesOf are the sentences of a doc comment's paragraphs and lists, without its code.
func sentencesOf(text string) (sentences []string) {
	var p comment.Parser
	for _, b := range p.Parse(text).Content {
		var texts []string
		switch b := b.(type) {
		case *comment.Paragraph:
			texts = append(texts, plain(b))
		case *comment.List:
			for _, i := range b.Items {
				for _, b := range i.Content {
					texts = append(texts, plain(b))
				}
			}
		}
		for _, s := range texts {
			for _, s := range endOfSentence.Split(blanks.ReplaceAllString(s, " "), -1) {
				if s != "" {
					sentences = append(sentences, s)
				}
			}
		}
	}
	return sentences
}

func plain(b comment.Block) string {
	var p comment.Printer
	return string(p.Text(&comment.Doc{Content: []comment.Block{b}}))
}
