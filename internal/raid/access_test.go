package raid

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
)

func TestAccessTokenIsReadAsItWasDrawn(t *testing.T) {
	for range 100 {
		id, text, sum, err := NewAccessToken(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		gotID, gotSum, err := ParseAccessToken(text)
		if gotID != id || gotSum != sum || err != nil || len(text) != 60 || strings.Trim(text, base62+"_") != "" {
			t.Fatalf("%s: %s, %v", text, gotID, err)
		}
	}
	// The bytes are hashed, not their digits.
	_, text, sum, _ := NewAccessToken(bytes.NewReader(make([]byte, 48)))
	if sum != sha256.Sum256(make([]byte, 32)) || text != "raidpi_00000000_"+strings.Repeat("0", 44) {
		t.Errorf("%s %x", text, sum)
	}
}

func TestOtherTextsAreNoAccessTokens(t *testing.T) {
	_, good, _, _ := NewAccessToken(rand.Reader)
	for _, text := range []string{
		"", "raidpi_", good + "0", good[:59], "Raidpi" + good[6:], strings.Replace(good, "raidpi_", "raidpi-", 1),
		good[:15] + "-" + good[16:], good[:16] + strings.Repeat("z", 44), good[:20] + "_" + good[21:], good[:50] + "ä" + good[52:],
		good[:10] + "_" + good[11:], good[:10] + "/" + good[11:], strings.Repeat("x", 1<<20),
	} {
		if id, _, err := ParseAccessToken(text); !errors.Is(err, ErrBadID) || id != "" {
			t.Errorf("%.80q is taken for token %q, %v", text, id, err)
		}
	}
}

func TestScopesAndNames(t *testing.T) {
	for s := ScopeRead; s <= ScopeAdmin; s++ {
		if got, err := ParseScope(s.String()); got != s || err != nil {
			t.Errorf("%v reads as %v, %v", s, got, err)
		}
	}
	for _, name := range []string{"", "none", "Read", "root", "scope 7", Scope(7).String()} {
		if _, err := ParseScope(name); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q is a scope", name)
		}
	}
	for name, good := range map[string]bool{
		"laptop": true, "Omas Bücher 日本": true, strings.Repeat("ä", AccessNameLen): true,
		"": false, strings.Repeat("a", AccessNameLen+1): false, "a\nb": false, "\xff": false, "x\u202e": false,
	} {
		if err := CheckAccessName(name); (err == nil) != good {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

func TestPinnedTokenSaysWhomItIsFor(t *testing.T) {
	pin := [16]byte{1, 2, 3, 0xff, 15: 9}
	for range 20 {
		id, text, sum, err := NewPinnedToken(pin, rand.Reader)
		if err != nil || len(text) != AccessTokenLen {
			t.Fatal(text, err)
		}
		gotID, gotSum, err := ParseAccessToken(text)
		if gotID != id || gotSum != sum || err != nil {
			t.Errorf("%s reads as %s, %v", text, gotID, err)
		}
		if got, ok := AccessTokenPin(text); !ok || got != pin {
			t.Errorf("%s is for %x", text, got)
		}
		if strings.Trim(text, base62+"_") != "" {
			t.Errorf("%s can't be a Bearer token", text)
		}
	}
	_, bare, _, _ := NewAccessToken(rand.Reader)
	if _, ok := AccessTokenPin(bare); ok {
		t.Error("a token without a pin has one")
	}
}

func TestAnyMistakeInAPinnedTokenIsNoticed(t *testing.T) {
	_, good, _, _ := NewPinnedToken([16]byte{7}, rand.Reader)
	wrong := func(what, text string) {
		t.Helper()
		if _, _, err := ParseAccessToken(text); !errors.Is(err, ErrBadID) {
			t.Errorf("%s: %s is taken", what, text)
		}
	}
	for i := range good {
		for _, c := range []byte{'0', 'z', '_', ' '} {
			if good[i] != c {
				wrong("one character", good[:i]+string(c)+good[i+1:])
			}
		}
		if i > 0 && good[i] != good[i-1] {
			wrong("two that changed places", good[:i-1]+good[i:i+1]+good[i-1:i]+good[i+1:])
		}
		wrong("cut", good[:i])
		wrong("its end alone", good[i+1:])
	}
	wrong("more", good+"0")
}
