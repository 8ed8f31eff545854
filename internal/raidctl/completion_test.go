package raidctl

import (
	"bytes"
	"testing"
)

func TestCompletionCommandPrintsWhatThePackageInstalls(t *testing.T) {
	var packaged bytes.Buffer
	if err := WriteBash(Tree(), &packaged); err != nil {
		t.Fatal(err)
	}
	raidctl(t, "completion", "bash").want(t, 0, packaged.String())
}
