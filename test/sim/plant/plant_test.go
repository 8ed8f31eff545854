package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A bug whose place is gone would not be planted, and so never be found.
func TestBugsFitTheSources(t *testing.T) {
	for _, b := range bugs {
		planted := map[string]string{}
		for _, e := range b.edits {
			text, there := planted[e.file]
			if !there {
				bytes, err := os.ReadFile(filepath.Join("../../..", e.file))
				if err != nil {
					t.Errorf("%s: %v", b.name, err)
					continue
				}
				text = string(bytes)
			}
			if n := strings.Count(text, e.old); n != 1 {
				t.Errorf("%s: %s has %d times %q", b.name, e.file, n, e.old)
			}
			planted[e.file] = strings.Replace(text, e.old, e.new, 1)
		}
	}
}
