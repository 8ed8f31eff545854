package raid

import (
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Scope names the calls that a REST token allows. Each scope includes those before it.
type Scope int

// The scopes. The numbers are in the catalog.
const (
	ScopeNone  Scope = iota // what needs no token
	ScopeRead               // list and download files, look at the array
	ScopeWrite              // store and delete files
	ScopeAdmin              // hand out and revoke tokens
)

var scopeNames = [...]string{"none", "read", "write", "admin"}

// String is the scope's name.
func (s Scope) String() string {
	if s < ScopeNone || s > ScopeAdmin {
		return fmt.Sprintf("scope %d", int(s))
	}
	return scopeNames[s]
}

// ParseScope reads the name of a scope that a token can have.
func ParseScope(name string) (Scope, error) {
	for s := ScopeRead; s <= ScopeAdmin; s++ {
		if name == s.String() {
			return s, nil
		}
	}
	return ScopeNone, fmt.Errorf("%w: %.40q is no scope: write read, write or admin", ErrInvalid, name)
}

// AccessToken describes a REST token to the array: all but its secret.
type AccessToken struct {
	ID      string // AccessIDLen characters of [A-Za-z0-9]
	Name    string // for people
	Scope   Scope
	SHA256  [32]byte // of the secret
	Created string   // UTC, YYYY-MM-DD HH:MM:SS, by the controller's clock
	Expires string   // the same, empty: never
	Revoked bool
	Expired bool // when it was looked up
}

const (
	// AccessIDLen is the length of a REST token's id in characters.
	AccessIDLen = 8
	// AccessNameLen is the longest name of a REST token, in characters.
	AccessNameLen = 100
	// AccessTokenLen is the length of a REST token with a pin, in characters.
	AccessTokenLen = len(accessPrefix) + AccessIDLen + 1 + IDLen + 1 + 2*IDLen + accessCheckLen

	accessPrefix   = "raidpi_"
	accessCheckLen = 6 // digits of base 62 for a CRC-32
	unpinnedLen    = len(accessPrefix) + AccessIDLen + 1 + 2*IDLen
)

// NewAccessToken draws a REST token without a pin, as controllers once made them. It returns its
// id, the text that its owner shows, and the SHA-256 of its secret. The text is "raidpi_", the id,
// "_" and 32 random bytes in 44 digits of base 62. Of these bytes the array keeps the SHA-256
// alone.
func NewAccessToken(random io.Reader) (id, text string, sum [32]byte, err error) {
	id, secret, sum, err := drawAccess(random)
	if err != nil {
		return "", "", sum, err
	}
	return id, accessPrefix + id + "_" + secret, sum, nil
}

// NewPinnedToken draws a REST token that says which array it may be shown to. pin is the
// first half of the pin of the array's CA. The text is
//
//	raidpi_<id>_<pin>_<secret><check>
//	        8    22    44      6
//
// all but the prefix in digits of base 62. check is the CRC-32C of what is before it.
func NewPinnedToken(pin [16]byte, random io.Reader) (id, text string, sum [32]byte, err error) {
	id, secret, sum, err := drawAccess(random)
	if err != nil {
		return "", "", sum, err
	}
	text = accessPrefix + id + "_" + EncodeID(pin) + "_" + secret
	return id, text + accessCheck(text), sum, nil
}

func drawAccess(random io.Reader) (id, digits string, sum [32]byte, err error) {
	if id, err = NewID(random); err != nil {
		return "", "", sum, err
	}
	var secret [32]byte
	if _, err := io.ReadFull(random, secret[:]); err != nil {
		return "", "", sum, fmt.Errorf("draw a token's secret: %w", err)
	}
	return id[:AccessIDLen], EncodeID([16]byte(secret[:16])) + EncodeID([16]byte(secret[16:])), sha256.Sum256(secret[:]), nil
}

// accessCheck is the check digits of a text.
func accessCheck(text string) string {
	var out [accessCheckLen]byte
	for i, n := accessCheckLen-1, Checksum([]byte(text)); i >= 0; i, n = i-1, n/62 {
		out[i] = base62[n%62]
	}
	return string(out[:])
}

// ParseAccessToken takes a token's text apart, with a pin or without. It returns
// ErrBadID for any text that neither NewAccessToken nor NewPinnedToken writes, and
// never the text itself.
func ParseAccessToken(text string) (id string, sum [32]byte, err error) {
	switch {
	case !strings.HasPrefix(text, accessPrefix), len(text) != unpinnedLen && len(text) != AccessTokenLen:
		return "", sum, ErrBadID
	case len(text) == AccessTokenLen:
		if _, ok := AccessTokenPin(text); !ok {
			return "", sum, ErrBadID
		}
		text = text[:AccessTokenLen-accessCheckLen]
	}
	id, digits := text[len(accessPrefix):][:AccessIDLen], text[len(text)-2*IDLen:]
	if text[len(accessPrefix)+AccessIDLen] != '_' || text[len(text)-2*IDLen-1] != '_' || strings.Trim(id, base62) != "" {
		return "", sum, ErrBadID
	}
	first, err := DecodeID(digits[:IDLen])
	if err != nil {
		return "", sum, err
	}
	second, err := DecodeID(digits[IDLen:])
	if err != nil {
		return "", sum, err
	}
	var secret [32]byte
	copy(secret[:16], first[:])
	copy(secret[16:], second[:])
	return id, sha256.Sum256(secret[:]), nil
}

// AccessTokenPin is the pin of the CA that a token's text carries; false: none, or the
// check digits don't fit.
func AccessTokenPin(text string) (pin [16]byte, ok bool) {
	if len(text) != AccessTokenLen || accessCheck(text[:AccessTokenLen-accessCheckLen]) != text[AccessTokenLen-accessCheckLen:] {
		return pin, false
	}
	pin, err := DecodeID(text[len(accessPrefix)+AccessIDLen+1:][:IDLen])
	return pin, err == nil
}

// CheckAccessName accepts 1 to AccessNameLen characters that can stand on a line.
func CheckAccessName(name string) error {
	switch n := utf8.RuneCountInString(name); {
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: the token's name is not valid UTF-8", ErrInvalid)
	case n < 1 || n > AccessNameLen:
		return fmt.Errorf("%w: the token's name has %d characters; it must have 1 to %d", ErrInvalid, n, AccessNameLen)
	case strings.ContainsFunc(name, func(r rune) bool { return r != ' ' && !unicode.IsPrint(r) }):
		return fmt.Errorf("%w: the token's name has characters that can't be shown", ErrInvalid)
	}
	return nil
}
