package admission

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/raid"
)

func TestTokenLastsAsLongAsItSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		token, info, err := p.CreateToken(9, 30*time.Minute, "", "")
		if err != nil || info.ID != token.ID() || info.Uses != 9 || info.Left != 9 || info.Expiry != 30*time.Minute || token.Pin() != p.ca.Pin().Short() {
			t.Fatalf("%+v, %v", info, err)
		}
		time.Sleep(30*time.Minute - time.Millisecond)
		if _, err := p.join(t, true, newPi(t, "pi-2"), token); err != nil {
			t.Errorf("just before its end: %v", err)
		}
		time.Sleep(time.Millisecond)
		for _, c := range []struct {
			wait time.Duration
			text string
		}{{0, "just now"}, {time.Second, "1 second ago"}, {58 * time.Second, "59 seconds ago"}, {time.Second, "1 minute ago"}, {11 * time.Minute, "12 minutes ago"}, {20 * time.Hour, "20 hours ago"}} {
			time.Sleep(c.wait)
			_, err := p.join(t, true, newPi(t, "pi-3"), token)
			wants(t, c.text, err, raid.ErrUnauthorized, "This token expired "+c.text+". On the controller: sudo raidctl token create")
		}
		if all := p.Tokens(); len(all) != 1 || all[0].Expiry > -20*time.Hour || all[0].Left != 8 {
			t.Errorf("tokens are %+v", all)
		}
		time.Sleep(4 * time.Hour)
		if all := p.Tokens(); len(all) != 0 {
			t.Errorf("a day later there are %+v", all)
		}
		_, err = p.join(t, true, newPi(t, "pi-3"), token)
		wants(t, "a day later", err, raid.ErrUnauthorized, "not known")
	})
}

// A token may end while its node waits for others to be written down.
func TestTokenThatEndsWhileItsNodeWaitsIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		token, _, err := p.CreateToken(9, time.Minute, "", "")
		if err != nil {
			t.Fatal(err)
		}
		n := newPi(t, "pi-2")
		s, c, _, _ := meet(t, true, p.port, token.ClientTLS())
		req := n.request(t, token, c, n.prepare(t))
		result := make(chan error)
		p.busy <- struct{}{}
		go func() {
			_, err := p.Join(t.Context(), s, req)
			result <- err
		}()
		time.Sleep(time.Minute)
		<-p.busy
		wants(t, "expired meanwhile", <-result, raid.ErrUnauthorized, "expired")
		if p.book.written() != 0 {
			t.Error("the book was written")
		}
	})
}

func TestTokenEndsWithItsProcess(t *testing.T) {
	p := newPlace(t)
	token := p.token(t, 1, "")
	p.restart(t)
	_, err := p.join(t, false, newPi(t, "pi-2"), token)
	wants(t, "after a restart", err, raid.ErrUnauthorized, "raid-controller was restarted")
}

func TestTokenIsBounded(t *testing.T) {
	p := newPlace(t)
	gone := p.joined(t, "pi-0")
	if err := p.Remove(t.Context(), gone.id, raid.RemoveOrder{Force: true}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		uses int
		ttl  time.Duration
		node raid.NodeID
		want error
	}{
		{0, hour, "", raid.ErrInvalid}, {-1, hour, "", raid.ErrInvalid}, {1001, hour, "", raid.ErrInvalid},
		{1, 0, "", raid.ErrInvalid}, {1, -hour, "", raid.ErrInvalid}, {1, time.Minute - 1, "", raid.ErrInvalid}, {1, 7*24*hour + 1, "", raid.ErrInvalid},
		{1, hour, "pi-2", raid.ErrInvalid}, {1, hour, gone.id, raid.ErrForbidden},
		{1, time.Minute, "", nil}, {1000, 7 * 24 * hour, newPi(t, "").id, nil},
	} {
		token, info, err := p.CreateToken(c.uses, c.ttl, c.node, "")
		if !errors.Is(err, c.want) {
			t.Errorf("%d uses, %v, node %q: %v", c.uses, c.ttl, c.node, err)
		}
		if (err == nil) != (token.ID() != "") || info.Node != "" && info.Node != c.node {
			t.Errorf("%d uses, %v: token %v", c.uses, c.ttl, token)
		}
	}
	wants(t, "unknown", p.RevokeToken("00000000"), raid.ErrNotFound)
}

func TestThereAreNeverMoreThanAThousandTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		var short identity.Token
		for i := range maxTokens {
			ttl := 2 * hour
			if i == 500 {
				ttl = hour
			}
			token, _, err := p.CreateToken(1, ttl, "", "")
			if err != nil {
				t.Fatal(err)
			}
			if i == 500 {
				short = token
			}
		}
		_, _, err := p.CreateToken(1, hour, "", "")
		wants(t, "one more", err, raid.ErrPrecondition, "1000", "revoke")
		time.Sleep(hour)
		if _, _, err := p.CreateToken(1, hour, "", ""); err != nil {
			t.Errorf("when one is over: %v", err)
		}
		if all := p.Tokens(); len(all) != maxTokens {
			t.Errorf("%d are kept", len(all))
		}
		wants(t, "the one that was over", p.RevokeToken(short.ID()), raid.ErrNotFound)
	})
}

func TestTokenNeedsRandomness(t *testing.T) {
	p := newPlace(t, func(c *Config) { c.Random = strings.NewReader("x") })
	if token, _, err := p.CreateToken(1, hour, "", ""); err == nil || token.ID() != "" {
		t.Errorf("%v, %v", token, err)
	}
	p = newPlace(t, func(c *Config) { c.Random = strings.NewReader(strings.Repeat("x", 42)) })
	if _, _, err := p.CreateToken(1, hour, "", ""); err != nil {
		t.Error(err)
	}
	_, _, err := p.CreateToken(1, hour, "", "")
	wants(t, "an id that is taken", err, raid.ErrPrecondition)
}

// A token's time does not hang on the clock, which a Pi sets when it has found a
// network.
func TestTokensTimeIsMonotonic(t *testing.T) {
	p := newPlace(t)
	text := p.token(t, 1, "")
	if made := p.tokens[text.ID()].made; !strings.Contains(made.String(), " m=") {
		t.Errorf("it was made at %v, which has no monotonic reading", made)
	}
}
