package raidctl

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/raidpi/raidpi/internal/address"
	"github.com/raidpi/raidpi/internal/identity"
)

// login holds what raidctl login remembers.
type login struct {
	URL   string        // as address.Address writes it
	Pin   *identity.Pin // nil for plain HTTP on this machine
	Token string        // empty: the controller asks for none
}

// loginFile is a login as it is stored.
type loginFile struct {
	URL         string `json:"url"`
	Fingerprint string `json:"fingerprint,omitempty"`
	Token       string `json:"token,omitempty"`
}

// isFor tells whether an address that somebody wrote is the login's. One without a
// scheme is, if its host and port are.
func (l *login) isFor(text string) bool {
	if l == nil {
		return false
	}
	a, err := address.Parse(text)
	own, ownErr := address.Parse(l.URL)
	if err != nil || ownErr != nil {
		return false
	}
	if !a.HasScheme {
		a.Scheme = own.Scheme
	}
	return a.String() == own.String()
}

func (l *login) target() target {
	return target{url: l.URL, pin: l.Pin, token: l.Token, from: "the login"}
}

func loginPath() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find the folder for logins: %w", err)
	}
	return filepath.Join(dir, "raidctl", "login.json"), nil
}

// maxLogin is the largest login file that is read, in bytes.
const maxLogin = 64 << 10

// readLogin is nil without an error when there is no login.
func readLogin() (*login, error) {
	path, err := loginPath()
	if err != nil {
		return nil, nil // a service without a home has no login either
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil // nor has one that runs with somebody else's home
	}
	if err != nil {
		return nil, fmt.Errorf("read the login: %w", err)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 && runtime.GOOS != "windows" { // where modes say nothing
		return nil, fmt.Errorf("read the login: other users can open %s (mode %04o). If one may have read it, have its token revoked; then: chmod 600 %s", path, perm, path)
	}
	if info.Size() > maxLogin {
		return nil, fmt.Errorf("read the login: %s: %w", path, errNoLogin)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the login: %w", err)
	}
	l, err := parseLogin(text)
	if err != nil {
		return nil, fmt.Errorf("read the login: %s: %w", path, err)
	}
	return l, nil
}

var errNoLogin = errors.New("it is not what raidctl login wrote; begin anew with raidctl logout")

// parseLogin reads a login file. Its errors show nothing of it.
func parseLogin(text []byte) (*login, error) {
	var f loginFile
	if json.Unmarshal(text, &f) != nil {
		return nil, errNoLogin
	}
	a, err := address.Parse(f.URL)
	if err != nil || !a.HasScheme {
		return nil, errNoLogin
	}
	if !a.HasPort { // as it was written before 9000 was the port of such addresses too
		a.Port = map[string]int{"http": 80, "https": 443}[a.Scheme]
	}
	l := &login{URL: a.String(), Token: f.Token}
	if f.Token != "" && checkToken(f.Token) != nil {
		return nil, errNoLogin
	}
	if f.Fingerprint != "" {
		pin, err := identity.ParseFingerprint(f.Fingerprint)
		if err != nil {
			return nil, errNoLogin
		}
		l.Pin = &pin
	}
	return l, nil
}

// save stores a login in the place of the one before, whole or not at all.
func (l *login) save() (err error) {
	f := loginFile{URL: l.URL, Token: l.Token}
	if l.Pin != nil {
		f.Fingerprint = l.Pin.Fingerprint()
	}
	text, err := json.Marshal(f)
	if err != nil {
		return err
	}
	path, err := loginPath()
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o700); err != nil { // it may have been there
		return err
	}
	tmp, err := os.CreateTemp(dir, "login.json.*") // for its owner alone, from the first moment
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp.Name())
		}
	}()
	_, err = tmp.Write(append(text, '\n'))
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// forgetLogin removes the login and says whether there was one.
func forgetLogin() (bool, error) {
	path, err := loginPath()
	if err != nil {
		return false, nil
	}
	err = os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("forget the login: %w", err)
	}
	return true, nil
}
