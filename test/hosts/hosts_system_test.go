//go:build system

package hosts

import (
	"strings"
	"testing"
)

func TestHostsSeeEachOtherAndNothingElse(t *testing.T) {
	ctx := t.Context()
	n, err := New(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	a, err := n.Add(ctx, "a", "10.77.0.1")
	if err != nil {
		t.Fatal(err)
	}
	b, err := n.Add(ctx, "b", "10.77.0.2")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Name("10.77.0.2", "b.local"); err != nil {
		t.Fatal(err)
	}
	say := func(h *Host, lines, want string) {
		t.Helper()
		out, err := h.Shell(ctx, nil, lines).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%s: %s: %v %s", h.Name, lines, err, out)
		}
	}
	say(a, "hostname; touch /var/lib/x /run/y; ls /var/lib", "a\nx")
	say(b, "hostname; ls /var/lib; test ! -e /run/y", "b")
	say(a, "getent hosts b.local", "10.77.0.2       b.local")
	server := b.Shell(ctx, nil, `exec /usr/bin/python3 -c '
import socket
s = socket.create_server(("10.77.0.2", 7777)); print("up", flush=True)
c, who = s.accept(); c.sendall(who[0].encode())'`)
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	say(a, `/usr/bin/python3 -c '
import socket
print(socket.create_connection(("b.local", 7777)).recv(99).decode())'`, "10.77.0.1")
	if err := server.Wait(); err != nil {
		t.Error(err)
	}
	say(a, "ip route get 192.0.2.1 >/dev/null 2>&1 || echo none", "none")
}
