package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire/wirepb"
	"github.com/raidpi/raidpi/internal/zmtp"
)

func TestPlaintextPolicies(t *testing.T) {
	tcp := func(s string) net.Addr {
		a, err := net.ResolveTCPAddr("tcp", s)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	for _, c := range []struct {
		p    Plaintext
		addr net.Addr
		want bool
	}{
		{PlaintextOff, tcp("127.0.0.1:1"), false},
		{"", tcp("127.0.0.1:1"), false},
		{"Any", tcp("127.0.0.1:1"), false},
		{PlaintextLoopback, tcp("127.0.0.1:1"), true},
		{PlaintextLoopback, tcp("127.8.9.1:1"), true},
		{PlaintextLoopback, tcp("[::1]:1"), true},
		{PlaintextLoopback, tcp("[::ffff:127.0.0.1]:1"), true},
		{PlaintextLoopback, tcp("192.168.1.1:1"), false},
		{PlaintextLoopback, &net.UnixAddr{Name: "127.0.0.1"}, false},
		{PlaintextLoopback, nil, false},
		{PlaintextAny, tcp("8.8.8.8:1"), true},
		{PlaintextAny, nil, true},
	} {
		if got := c.p.Allows(c.addr); got != c.want {
			t.Errorf("%q allows %v: %v, want %v", c.p, c.addr, got, c.want)
		}
	}
}

func TestEveryErrorCodeHasItsSentinel(t *testing.T) {
	for code := range wirepb.Error_name {
		err := decodeError(wirepb.Error(code), "words")
		if code == 0 {
			if err != nil {
				t.Errorf("OK is %v", err)
			}
			continue
		}
		back, text := encodeError(fmt.Errorf("wrapped: %w", err))
		if back != wirepb.Error(code) || !strings.Contains(text, "words") {
			t.Errorf("%v came back as %v %q", wirepb.Error(code), back, text)
		}
	}
	if err := decodeError(99, ""); err == nil || err.Error() == "" {
		t.Errorf("an unknown code is %v", err)
	}
	for want, err := range map[wirepb.Error]error{
		wirepb.Error_OK: nil, wirepb.Error_INTERNAL: errors.New("?"), wirepb.Error_BUSY: raid.ErrShutdown,
		wirepb.Error_EXPIRED: context.DeadlineExceeded, wirepb.Error_INVALID: raid.ErrTooLarge,
	} {
		if code, _ := encodeError(err); code != want {
			t.Errorf("%v is %v, want %v", err, code, want)
		}
	}
	if _, text := encodeError(errors.New(strings.Repeat("ä", 2000) + "\xff")); len(text) > maxErrorText || !utf8.ValidString(text) {
		t.Errorf("a text of %d bytes goes on the wire", len(text))
	}
}

// A stall of less than a millisecond is one, and a node of another version has none.
func TestAHeartbeatTellsWhetherTheDiskAnswers(t *testing.T) {
	for said, want := range map[time.Duration]time.Duration{
		0: 0, time.Microsecond: time.Millisecond, 7 * time.Second: 7 * time.Second, 1 << 62: math.MaxUint32 * time.Millisecond,
	} {
		if got := decodeHeartbeat(encodeHeartbeat(Heartbeat{DiskStall: said})).DiskStall; got != want {
			t.Errorf("%v is heard as %v", said, got)
		}
	}
}

func TestHandshakePropertiesStaySmall(t *testing.T) {
	h := hello{version: ProtocolVersion, array: testArray, node: testArray, session: testArray, role: roleControl}
	size := 0
	for k, v := range h.properties() {
		size += len("X-") + len(k) + len(v)
	}
	if size >= 256 {
		t.Errorf("the properties have %d bytes", size)
	}
	if err := checkArray("a", "b"); len(err.Error()) > 255 || len(errClone.Error()) > 255 {
		t.Errorf("a reason is longer than ERROR carries")
	}
	long := checkArray(testArray, "1000000000000000000000").Error()
	if len(long) > 255 {
		t.Errorf("a reason of %d bytes", len(long))
	}
}

func TestNodesJudgeTheControllersVersion(t *testing.T) {
	for version, want := range map[string]string{"1": "", "2": "", "0": "upgrade raid-controller", "3": "upgrade raid-node", "x": "not a protocol version"} {
		_, err := parseWelcome(zmtp.Properties{propVersion: version, propArray: testArray})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("controller of version %q: %v, want %q", version, err, want)
		}
	}
	if _, err := parseWelcome(zmtp.Properties{propVersion: "1", propArray: "x"}); err == nil {
		t.Error("a controller without an array is accepted")
	}
}

func TestPausesDoubleAndDiffer(t *testing.T) {
	zero := newBackoff(100*time.Millisecond, time.Second, bytes.NewReader(nil))
	for _, want := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
		if got := zero.next(); got != want*time.Millisecond {
			t.Errorf("pause of %v, want %v ms", got, want)
		}
	}
	zero.reset()
	if got := zero.next(); got != 100*time.Millisecond {
		t.Errorf("after a reset the pause is %v", got)
	}
	jitter := newBackoff(time.Second, time.Second, bytes.NewReader(randomBytes(400)))
	seen := map[time.Duration]bool{}
	for range 100 {
		d := jitter.next()
		seen[d] = true
		if d < 500*time.Millisecond || d > time.Second {
			t.Errorf("pause of %v", d)
		}
	}
	if len(seen) < 50 {
		t.Errorf("only %d different pauses", len(seen))
	}
}

func TestRemainingTimeIsNeverZeroByRounding(t *testing.T) {
	if ms, ok := remainingMS(context.Background()); ms != 0 || !ok {
		t.Errorf("without a deadline: %d, %v", ms, ok)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Microsecond)
	defer cancel()
	if ms, ok := remainingMS(ctx); ok && ms != 1 {
		t.Errorf("half a millisecond is %d", ms)
	}
	ctx, cancel = context.WithTimeout(context.Background(), 1<<62)
	defer cancel()
	if ms, ok := remainingMS(ctx); ms < 1<<31 || !ok {
		t.Errorf("a long time is %d ms", ms)
	}
	ctx, cancel = context.WithTimeout(context.Background(), -time.Second)
	defer cancel()
	if _, ok := remainingMS(ctx); ok {
		t.Error("a deadline of the past leaves time")
	}
}
