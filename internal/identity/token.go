package identity

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// A token is 75 characters:
//
//	RAID1-<pin>-<id>-<secret>-<check>
//	       26    8    26       6
//
// pin: 128 bits of the CA's pin; id: 40 random bits; secret: 128 random bits. All
// but the prefix are digits of base 32, see digits.go. The check digits cover
// the other 60.
const (
	tokenPrefix = "RAID1"
	halfDigits  = 26 // 128 bits
	idDigits    = 8  // 40 bits
	// TokenLen is the length of a token in characters.
	TokenLen = len(tokenPrefix) + 4 + 2*halfDigits + idDigits + checkDigits
)

// Token lets a node in. Printing it with package fmt or log/slog shows its id
// alone; [Token.String], called by name, is the text to paste. The zero Token is
// none.
type Token struct {
	pin    ShortPin
	id     string
	secret func() [16]byte // fmt shows fields of fields without asking Format, but no function's variables
}

func keep(secret [16]byte) func() [16]byte { return func() [16]byte { return secret } }

// NewToken draws a token for the array whose CA has the given pin. random must
// be fit for secrets: crypto/rand.Reader.
func NewToken(pin Pin, random io.Reader) (Token, error) {
	var id [5]byte
	var secret [16]byte
	for _, b := range [][]byte{id[:], secret[:]} {
		if _, err := io.ReadFull(random, b); err != nil {
			return Token{}, fmt.Errorf("draw a token: %w", err)
		}
	}
	return Token{pin: pin.Short(), id: encodeDigits(id[:]), secret: keep(secret)}, nil
}

// ParseToken reads what String writes, with white space around it. It fails with ErrNotToken, or
// with ErrMistyped when it must have been one. Any single wrong character is noticed, and any two
// neighbours that changed places.
func ParseToken(text string) (Token, error) {
	text = strings.TrimSpace(text)
	if !likeToken(text) {
		return Token{}, fmt.Errorf("%w: one begins with %s- and has %d characters; on the controller run: raidctl token create", ErrNotToken, tokenPrefix, TokenLen)
	}
	mistyped := fmt.Errorf("%w (check digits); copy the whole line again", ErrMistyped)
	field := strings.Split(text, "-")
	if len(field) != 5 || field[0] != tokenPrefix || len(field[1]) != halfDigits ||
		len(field[2]) != idDigits || len(field[3]) != halfDigits || len(field[4]) != checkDigits {
		return Token{}, mistyped
	}
	if !checks(field[1] + field[2] + field[3] + field[4]) {
		return Token{}, mistyped
	}
	var pin ShortPin
	var secret [16]byte
	if !decodeDigits(pin[:], field[1]) || !decodeDigits(secret[:], field[3]) {
		return Token{}, mistyped
	}
	return Token{pin: pin, id: field[2], secret: keep(secret)}, nil
}

// likeToken tells a token with a mistake from something else.
func likeToken(text string) bool {
	return strings.HasPrefix(text, tokenPrefix) ||
		len(text) == TokenLen && strings.Count(text, "-") >= 3
}

// String is the whole token with its secret, for the person who pastes it. It
// never belongs into a log.
func (t Token) String() string {
	if t.secret == nil {
		return ""
	}
	bits := t.secret()
	pin, secret := encodeDigits(t.pin[:]), encodeDigits(bits[:])
	return strings.Join([]string{tokenPrefix, pin, t.id, secret, check(pin + t.id + secret)}, "-")
}

// ID names the token where people list and spend it. It is no secret.
func (t Token) ID() string { return t.id }

// Pin is the pin of the CA that the token was made for.
func (t Token) Pin() ShortPin { return t.pin }

// Format prints the token without its secret, whatever the verb.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.hidden()) }

// LogValue logs the token without its secret.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.hidden()) }

// MarshalText writes the token without its secret, for encoding/json too.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.hidden()), nil }

func (t Token) hidden() string { return "token " + t.id }
