package raidctl

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/raidpi/raidpi/internal/address"
	"github.com/raidpi/raidpi/internal/client"
	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/reason"
	"github.com/raidpi/raidpi/internal/service"
)

const (
	// defaultURL is the controller on this machine, for everybody there.
	defaultURL = "http://127.0.0.1:9000"
	// controlSocket is the same one's, for root and the controller's own user. These
	// may do everything there.
	controlSocket = "/run/raid-controller/control.sock"
)

// flags say which controller, where somebody does not want the usual one.
type flags struct{ url, socket, tokenFile string }

// target is the controller that a run of raidctl is about.
type target struct {
	url    string
	socket string // instead of url
	pin    *identity.Pin
	token  string
	from   string // where the token is from, for people
	guess  bool   // nobody said which controller
}

// connect makes the client; nothing goes over the network yet.
func (a *app) connect() error {
	t, err := a.choose()
	if err != nil {
		return err
	}
	a.client, err = a.newClient(t)
	a.parsed = err == nil || errors.Is(err, client.ErrPlainToken)
	a.target = t
	return err
}

func (a *app) newClient(t target) (*client.Client, error) {
	return client.New(client.Config{
		URL: t.url, Socket: t.socket, Pin: t.pin, Token: t.token, UserAgent: "raidctl/" + service.Version(a.version), Now: a.now,
	})
}

// now is this machine's clock, but never a time that is surely over.
func (a *app) now() time.Time {
	now := time.Now
	if a.clock != nil {
		now = a.clock
	}
	if t := now(); t.After(a.built) {
		return t
	}
	return a.built
}

// choose finds the controller. A flag decides, then the environment, then the socket of the
// controller on this machine where it lets us in, then the login. A login's fingerprint and token
// are for the login's controller alone.
func (a *app) choose() (t target, err error) {
	if a.flags.url != "" && a.flags.socket != "" {
		return t, errors.New("--controller and --socket are two ways to the controller; give one")
	}
	url, socket := a.flags.url, a.flags.socket
	if url == "" && socket == "" {
		url = a.getenv("RAID_CONTROLLER_URL")
	}
	if url == "" && socket == "" {
		socket = a.getenv("RAID_CONTROLLER_SOCKET")
	}
	if socket != "" {
		return target{socket: socket}, nil
	}
	if url != "" {
		if _, err := address.Parse(url); err != nil {
			return t, err
		}
	}
	a.parsed = true // what can be wrong now is in files
	if url == "" && a.flags.tokenFile == "" && a.getenv("RAID_TOKEN") == "" && canOpen(a.defaultSocket) {
		return target{socket: a.defaultSocket}, nil
	}
	known, err := readLogin()
	switch {
	case err != nil:
		return t, err
	case url != "" && !known.isFor(url):
		t = target{url: url}
	case known != nil:
		t = known.target()
	default:
		t = target{url: a.defaultURL, guess: true}
	}
	if text, from, err := a.givenToken(); err != nil {
		return t, err
	} else if text != "" {
		t.token, t.from = text, from
	}
	return t, nil
}

// socketTimeout is for the system of a machine that is busy.
const socketTimeout = 5 * time.Second

// canOpen tells whether a controller listens on a socket and lets us in.
func canOpen(socket string) bool {
	c, err := net.DialTimeout("unix", socket, socketTimeout)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// givenToken is the token of this run, if there is one, and where it is from.
func (a *app) givenToken() (text, from string, err error) {
	switch name := a.flags.tokenFile; name {
	case "":
		text, from = a.getenv("RAID_TOKEN"), "RAID_TOKEN"
	case "-":
		text, err = readLine(a.stdin)
		from = "standard input"
	default:
		text, err = firstLine(name)
		from = name
	}
	if err != nil {
		return "", "", fmt.Errorf("read the token: %w", err)
	}
	text = strings.TrimSpace(text)
	if text == "" && a.flags.tokenFile == "" {
		return "", "", nil
	}
	if err := checkToken(text); err != nil {
		return "", "", fmt.Errorf("%s: %w", from, err)
	}
	return text, from, nil
}

func firstLine(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return readLine(f)
}

// errNothing: there was nothing to read. It is an io.EOF.
var errNothing = reason.Worded("there is nothing to read", io.EOF)

// maxLine is the longest line that is read, in bytes: a token has 89.
const maxLine = 4 << 10

// readLine reads a line and nothing behind it, so that an upload from the same
// input finds all of its bytes.
func readLine(r io.Reader) (string, error) {
	var line []byte
	for b := make([]byte, 1); len(line) < maxLine; {
		n, err := r.Read(b)
		switch {
		case n == 1 && b[0] == '\n':
			return strings.TrimSuffix(string(line), "\r"), nil
		case n == 1:
			line = append(line, b[0])
		case errors.Is(err, io.EOF) && len(line) > 0:
			return string(line), nil
		case errors.Is(err, io.EOF):
			return "", errNothing
		}
		if err != nil && n == 0 {
			return "", err
		}
	}
	return "", fmt.Errorf("its first line has more than %d bytes", maxLine)
}

// checkToken says what is wrong with a text in a token's place, and never shows
// it.
func checkToken(text string) error {
	if _, _, err := raid.ParseAccessToken(text); err == nil {
		return nil
	}
	const create = "sudo raidctl access create NAME --scope write"
	if _, err := identity.ParseToken(text); err == nil || errors.Is(err, identity.ErrMistyped) {
		return errors.New("this token is for raid-node join; one for raidctl is made on the controller: " + create)
	}
	if strings.HasPrefix(text, "raidpi_") {
		return errors.New("the token is not whole, or was mistyped; copy it again")
	}
	return errors.New("it is no token: one begins with raidpi_; on the controller: " + create)
}
