package mdns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

var (
	nowhere  netip.Addr
	loopback = netip.MustParseAddr("127.0.0.1")
)

// dial connects and returns where to.
func dial(t *testing.T, d *Dialer, network, addr string) (string, error) {
	t.Helper()
	c, err := d.DialContext(t.Context(), network, addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	host, _, err := net.SplitHostPort(c.RemoteAddr().String())
	return host, err
}

func TestNameThatTheSystemDoesNotKnowIsFoundByAvahi(t *testing.T) {
	t.Parallel()
	a := startAvahi(t, knows("IPV4 Controller.LOCAL", "+ 2 0 controller.local 127.0.0.1\n"))
	d := &Dialer{Socket: a.path, Dialer: net.Dialer{Resolver: dns(t, nowhere, false), Timeout: 5 * time.Second}}
	port := listen(t, "127.0.0.1")
	for _, network := range []string{"tcp", "tcp4"} {
		if at, err := dial(t, d, network, "Controller.LOCAL.:"+port); at != "127.0.0.1" || err != nil {
			t.Errorf("over %s: %q, %v", network, at, err)
		}
	}
	if _, err := d.Dial("tcp", "controller.local:"+port); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("a name that is spelled in another way for this fake: %v", err)
	}
}

func TestIPv6IsUsedWhereThereIsNoIPv4(t *testing.T) {
	t.Parallel()
	a := startAvahi(t, func(q string) string {
		if strings.HasPrefix(q, "IPV6 ") {
			return "+ 1 0 pi.local ::1\n"
		}
		return silent
	})
	d := &Dialer{Socket: a.path, Dialer: net.Dialer{Resolver: dns(t, nowhere, false)}}
	port := listen(t, "::1")
	start := time.Now()
	for _, network := range []string{"tcp", "tcp6"} {
		if at, err := dial(t, d, network, "pi.local:"+port); at != "::1" || err != nil {
			t.Errorf("over %s: %q, %v", network, at, err)
		}
	}
	if took := time.Since(start); took > patience {
		t.Errorf("it took %v: IPv6 waits for no answer about IPv4", took)
	}
	if _, err := dial(t, d, "tcp4", "pi.local:"+port); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("over IPv4 alone: %v", err)
	}
}

func TestIPv4IsPreferred(t *testing.T) {
	t.Parallel()
	a := startAvahi(t, func(q string) string {
		if strings.HasPrefix(q, "IPV6 ") {
			return "+ 1 0 pi.local ::1\n"
		}
		time.Sleep(preference / 3)
		return "+ 1 0 pi.local 127.0.0.1\n"
	})
	d := &Dialer{Socket: a.path, Dialer: net.Dialer{Resolver: dns(t, nowhere, false)}}
	if at, err := dial(t, d, "tcp", "pi.local:"+listen(t, "127.0.0.1")); at != "127.0.0.1" || err != nil {
		t.Errorf("%q, %v", at, err)
	}
}

func TestSystemsAnswerComesFirst(t *testing.T) {
	a := startAvahi(t, func(string) string { return "+ 1 0 pi.local 127.0.0.2\n" })
	d := &Dialer{Socket: a.path, Dialer: net.Dialer{Resolver: dns(t, loopback, false)}}
	if at, err := dial(t, d, "tcp", "pi.local:"+listen(t, "127.0.0.1")); at != "127.0.0.1" || err != nil {
		t.Errorf("%q, %v", at, err)
	}
	if asked := a.questions(); len(asked) > 0 {
		t.Errorf("avahi was asked %q", asked)
	}
}

func TestSilentDNSServerDoesNotKeepAPiFromItsController(t *testing.T) {
	t.Parallel()
	a := startAvahi(t, func(q string) string { return "+ 1 0 pi.local 127.0.0.1\n" })
	d := &Dialer{Socket: a.path, Dialer: net.Dialer{Resolver: dns(t, nowhere, true), Timeout: 5 * time.Second}}
	if at, err := dial(t, d, "tcp4", "pi.local:"+listen(t, "127.0.0.1")); at != "127.0.0.1" || err != nil {
		t.Errorf("%q, %v", at, err)
	}
	nobody := startAvahi(t, func(string) string { return silent })
	d.Socket = nobody.path
	_, err := dial(t, d, "tcp", "pi.local:1")
	wantNotFound(t, err, ErrNoAnswer, "lookup pi.local: DNS is silent, and nobody in this network answers to that name by mDNS")
}

func TestOtherNamesAreNotAskedAvahiFor(t *testing.T) {
	a := startAvahi(t, func(string) string { return "+ 1 0 x 127.0.0.1\n" })
	d := &Dialer{Socket: a.path, Dialer: net.Dialer{Resolver: dns(t, nowhere, false)}}
	port := listen(t, "127.0.0.1")
	for _, host := range []string{"pi.example", "local", ".local", "pi.local.example", "pilocal", "127.0.0.1", "[::1]", ""} {
		if c, err := d.DialContext(t.Context(), "tcp", host+":"+port); err == nil {
			_ = c.Close()
		}
	}
	for _, host := range []string{"a b.local", "a\nRESOLVE-HOSTNAME-IPV4 pi.local", "a\x00.local", strings.Repeat("a.", 200) + "local"} {
		_, err := d.DialContext(t.Context(), "tcp", host+":"+port)
		wantNotFound(t, err, ErrNoAnswer, "it is no host's name")
	}
	if _, err := d.DialContext(t.Context(), "unix", filepath.Join(t.TempDir(), "x.local:1")); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("a socket: %v", err)
	}
	if asked := a.questions(); len(asked) > 0 {
		t.Errorf("avahi was asked %q", asked)
	}
}

// wantNotFound checks that an error is net.Dialer's for a name that is not found.
func wantNotFound(t *testing.T, err, reason error, words string) {
	t.Helper()
	var op *net.OpError
	var dns *net.DNSError
	if !errors.As(err, &op) || op.Op != "dial" || !errors.As(err, &dns) || !errors.Is(err, reason) || !strings.Contains(err.Error(), words) {
		t.Errorf("%v\nwant %q and %v", err, words, reason)
	} else if !dns.IsNotFound {
		t.Errorf("%v: not IsNotFound", err)
	}
}

func TestWhyANameIsNotFoundIsTold(t *testing.T) {
	crashed := filepath.Join(t.TempDir(), "socket")
	ln, err := net.Listen("unix", crashed)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = ln.Close()
	refuses := startAvahi(t, func(string) string { return "-15 Timeout reached\n" })
	for socket, want := range map[string]struct {
		reason error
		words  string
	}{
		filepath.Join(t.TempDir(), "none"): {ErrNotRunning, "lookup pi.local: no such host, and avahi-daemon does not run here"},
		crashed:                            {ErrNotRunning, "avahi-daemon does not run here"},
		refuses.path:                       {ErrNoAnswer, "lookup pi.local: no such host, and nobody in this network answers to that name by mDNS"},
	} {
		d := &Dialer{Socket: socket, Dialer: net.Dialer{Resolver: dns(t, nowhere, false)}}
		_, err := dial(t, d, "tcp", "pi.local:1")
		wantNotFound(t, err, want.reason, want.words)
	}
	// An error of the network is the one that net.Dialer makes of it.
	a := startAvahi(t, func(string) string { return "+ 1 0 pi.local 127.0.0.1\n" })
	d := &Dialer{Socket: a.path, Dialer: net.Dialer{Resolver: dns(t, nowhere, false)}}
	_, err = dial(t, d, "tcp", "pi.local:1")
	var op *net.OpError
	if !errors.Is(err, syscall.ECONNREFUSED) || !errors.As(err, &op) || op.Addr.String() != "127.0.0.1:1" {
		t.Errorf("refused: %v", err)
	}
}

// The time for connecting has all of it in it, and nothing goes on afterwards, which
// TestMain checks.
func TestAskingEndsWithTheDeadlineAndWithTheCaller(t *testing.T) {
	t.Parallel()
	a := startAvahi(t, func(string) string { return silent })
	for _, isSilent := range []bool{false, true} {
		d := &Dialer{Socket: a.path, Dialer: net.Dialer{Resolver: dns(t, nowhere, isSilent), Timeout: 1200 * time.Millisecond}}
		start := time.Now()
		_, err := dial(t, d, "tcp", "pi.local:1")
		if took := time.Since(start); took > patience || !errors.Is(err, ErrNoAnswer) {
			t.Errorf("after %v: %v", took, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		d.Timeout = 0
		start = time.Now()
		_, err = d.DialContext(ctx, "tcp", "pi.local:1")
		var dns *net.DNSError
		if took := time.Since(start); took > time.Second || !errors.Is(err, context.Canceled) || !errors.As(err, &dns) {
			t.Errorf("cancelled: after %v: %v", took, err)
		}
	}
}

func TestControlSeesTheAddress(t *testing.T) {
	a := startAvahi(t, func(string) string { return "+ 1 0 pi.local 127.0.0.1\n" })
	no := errors.New("not there")
	d := &Dialer{Socket: a.path, Dialer: net.Dialer{Resolver: dns(t, nowhere, false), Control: func(_, address string, _ syscall.RawConn) error {
		if address != "127.0.0.1:1" {
			t.Errorf("control of %s", address)
		}
		return no
	}}}
	if _, err := dial(t, d, "tcp", "pi.local:1"); !errors.Is(err, no) {
		t.Error(err)
	}
}
