package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// refused loads a text as one of the two files and returns the error's lines
// with the file's name taken out.
func refused(t *testing.T, program, text string, env []string) string {
	t.Helper()
	path := write(t, text)
	var err error
	if program == "node" {
		_, _, err = LoadNode(path, env)
	} else {
		_, _, err = LoadController(path, env)
	}
	var ce *Error
	if err != nil && !errors.As(err, &ce) {
		t.Fatalf("%v is no *Error", err)
	}
	if err == nil {
		return ""
	}
	return strings.ReplaceAll(err.Error(), path+":", "")
}

func TestWrongFilesAreRefusedWithPositionAndAdvice(t *testing.T) {
	cases := []struct{ name, program, text, want string }{
		{"unknown key", "", "[http]\nlisten = \":1\"\nlisen = \":2\"", "3:1: http.lisen: unknown key; did you mean listen?"},
		{"unknown key, nothing near", "", "[http]\n colour = 1", "2:2: http.colour: unknown key"},
		{"key in the wrong section", "", "listen = \":1\"", "1:1: listen: unknown key; it belongs in [http]"},
		{"top key in a section", "", "[http]\nstate_dir = \"/x\"", "2:1: http.state_dir: unknown key; it belongs at the top, above all sections"},
		{"dash for underscore", "", "state-dir = \"/x\"", "1:1: state-dir: unknown key; did you mean state_dir?"},
		{"unknown section", "", "[htp]\nlisten = \":1\"\nx = 2", "1:2: htp: unknown section; did you mean [http]?"},
		{"quoted path", "", `"http.listen" = ":1"`, "1:1: http.listen: unknown key"},
		{"section as value", "", "http = 3", "1:1: http: is a section: write [http] on a line of its own, its keys below"},
		{"section as list", "", "[[raid]]\ncopies = 2", "1:3: raid: is a section: write [raid] on a line of its own, its keys below"},
		{"value as section", "", "[reserve]\nx = 1", "1:2: reserve: want a text in quotes, got a table"},
		{"twice", "", "reserve = \"0\"\nreserve = \"1\"", "2:1: key reserve is already defined"},
		{"no TOML", "", "reserve: 0", "1:8: expected '=' after key"},
		{"unfinished", "", "reserve = \"0", "1:12: unterminated basic string"},
		{"not UTF-8", "", "reserve = \"\xff\"", "1:12: invalid UTF-8 character in basic string"},

		{"number for text", "", "state_dir = 7", "1:13: state_dir: want a text in quotes, got the number 7"},
		{"text for number", "", "[raid]\ncopies = \"two\"", `2:10: raid.copies: want a whole number, got the text "two"`},
		{"fraction", "", "[raid]\ncopies = 2.5", "2:10: raid.copies: want a whole number, got the number 2.5"},
		{"text for bool", "", "[raid]\ndegraded_writes = \"yes\"", `2:19: raid.degraded_writes: want true or false, got the text "yes"`},
		{"array for text", "", "[http]\nlisten = [\":1\"]", "2:1: http.listen: want a text in quotes, got an array"},
		{"date for size", "", "reserve = 2026-01-02", "1:11: reserve: want a text in quotes, got a date or time"},
		{"huge number", "", "[raid]\ncopies = 2147483647", "2:10: raid.copies: 2147483647 is out of range: 2 to 4"},

		{"size without unit name", "", `reserve = "5 apples"`, `1:11: reserve: bad unit " apples"; the units are B, KB, MB, GB, TB, KiB, MiB, GiB, TiB`},
		{"size with M", "", `reserve = "5M"`, `1:11: reserve: bad unit "M"; did you mean "5MiB" (powers of 1024) or "5MB" (powers of 1000)?`},
		{"size in small letters", "", `reserve = "5 gib"`, `1:11: reserve: bad unit " gib"; did you mean "5GiB"?`},
		{"size below zero", "", `reserve = "-5MB"`, `1:11: reserve: "-5MB" is no size: write a size such as "512MiB", "4GB" or "0"`},
		{"size too large", "", `reserve = "9999999999GiB"`, `1:11: reserve: "9999999999GiB" is too large`},
		{"size far too large", "", `reserve = "99999999999999999999"`, `1:11: reserve: "99999999999999999999" is too large`},
		{"duration without unit", "", "[repair]\ngrace = 15", `2:9: repair.grace: "15" has no unit: write a duration such as "10s", "15m", "2h" or "30d"`},
		{"duration in words", "", "[repair]\ngrace = \"soon\"", `2:9: repair.grace: "soon" is no duration: write a duration such as "10s", "15m", "2h" or "30d"`},
		{"duration below zero", "", "[repair]\ngrace = \"-1s\"", `2:9: repair.grace: "-1s" is no duration: write a duration such as "10s", "15m", "2h" or "30d"`},
		{"duration too long", "", "[repair]\ngrace = \"4000d\"", "2:9: repair.grace: 4000d is out of range: 0s to 3650d"},
		{"scrub too often", "", "[repair]\nscrub_every = \"5m\"", "2:15: repair.scrub_every: 5m is out of range: 1h to 3650d"},

		{"names as text", "", "[http]\nnames = \"pi\"", `2:9: http.names: want a list of texts, as in ["a", "b"], got the text "pi"`},
		{"number for a name", "", "[http]\nnames = [\"pi\", 7]", `2:1: http.names: want a list of texts in quotes, got the number 7 in it`},
		{"name with port", "", "[http]\nnames = [\"pi:9000\"]", `2:1: http.names: "pi:9000": write the name alone ("pi"); ports have keys of their own`},
		{"name as URL", "", "[http]\nnames = [\"http://pi\"]", `2:1: http.names: "http://pi": write the name alone, without http:// or tcp://`},
		{"all names", "", "[http]\nnames = [\"pi\", \"*\"]", `2:1: http.names: "*" is neither a host name nor an IP address`},
		{"empty name", "", "[http]\nnames = [\"\"]", `2:1: http.names: "" is neither a host name nor an IP address`},
		{"too many names", "", "[http]\nnames = [" + strings.Repeat("\"a\",", 51) + "]", "2:1: http.names: has 51 names; at most 50 are possible"},
		{"relative socket", "", "[http]\nsocket = \"a.sock\"", `2:10: http.socket: "a.sock" is a relative path: write the whole path, beginning with /`},
		{"long socket", "", "[http]\nsocket = \"/" + strings.Repeat("a", 107) + "\"", `2:10: http.socket: has 108 bytes; a Unix socket's path has at most 107`},
		{"auth mistyped", "", "[http]\nauth = \"offf\"", `2:8: http.auth: "offf" is not one of "token" or "off"; did you mean "off"?`},
		{"policy unknown", "", "[nodes]\nplaintext = \"Any\"", `2:13: nodes.plaintext: "Any" is not one of "off", "loopback" or "any"; did you mean "any"?`},
		{"level", "", "[raid]\nlevel = \"raid5\"", `2:9: raid.level: "raid5" is not known here; write "raid1"`},
		{"one copy", "", "[raid]\ncopies = 1", "2:10: raid.copies: 1 is out of range: 2 to 4"},
		{"stripe too small", "", "[raid]\nstripe_size = \"4KiB\"", `2:15: raid.stripe_size: 4KiB is out of range: 64KiB to 64MiB, or "file"`},
		{"stripe mistyped", "", "[raid]\nstripe_size = \"files\"", `2:15: raid.stripe_size: "files" is no size: write a size such as "512MiB", "4GB" or "0" (or "file": the whole file is one stripe)`},
		{"whole file too large", "", "[raid]\nmax_whole_file = \"2GiB\"", "2:18: raid.max_whole_file: 2GiB is out of range: 1B to 128MiB"},
		{"no requests", "", "[http]\nmax_requests = 0", "2:16: http.max_requests: 0 is out of range: 1 to 10000"},

		{"port alone", "", "[http]\nlisten = \"9000\"", `2:10: http.listen: "9000" has no host; did you mean ":9000"?`},
		{"host alone", "", "[http]\nlisten = \"pi\"", `2:10: http.listen: "pi" is no address: write "HOST:PORT", as in "192.168.1.10:9000", "[::1]:9000" or ":9000"`},
		{"as libzmq writes it", "", "[nodes]\nstore_listen = \"tcp://*:5557\"", `2:16: nodes.store_listen: "tcp://*:5557": write it without "tcp://": ":5557"`},
		{"star", "", "[nodes]\nstore_listen = \"*:5557\"", `2:16: nodes.store_listen: "*:5557": for all addresses of this machine write ":5557"`},
		{"port too large", "", "[http]\nlisten = \":65536\"", `2:10: http.listen: ":65536": the port must be a number from 0 to 65535`},
		{"bad host", "", "[http]\nlisten = \"a b:1\"", `2:10: http.listen: "a b" is neither a host name nor an IP address`},
		{"listeners collide", "", "[http]\nlisten = \":5558\"", `environment`},
		{"relative path", "", "state_dir = \"data\"", `1:13: state_dir: "data" is a relative path: write the whole path, beginning with /`},
		{"empty path", "", "state_dir = \"\"", `1:13: state_dir: is empty: write the folder's path, beginning with /`},
		{"NUL in path", "", `state_dir = "/a\u0000b"`, `1:13: state_dir: "/a\x00b" holds control characters or is no valid UTF-8`},

		{"same folder", "node", "state_dir = \"/x\"\nchunk_dir = \"/x/\"", `1:13: state_dir: "/x" lies in chunk_dir ("/x/"): choose a folder outside of it`},
		{"state in chunks", "node", "state_dir = \"/x/y\"\nchunk_dir = \"/x\"", `1:13: state_dir: "/x/y" lies in chunk_dir ("/x"): choose a folder outside of it`},
		{"several disks", "node", "chunk_dir = [\"/mnt/a\", \"/mnt/b\"]", `1:1: chunk_dir: several chunk directories are not supported yet; give one, as in "/srv/chunks"`},
		{"one disk as a list", "node", "zone = \"x\"\nchunk_dir = [\"/mnt/a\"]", `2:1: chunk_dir: several chunk directories are not supported yet; give one, as in "/srv/chunks"`},
		{"several disks in a text", "node", "chunk_dir = \"/mnt/a, /mnt/b\"", `1:13: chunk_dir: several chunk directories are not supported yet; give one, as in "/srv/chunks"`},
		{"several disks as sections", "node", "[[chunk_dir]]\npath = \"/mnt/a\"", `1:3: chunk_dir: several chunk directories are not supported yet; give one, as in "/srv/chunks"`},
		{"port 0", "node", "[controller]\nstore_port = 0", "2:14: controller.store_port: 0 is out of range: 1 to 65535"},
		{"ports equal", "node", "[controller]\nrequest_port = 5557", "2:16: controller.request_port: 5557 is controller.store_port too: the controller has four different ports"},
		{"host with port", "node", "[controller]\nhost = \"pi:5557\"", `2:8: controller.host: "pi:5557": write the name alone ("pi"); ports have keys of their own`},
		{"host as URL", "node", "[controller]\nhost = \"http://pi\"", `2:8: controller.host: "http://pi": write the name alone, without http:// or tcp://`},
		{"host in brackets", "node", "[controller]\nhost = \"[::1]\"", `2:8: controller.host: "[::1]": write it without brackets: "::1"`},
		{"host empty", "node", "[controller]\nhost = \"\"", `2:8: controller.host: is empty: write the controller's name or IP address`},
		{"HTTP port taken", "node", "[controller]\nstore_port = 9000", "2:14: controller.store_port: 9000 is controller.http_port too: the controller has four different ports"},
		{"socket relative", "node", "control_socket = \"control.sock\"", `1:18: control_socket: "control.sock" is a relative path: write the whole path, beginning with /`},
		{"socket too long", "node", "control_socket = \"/" + strings.Repeat("a", 107) + "\"", "1:18: control_socket: has 108 bytes; the path of a socket has at most 107"},
		{"zone", "node", `zone = "a\nb"`, "1:8: zone: a zone's name has at most 64 bytes and no control characters"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := refused(t, c.program, c.text, nil)
			if c.want == "environment" { // reported where the default stands, which has no position
				c.want = `nodes.response_listen: ":5558" is taken by http.listen (":5558"): each listener needs an address of its own`
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestAllProblemsAreReportedAtOnce(t *testing.T) {
	got := refused(t, "", "reserv = \"1GB\"\n[raid]\ncopies = \"2\"\n[htttp]\n",
		[]string{"RAID_CONTROLLER_HTTP_LISTEN=x", "RAID_CONTROLLER_HTTP_LISEN=:1", "RAID_CONTROLLER_URLS=http://"})
	want := `1:1: reserv: unknown key; did you mean reserve?
3:10: raid.copies: want a whole number, got the text "2"
4:2: htttp: unknown section; did you mean [http]?
environment RAID_CONTROLLER_HTTP_LISTEN: http.listen: "x" is no address: write "HOST:PORT", as in "192.168.1.10:9000", "[::1]:9000" or ":9000"
environment RAID_CONTROLLER_HTTP_LISEN: unknown variable; did you mean RAID_CONTROLLER_HTTP_LISTEN?
environment RAID_CONTROLLER_URLS: unknown variable; did you mean RAID_CONTROLLER_URL?`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestEnvironmentValuesAreCheckedLikeTheFile(t *testing.T) {
	got := refused(t, "", "", []string{"RAID_CONTROLLER_RAID_COPIES=9", "RAID_CONTROLLER_HTTP_SOCKET=x", "RAID_CONTROLLER_HTTP_NAMES=pi, *"})
	want := `environment RAID_CONTROLLER_RAID_COPIES: raid.copies: 9 is out of range: 2 to 4`
	if !strings.Contains(got, want) || !strings.Contains(got, "environment RAID_CONTROLLER_HTTP_SOCKET: http.socket:") ||
		!strings.Contains(got, `environment RAID_CONTROLLER_HTTP_NAMES: http.names: "*" is neither`) {
		t.Errorf("got\n%s", got)
	}
	got = refused(t, "", "", []string{"RAID_CONTROLLER_RAID_COPIES=two", "RAID_CONTROLLER_RAID_DEGRADED_WRITES=1"})
	if !strings.Contains(got, `raid.copies: want a whole number, got "two"`) || !strings.Contains(got, `raid.degraded_writes: want true or false, got "1"`) {
		t.Errorf("got\n%s", got)
	}
}

func TestListenersThatShareAPortOnDifferentAddressesAreFine(t *testing.T) {
	ok := "[http]\nlisten = \"127.0.0.2:5557\"\n[nodes]\nstore_listen = \"127.0.0.1:5557\"\nresponse_listen = \"127.0.0.1:0\"\nrequest_listen = \"127.0.0.1:0\"\n"
	if got := refused(t, "", ok, nil); got != "" {
		t.Error(got)
	}
	for _, wild := range []string{":5557", "0.0.0.0:5557", "[::]:5557", "127.0.0.1:05557"} {
		if got := refused(t, "", "[http]\nlisten = \""+wild+"\"\n", nil); got == "" {
			t.Errorf("http on %s beside nodes on 127.0.0.1:5557 was accepted", wild)
		}
	}
}

func TestMonstrousFilesAreRefusedBriefly(t *testing.T) {
	var many strings.Builder
	for i := 0; many.Len() < maxFile-20; i++ {
		fmt.Fprintf(&many, "k%d=1\n", i)
	}
	for name, text := range map[string]string{
		"many keys":  many.String(),
		"deep key":   strings.Repeat("a.", maxFile/2-10) + "a = 1",
		"deep table": "[" + strings.Repeat("a.", maxFile/2-10) + "a]",
		"nested":     "a = " + strings.Repeat("{a = ", 9_000) + "1" + strings.Repeat("}", 9_000),
		"long key":   strings.Repeat("a", maxFile-10) + " = 1",
	} {
		got := refused(t, "", text, nil)
		if got == "" || strings.Count(got, "\n") > maxLines || len(got) > 5000 {
			t.Errorf("%s: %d bytes of complaints", name, len(got))
		}
	}
}
