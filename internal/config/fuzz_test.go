package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// FuzzLoad feeds both loaders. What loads must print to what loads to the same;
// what does not must say where.
func FuzzLoad(f *testing.F) {
	f.Add(fullController, "")
	f.Add("zone = \"x\"\n[controller]\nhost = \"10.0.0.1\"", "RAID_NODE_RESERVE=0")
	f.Add("http.listen = \":1\"\nhttp.\"auth\" = 'off'", "RAID_CONTROLLER_URL=x")
	f.Add("http = {listen = \":1\", # c\n auth = \"off\"}\n[[raid]]\n[raid.x]", "")
	f.Add("a.b.c = [{x = 1}, [2, 1.5e3, inf]]\r\n\"\" = 1979-05-27T07:32:00Z", "RAID_NODE_=1")
	f.Add("state_dir = \"\"\"\n/x\\\n \"\"\"", "RAID_NODE_ZONE=\x00")
	path := filepath.Join(f.TempDir(), "c.toml") // a folder for each run would take most of the time
	f.Fuzz(func(t *testing.T, text, variable string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		env := []string{variable}
		c, origins, err := LoadController(path, env)
		reloads(t, path, c, origins, err, func(p string) (any, error) { c, _, err := LoadController(p, nil); return c, err })
		n, origins, err := LoadNode(path, env)
		reloads(t, path, n, origins, err, func(p string) (any, error) { n, _, err := LoadNode(p, nil); return n, err })
	})
}

func reloads(t *testing.T, path string, cfg any, origins Origins, err error, load func(string) (any, error)) {
	t.Helper()
	if err != nil {
		for _, p := range err.(*Error).Problems {
			if p.Message == "" || strings.ContainsAny(p.String(), "\n\x00") {
				t.Errorf("problem %+v does not tell in one line what is wrong", p)
			}
		}
		return
	}
	var b strings.Builder
	if err := printConfig(&b, cfg, origins); err != nil {
		t.Fatal(err)
	}
	printed := path + ".printed"
	if err := os.WriteFile(printed, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := load(printed)
	if err != nil || !reflect.DeepEqual(again, cfg) {
		t.Errorf("%+v prints as\n%s\nwhich loads to %+v, %v", cfg, b.String(), again, err)
	}
}
