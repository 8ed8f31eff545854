package identity

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
)

func newTestToken(t testing.TB) Token {
	t.Helper()
	var pin Pin
	must(rand.Read(pin[:]))(t)
	return must(NewToken(pin, rand.Reader))(t)
}

func secretOf(token Token) []byte {
	b := token.secret()
	return b[:]
}

func TestTokenReadsAsItIsWritten(t *testing.T) {
	form := regexp.MustCompile(`^RAID1-[0-9A-Z]{26}-[0-9A-Z]{8}-[0-9A-Z]{26}-[0-9A-Z]{6}$`)
	for range 100 {
		token := newTestToken(t)
		text := token.String()
		if !form.MatchString(text) || len(text) != TokenLen || TokenLen != 75 {
			t.Fatalf("token %q has %d characters", text, len(text))
		}
		got, err := ParseToken("  " + text + "\r\n")
		if err != nil || got.String() != text || got.ID() != token.ID() || got.Pin() != token.Pin() || got.secret() != token.secret() {
			t.Fatalf("%q reads as %q: %v", text, got.String(), err)
		}
	}
}

func TestAnySingleWrongCharacterIsNoticed(t *testing.T) {
	token := newTestToken(t)
	text := token.String()
	for i := range text {
		for c := byte('!'); c <= '~'; c++ {
			if c == text[i] {
				continue
			}
			wrong := text[:i] + string(c) + text[i+1:]
			_, err := ParseToken(wrong)
			if !errors.Is(err, ErrMistyped) {
				t.Fatalf("%q instead of %q at %d: %v", c, text[i], i, err)
			}
			if shows(err.Error(), token) {
				t.Fatal("the error tells the secret")
			}
		}
	}
}

func TestAnyTranspositionIsNoticed(t *testing.T) {
	for range 50 {
		text := newTestToken(t).String()
		for i := range len(text) - 1 {
			if text[i] == text[i+1] {
				continue
			}
			b := []byte(text)
			b[i], b[i+1] = b[i+1], b[i]
			if _, err := ParseToken(string(b)); !errors.Is(err, ErrMistyped) {
				t.Fatalf("%q and %q changed places at %d: %v", text[i], text[i+1], i, err)
			}
		}
	}
}

func TestLostAndDoubledCharactersAreNoticed(t *testing.T) {
	text := newTestToken(t).String()
	for i := len(tokenPrefix); i < len(text); i++ {
		for _, wrong := range []string{text[:i] + text[i+1:], text[:i] + text[i:i+1] + text[i:], text[:i]} {
			if _, err := ParseToken(wrong); !errors.Is(err, ErrMistyped) {
				t.Fatalf("%q: %v", wrong, err)
			}
		}
	}
}

func TestOtherTextsAreNoTokens(t *testing.T) {
	for _, text := range []string{"", "x", "controller.local", "sudo raid-node join", strings.Repeat("a", TokenLen), strings.Repeat("é", 500)} {
		if _, err := ParseToken(text); !errors.Is(err, ErrNotToken) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if s := (Token{}).String(); s != "" {
		t.Errorf("the zero token is %q", s)
	}
}

// Digits that no bytes are written as would give a token two spellings.
func TestFilledUpDigitsMustBeZero(t *testing.T) {
	token := newTestToken(t)
	pin, secret := encodeDigits(token.pin[:]), []byte(encodeDigits(secretOf(token)))
	last := strings.IndexByte(digits, secret[len(secret)-1])
	secret[len(secret)-1] = digits[last|1]
	text := strings.Join([]string{tokenPrefix, pin, token.id, string(secret), check(pin + token.id + string(secret))}, "-")
	if _, err := ParseToken(text); !errors.Is(err, ErrMistyped) {
		t.Errorf("%v", err)
	}
}

// The examples of BIP 350, whose human readable part goes in first.
func TestCheckDigitsAreThoseOfBech32m(t *testing.T) {
	const bech32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	translate := func(s string) string {
		return strings.Map(func(r rune) rune { return rune(digits[strings.IndexRune(bech32, r)]) }, s)
	}
	for _, c := range []struct{ human, data string }{
		{"a", "lqfn3a"},
		{"abcdef", "l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx"},
		{"split", "checkupstagehandshakeupstreamerranterredcaperredlc445v"},
	} {
		var expanded strings.Builder
		for i := range len(c.human) {
			expanded.WriteByte(digits[c.human[i]>>5])
		}
		expanded.WriteByte(digits[0])
		for i := range len(c.human) {
			expanded.WriteByte(digits[c.human[i]&31])
		}
		if !checks(expanded.String() + translate(c.data)) {
			t.Errorf("%s1%s is refused", c.human, c.data)
		}
	}
}

func TestPrintingATokenKeepsItsSecret(t *testing.T) {
	token := newTestToken(t)
	type open struct{ T Token }
	type closed struct{ t Token }
	things := []any{token, &token, open{token}, &open{token}, closed{token}, &closed{token}, []Token{token}, map[string]Token{"a": token}, []any{&token}}
	decimal := strings.Trim(fmt.Sprint(secretOf(token)), "[]")
	check := func(how, out string) {
		t.Helper()
		if shows(out, token) || strings.Contains(out, decimal) {
			t.Errorf("%s shows the secret: %s", how, out)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%100v"} {
		for _, thing := range things {
			check(fmt.Sprintf("%s of %T", verb, thing), fmt.Sprintf(verb, thing))
		}
	}
	for _, thing := range things {
		var out bytes.Buffer
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "token", thing)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "token", thing)
		check(fmt.Sprintf("slog of %T", thing), out.String())
		b, _ := json.Marshal(thing)
		check(fmt.Sprintf("JSON of %T", thing), string(b))
	}
	if out := fmt.Sprint(token); !strings.Contains(out, token.ID()) {
		t.Errorf("%q does not say which token it is", out)
	}
}

func TestTokenNeedsRandomness(t *testing.T) {
	if _, err := NewToken(Pin{}, bytes.NewReader(make([]byte, 20))); err == nil {
		t.Error("a token was drawn from 20 bytes")
	}
}
