// Package address reads where a controller is, as people write it.
//
// # The rule
//
// An address is a name or an IP address, and what stands around it may be left away:
//
//		[http:// or https://] HOST [:PORT] [/PATH]
//
//	  - Without a scheme it is https, and http for this machine itself: localhost and
//	    the loopback addresses.
//	  - Without a port it is 9000, with a scheme as without.
//	  - An IPv6 address needs brackets before a port and behind a scheme.
//	  - The zone of an IPv6 address may be written as %eth0 and as %25eth0, which is how
//	    URLs have it (RFC 6874). Its case counts; that of names does not.
package address

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// UsualPort is the port of a controller when nobody says another one.
const UsualPort = 9000

// maxHost is the longest name of a host, in bytes (RFC 1035, section 2.3.4).
const maxHost = 253

var (
	// ErrPassword: an address has a user name or password in it, which no error
	// shows.
	ErrPassword = errors.New("the controller's address has a user name or password in it: take it out; tokens are given in other ways")
	// ErrToken: a token stands in the place of an address. No error shows it.
	ErrToken = errors.New("this is a token, and the controller's address belongs here: its name or IP address, as in controller.local")
	// ErrNone: a text is no address.
	ErrNone = errors.New("is no address of a controller: write its name or IP address, as in controller.local, 192.168.1.10 or https://[fd00::1]:9000")
)

// Address is the address of a controller.
type Address struct {
	Scheme string // http or https
	Host   string // without brackets, an IPv6 address with its zone; a name in lower case
	Port   int    // 1 to 65535
	Path   string // of a proxy; empty or with a slash before and none behind

	HasScheme, HasPort bool // somebody wrote them
}

// tokenPrefixes begin tokens for people and for nodes, in lower case.
var tokenPrefixes = []string{"raidpi_", "raid1-"}

// Parse reads an address by the rule above. Its error is ErrPassword, ErrToken or an
// ErrNone.
func Parse(text string) (a Address, err error) {
	text = strings.TrimSpace(text)
	if strings.Contains(text, "@") {
		return a, ErrPassword
	}
	for _, prefix := range tokenPrefixes {
		if strings.HasPrefix(strings.ToLower(text), prefix) {
			return a, ErrToken
		}
	}
	none := fmt.Errorf("%.300q %w", text, ErrNone)
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || !unicode.IsPrint(r) || strings.ContainsRune("?#\\\"<>", r) }) || !utf8.ValidString(text) {
		return a, none
	}
	rest := text
	if scheme, behind, ok := strings.Cut(text, "://"); ok {
		a.Scheme, a.HasScheme, rest = strings.ToLower(scheme), true, behind
		if a.Scheme != "http" && a.Scheme != "https" {
			return a, none
		}
	}
	if at := strings.IndexByte(rest, '/'); at >= 0 {
		if a.Path, err = url.PathUnescape(strings.TrimRight(rest[at:], "/")); err != nil {
			return a, none
		}
		rest = rest[:at]
	}
	port, ok := a.split(rest)
	if !ok {
		return a, none
	}
	a.Port = UsualPort
	if a.HasPort {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return a, none
		} else {
			a.Port = int(n)
		}
	}
	if !a.HasScheme {
		a.Scheme = "https"
		if IsLoopback(a.Host) {
			a.Scheme = "http"
		}
	}
	return a, nil
}

// split takes host and port apart.
func (a *Address) split(rest string) (port string, ok bool) {
	host := rest
	switch {
	case strings.HasPrefix(rest, "["):
		inner, behind, closed := strings.Cut(rest[1:], "]")
		port, a.HasPort = strings.CutPrefix(behind, ":")
		if !closed || behind != "" && !a.HasPort {
			return "", false
		}
		a.Host, ok = a.address(inner)
		return port, ok && strings.Contains(a.Host, ":")
	case strings.Count(rest, ":") == 1:
		host, port, a.HasPort = strings.Cut(rest, ":")
	case strings.Contains(rest, ":"):
		a.Host, ok = a.address(rest)
		return "", ok
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		a.Host = ip.String()
		return port, true
	}
	a.Host = strings.TrimSuffix(strings.ToLower(host), ".")
	return port, isName(a.Host)
}

// address reads an IP address, with %25 for the % of a zone.
func (a *Address) address(text string) (string, bool) {
	if ip, zone, ok := strings.Cut(text, "%"); ok {
		// fe80::1%251 alone is an interface's number.
		if code, isCode := strings.CutPrefix(zone, "25"); isCode && code != "" && (a.HasScheme || strings.Trim(code, "0123456789") != "") {
			zone = code
		}
		text = ip + "%" + zone
	}
	ip, err := netip.ParseAddr(text)
	if err != nil || strings.ContainsFunc(ip.Zone(), notInZone) {
		return "", false
	}
	return ip.String(), true
}

// notInZone leaves what interfaces are called, and nothing that needs an escape.
func notInZone(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_.", r))
}

// isName takes names as DNS and multicast DNS have them, with underscores, which some
// routers hand out, and letters of all scripts.
func isName(host string) bool {
	if host == "" || len(host) > maxHost || strings.Trim(host, "0123456789.") == "" {
		return false // the latter is a mistyped address
	}
	for label := range strings.SplitSeq(host, ".") {
		bad := func(r rune) bool {
			return r != '-' && r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r)
		}
		if label == "" || len(label) > 63 || label[0] == '-' || strings.ContainsFunc(label, bad) {
			return false
		}
	}
	return true
}

// HostPort is the address for net.Dial.
func (a Address) HostPort() string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }

// URL is the address as a URL, with its port.
func (a Address) URL() *url.URL {
	return &url.URL{Scheme: a.Scheme, Host: a.HostPort(), Path: a.Path}
}

// String writes the URL, in the one way in which two addresses can be compared.
// Letters of all scripts stay as they are.
func (a Address) String() string {
	host := a.Host
	if strings.Contains(host, ":") {
		host = "[" + strings.Replace(host, "%", "%25", 1) + "]"
	}
	return a.Scheme + "://" + host + ":" + strconv.Itoa(a.Port) + (&url.URL{Path: a.Path}).EscapedPath()
}

// IsLoopback tells whether a host, without brackets, is this machine itself.
func IsLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}
