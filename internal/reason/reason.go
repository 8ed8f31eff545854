// Package reason says in a person's words why a connection did not come about or broke
// off. What the network and its libraries say names system calls, sockets and packages.
package reason

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"syscall"
)

// worded is an error in other words.
type worded struct {
	text string
	err  error
}

func (w *worded) Error() string { return w.text }

// Unwrap is the error that it stands for.
func (w *worded) Unwrap() error { return w.err }

// Worded gives an error other words. It stays what it is for errors.Is and errors.As.
func Worded(text string, err error) error { return &worded{text, err} }

// Of says why a connection did not come about or broke off. It does so in a few words that follow a
// colon; "" when nothing more can be said.
func Of(err error) string {
	var dns *net.DNSError
	var timeout net.Error
	var header tls.RecordHeaderError
	var alert tls.AlertError
	var own *worded
	switch {
	case errors.As(err, &own):
		return own.text
	case errors.As(err, &dns) && dns.IsTimeout:
		return "the name could not be looked up: DNS does not answer"
	case errors.As(err, &dns):
		return "no machine of that name was found"
	case errors.Is(err, context.Canceled):
		return "interrupted"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "too many files are open on this machine"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer"
	case errors.As(err, &header):
		return "it does not speak TLS"
	case errors.As(err, &alert):
		return "it refused the connection"
	}
	return errno(err)
}

// errnos are causes that the system names.
var errnos = []struct {
	err  syscall.Errno
	text string
}{
	{syscall.ECONNREFUSED, "connection refused"},
	{syscall.ECONNRESET, "the other side cut it"},
	{syscall.EPIPE, "the other side cut it"},
	{syscall.EHOSTUNREACH, "no way leads to that machine"},
	{syscall.ENETUNREACH, "no way leads to that network"},
	{syscall.EADDRNOTAVAIL, "this machine has no address for that network"},
	{syscall.EACCES, "not allowed"},
	{syscall.EPERM, "not allowed"},
	{syscall.ENOENT, "it is not there"},
	{syscall.EINVAL, "that is no address for a connection"},
}

func errno(err error) string {
	for _, e := range errnos {
		if errors.Is(err, e.err) {
			return e.text
		}
	}
	return ""
}

// OfCertificate says why a certificate is not trusted.
func OfCertificate(err error) string {
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &host):
		return "it is for other names than this one"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "it has ended or not begun, by this machine's clock"
	}
	return "nobody whom this machine trusts has signed it"
}
