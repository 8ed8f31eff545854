package config

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

const manual = "../../docs/configuration.md"

func TestManualShowsEveryKeyWithItsDefault(t *testing.T) {
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) != 4 {
		t.Fatalf("%d TOML examples, want the two files and the two of several machines", len(blocks))
	}
	c, origins, err := LoadController(write(t, blocks[0][1]), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c, DefaultController()) {
		t.Errorf("the manual's defaults are %+v", c)
	}
	n, nodeOrigins, err := LoadNode(write(t, blocks[1][1]), nil)
	if err != nil {
		t.Fatal(err)
	}
	if *n != *DefaultNode() {
		t.Errorf("the manual's defaults are %+v", n)
	}
	for _, f := range fieldsOf(c) {
		if origins[f.key].File == "" {
			t.Errorf("the manual leaves %s out", f.key)
		}
	}
	for _, f := range fieldsOf(n) {
		if nodeOrigins[f.key].File == "" {
			t.Errorf("the manual leaves raid-node's %s out", f.key)
		}
	}
	if _, _, err := LoadController(write(t, blocks[2][1]), nil); err != nil {
		t.Error(err)
	}
	if _, _, err := LoadNode(write(t, blocks[3][1]), nil); err != nil {
		t.Error(err)
	}
}

func TestManualQuotesRealMessages(t *testing.T) {
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	got := refused(t, "", "\n\n[http]\nlisen = \":1\"\n\n\n\n[nodes]\nsettle = \"10\"\n", nil)
	for line := range strings.SplitSeq(got, "\n") {
		_, message, _ := strings.Cut(line, ": ")
		if !strings.Contains(string(text), message) {
			t.Errorf("the manual does not quote %q", message)
		}
	}
}
