package reason

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestReasonsAreWordsForPeople(t *testing.T) {
	op := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort("10.0.0.1:9000")), Err: err}
	}
	for want, err := range map[string]error{
		"connection refused":                op(os.NewSyscallError("connect", syscall.ECONNREFUSED)),
		"the other side cut it":             fmt.Errorf("x: %w", op(os.NewSyscallError("read", syscall.ECONNRESET))),
		"no answer":                         op(context.DeadlineExceeded),
		"interrupted":                       op(context.Canceled),
		"no machine of that name was found": op(&net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}),
		"its clock is wrong":                fmt.Errorf("y: %w", Worded("its clock is wrong", io.EOF)),
		"":                                  errors.New("anything"),
	} {
		if got := Of(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
	w := Worded("words", io.EOF)
	if !errors.Is(w, io.EOF) || strings.Contains(w.Error(), "EOF") {
		t.Errorf("%v", w)
	}
}
