package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheProgramForEventsMustBeThere(t *testing.T) {
	dir := t.TempDir()
	good, plain := filepath.Join(dir, "good"), filepath.Join(dir, "plain")
	for path, mode := range map[string]os.FileMode{good: 0o755, plain: 0o644} {
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	c, _, err := LoadController(write(t, "[events]\nexec = \""+good+"\"\n"), nil)
	if err != nil || c.Events.Exec != good {
		t.Errorf("%+v, %v", c, err)
	}
	for exec, want := range map[string]string{
		"raid-event":              "relative path",
		filepath.Join(dir, "no"):  "there is no program",
		good + " --with-argument": "Arguments can't be given",
		dir:                       "no file",
		plain:                     "chmod 755",
	} {
		path := write(t, "\n[events]\n  exec = \""+exec+"\"\n")
		_, _, err := LoadController(path, nil)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path+":3:") {
			t.Errorf("%s: %v", exec, err)
		}
	}
}
