package admission

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/raid"
)

// renewed is a whole rotation, as far as the node's own part.
func (p *place) renewed(t testing.TB, n *pi) *identity.Request {
	t.Helper()
	r := n.prepare(t)
	cert, err := p.Renew(t.Context(), p.dialPort(t, n.identity(t)), r.CSR())
	if err != nil {
		t.Fatal(err)
	}
	n.complete(t, r, cert)
	return r
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 2000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("%s: it does not happen", what)
}

func TestNewKeyTakesOverWithItsFirstConnection(t *testing.T) {
	p := newPlace(t)
	p.run(t)
	n := p.joined(t, "pi-2")
	old := n.identity(t)
	if p.RenewDue(n.id) {
		t.Error("a new key is due at once")
	}
	if err := p.RotateKey(n.id); err != nil || !p.RenewDue(n.id) {
		t.Fatalf("asked for: %v", err)
	}
	r := p.renewed(t, n)
	if p.RenewDue(n.id) {
		t.Error("one more is due before the new one was seen")
	}
	// Connections of the old key are let in until the new one was seen.
	if _, err := p.connect(t, old.ClientTLS()); err != nil {
		t.Errorf("old key before: %v", err)
	}
	if got, err := p.connect(t, n.identity(t).ClientTLS()); err != nil || got != n.id {
		t.Fatalf("new key: %q, %v", got, err)
	}
	_, err := p.connect(t, old.ClientTLS())
	wants(t, "old key afterwards", err, identity.ErrForeign, "another one than it has here", "sudo raid-node reset-identity")
	until(t, "the book knows", func() bool {
		m := p.book.member(n.id)
		return m.Key == raid.KeyPin(r.Key()) && m.Next == raid.KeyPin{}
	})
	if p.RenewDue(n.id) {
		t.Error("one more is due afterwards")
	}
	p.restart(t)
	_, err = p.connect(t, old.ClientTLS())
	wants(t, "old key after a restart", err, identity.ErrForeign)
	if got, err := p.connect(t, n.identity(t).ClientTLS()); err != nil || got != n.id {
		t.Errorf("new key after a restart: %q, %v", got, err)
	}
}

// Who has seen a certificate has not its key; a handshake that fails must not
// take the node's present key from it.
func TestCertificateAloneMakesNoKeyCount(t *testing.T) {
	p := newPlace(t)
	n := p.joined(t, "pi-2")
	r := n.prepare(t)
	cert, err := p.Renew(t.Context(), p.dialPort(t, n.identity(t)), r.CSR())
	if err != nil {
		t.Fatal(err)
	}
	thief := n.identity(t).ClientTLS()
	stolen := tls.Certificate{Certificate: [][]byte{cert.DER, cert.CA}, PrivateKey: thief.Certificates[0].PrivateKey}
	thief.Certificates = nil
	thief.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &stolen, nil }
	if got, err := p.connect(t, thief); err == nil {
		t.Errorf("somebody with the certificate alone is %q", got)
	}
	if got, err := p.connect(t, n.identity(t).ClientTLS()); err != nil || got != n.id {
		t.Errorf("the node with its present key: %q, %v", got, err)
	}
}

// The answer was lost, or the node lost power before it was stored: it comes with
// its old key, is asked again, and gets a certificate for the same new key.
func TestLostAnswerIsAskedForAgain(t *testing.T) {
	p := newPlace(t)
	n := p.joined(t, "pi-2")
	r := n.prepare(t)
	if _, err := p.Renew(t.Context(), p.dialPort(t, n.identity(t)), r.CSR()); err != nil {
		t.Fatal(err)
	}
	if p.RenewDue(n.id) {
		t.Error("due before it came back")
	}
	if _, err := p.connect(t, n.identity(t).ClientTLS()); err != nil || !p.RenewDue(n.id) {
		t.Fatalf("due when it came back: %v, %v", p.RenewDue(n.id), err)
	}
	p.restart(t)
	if p.RenewDue(n.id) {
		t.Error("due after a restart, before it came back")
	}
	writes := p.book.written()
	if again := p.renewed(t, n); again.Key() != r.Key() || p.book.written() != writes {
		t.Errorf("another key, or %d writes", p.book.written()-writes)
	}
	if got, err := p.connect(t, n.identity(t).ClientTLS()); err != nil || got != n.id || p.RenewDue(n.id) {
		t.Errorf("with the new key: %q, %v; due: %v", got, err, p.RenewDue(n.id))
	}
}

// A new key that was never seen may be replaced, when its node has lost it.
func TestNextKeyThatWasLostIsReplaced(t *testing.T) {
	p := newPlace(t)
	n := p.joined(t, "pi-2")
	lost := newPi(t, "").prepare(t)
	if _, err := p.Renew(t.Context(), p.dialPort(t, n.identity(t)), lost.CSR()); err != nil {
		t.Fatal(err)
	}
	p.book.failWith(raid.ErrNoSpace)
	_, err := p.Renew(t.Context(), p.dialPort(t, n.identity(t)), n.prepare(t).CSR())
	wants(t, "when the book can't", err, raid.ErrNoSpace)
	if err := p.CheckKey(n.id, lost.Key()); err != nil {
		t.Errorf("the one before is gone though there is no other: %v", err)
	}
	p.book.failWith(nil)
	r := p.renewed(t, n)
	wants(t, "the one that was replaced", p.CheckKey(n.id, lost.Key()), identity.ErrForeign)
	if _, err := p.connect(t, n.identity(t).ClientTLS()); err != nil || p.CheckKey(n.id, r.Key()) != nil {
		t.Errorf("the one after it: %v", err)
	}
}

// A key that was seen must be in the store as the key before the next one can be:
// the next process would refuse it.
func TestSeenKeyIsWrittenBeforeTheNextOne(t *testing.T) {
	p := newPlace(t) // and nobody runs Run
	n := p.joined(t, "pi-2")
	for range 3 {
		p.renewed(t, n)
		if _, err := p.connect(t, n.identity(t).ClientTLS()); err != nil {
			t.Fatal(err)
		}
	}
	last := n.prepare(t)
	if _, err := p.Renew(t.Context(), p.dialPort(t, n.identity(t)), last.CSR()); err != nil {
		t.Fatal(err)
	}
	p.restart(t)
	if _, err := p.connect(t, n.identity(t).ClientTLS()); err != nil {
		t.Errorf("after a restart its key is refused: %v", err)
	}
}

// The process died before it wrote down that it saw the new key.
func TestNewKeyIsFoundOutAgainAfterACrash(t *testing.T) {
	p := newPlace(t)
	n := p.joined(t, "pi-2")
	old := n.identity(t)
	r := p.renewed(t, n)
	if _, err := p.connect(t, n.identity(t).ClientTLS()); err != nil {
		t.Fatal(err)
	}
	p.restart(t)
	p.run(t)
	if _, err := p.connect(t, n.identity(t).ClientTLS()); err != nil {
		t.Fatal(err)
	}
	_, err := p.connect(t, old.ClientTLS())
	wants(t, "old key", err, identity.ErrForeign)
	until(t, "the book knows", func() bool { return p.book.member(n.id).Key == raid.KeyPin(r.Key()) })
}

func TestOldKeyCanNotRenew(t *testing.T) {
	p := newPlace(t)
	n := p.joined(t, "pi-2")
	old := p.dialPort(t, n.identity(t))
	p.renewed(t, n)
	if _, err := p.connect(t, n.identity(t).ClientTLS()); err != nil {
		t.Fatal(err)
	}
	// Its connection was made while the key still counted.
	_, err := p.Renew(t.Context(), old, newPi(t, "").prepare(t).CSR())
	wants(t, "old key", err, raid.ErrForbidden, "another one than it has here")
	wants(t, "old key", err, identity.ErrForeign)
	wants(t, "old key leaves", p.Leave(t.Context(), old, raid.RemoveOrder{Force: true}), raid.ErrForbidden)
	_, err = p.Renew(t.Context(), p.dialPort(t, n.identity(t)), []byte("hello"))
	wants(t, "no request", err, raid.ErrInvalid)
	_, err = p.Renew(t.Context(), tls.ConnectionState{HandshakeComplete: true, Version: tls.VersionTLS13}, n.prepare(t).CSR())
	wants(t, "without a certificate", err, raid.ErrUnauthorized)
	s, _, _, _ := meet(t, false, p.port, p.token(t, 1, "").ClientTLS())
	_, err = p.Renew(t.Context(), s, n.prepare(t).CSR())
	wants(t, "over a connection for joining", err, raid.ErrUnauthorized)
}

func TestKeysAreRenewedByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		n := newPi(t, "pi-2")
		if p.RenewDue(n.id) {
			t.Error("due for one that has not joined")
		}
		wants(t, "one that has not joined", p.RotateKey(n.id), raid.ErrNotFound)
		token := p.token(t, 1, "")
		if _, err := p.join(t, true, n, token); err != nil {
			t.Fatal(err)
		}
		time.Sleep(90 * 24 * hour)
		if p.RenewDue(n.id) {
			t.Error("due after exactly 90 days")
		}
		time.Sleep(time.Nanosecond)
		if !p.RenewDue(n.id) {
			t.Error("not due after 90 days")
		}
		if err := p.Remove(t.Context(), n.id, raid.RemoveOrder{Force: true}); err != nil {
			t.Fatal(err)
		}
		if p.RenewDue(n.id) {
			t.Error("due for one that was removed")
		}
		wants(t, "one that was removed", p.RotateKey(n.id), raid.ErrNotFound)
	})
}

func TestSeenKeysAreWrittenDownOnceTheBookCan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		id := newPi(t, "").id
		p.book.members[id] = raid.Member{ID: id, Key: raid.KeyPin{1}}
		p.seen[id] = raid.KeyPin{2} // neither key nor next
		other := newPi(t, "").id
		p.book.members[other] = raid.Member{ID: other, Key: raid.KeyPin{1}, Next: raid.KeyPin{2}}
		p.seen[other] = raid.KeyPin{2}
		p.book.failWith(raid.ErrNoSpace)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		p.wake <- struct{}{}
		time.Sleep(hour)
		synctest.Wait()
		p.book.failWith(nil)
		time.Sleep(maxPause)
		synctest.Wait()
		if got := p.book.member(other); got.Key != (raid.KeyPin{2}) || len(p.seen) != 0 {
			t.Errorf("the book has %+v; %d wait", got, len(p.seen))
		}
		// Nothing is done when nothing waits, and a broken store ends it.
		p.seen[other] = raid.KeyPin{2}
		p.book.failWith(fmt.Errorf("promote: %w", raid.ErrShutdown))
		p.wake <- struct{}{}
		synctest.Wait()
		p.book.failWith(fmt.Errorf("promote: %w", raid.ErrCatalogBroken))
		p.wake <- struct{}{}
		if err := <-done; !errors.Is(err, raid.ErrCatalogBroken) {
			t.Error(err)
		}
		cancel()
		if err := p.Run(ctx); err != nil {
			t.Errorf("after its end: %v", err)
		}
	})
}

// Handshakes are answered while the store is slow.
func TestChecksDoNotWaitForTheBook(t *testing.T) {
	p := newPlace(t)
	n := p.joined(t, "pi-2")
	key := n.identity(t).Key()
	cs := p.dialPort(t, n.identity(t))
	inside, release := make(chan struct{}), make(chan struct{})
	p.book.before = func(string) { close(inside); <-release }
	done := make(chan error)
	go func() { done <- p.Remove(context.Background(), n.id, raid.RemoveOrder{Force: true}) }()
	<-inside
	if err := p.CheckKey(n.id, key); err != nil {
		t.Error(err)
	}
	if _, err := p.Identify(cs); err != nil {
		t.Error(err)
	}
	wants(t, "plaintext", p.MayBePlain(n.id), raid.ErrForbidden)
	_, _, _ = p.RenewDue(n.id), p.IsMember(n.id), p.Tokens()
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	wants(t, "afterwards", p.CheckKey(n.id, key), identity.ErrRemoved)
}

func TestCheckKeyKnowsKeysFromOthers(t *testing.T) {
	p := newPlace(t)
	id, unknown, plain := newPi(t, "").id, newPi(t, "").id, newPi(t, "").id
	p.members[id] = raid.Member{ID: id, Key: raid.KeyPin{1}}
	p.members[plain] = raid.Member{ID: plain}
	for _, c := range []struct {
		id   raid.NodeID
		key  identity.Pin
		want error
	}{
		{id, identity.Pin{1}, nil}, {id, identity.Pin{2}, identity.ErrForeign}, {id, identity.Pin{}, identity.ErrForeign},
		{unknown, identity.Pin{1}, identity.ErrForeign}, {unknown, identity.Pin{}, identity.ErrForeign},
		{plain, identity.Pin{}, identity.ErrForeign}, {"", identity.Pin{}, identity.ErrForeign},
	} {
		if err := p.CheckKey(c.id, c.key); !errors.Is(err, c.want) {
			t.Errorf("node %q, key %.4s: %v", c.id, c.key, err)
		}
	}
	wants(t, "unknown", p.CheckKey(unknown, identity.Pin{1}), identity.ErrForeign, "sudo raidctl token create --node "+string(unknown))
	if err := p.MayBePlain(unknown); err != nil {
		t.Error(err)
	}
	if err := p.MayBePlain(plain); err != nil {
		t.Error(err)
	}
	wants(t, "member", p.MayBePlain(id), raid.ErrForbidden, "inside TLS")
}

// Each new key costs the catalog two writes: a node that draws one after the other gets a
// few, and is told to wait. Another one's are its own, and asking again with the same key
// is free.
func TestANodeThatDrawsKeysAllTheTimeGetsAFew(t *testing.T) {
	p := newPlace(t)
	p.run(t)
	bad, good := p.joined(t, "pi-2"), p.joined(t, "pi-3")
	got := 0
	var last *identity.Request
	for range 40 {
		r := newPi(t, "").prepare(t)
		_, err := p.Renew(t.Context(), p.dialPort(t, bad.identity(t)), r.CSR())
		switch {
		case err == nil:
			got, last = got+1, r
		case !errors.Is(err, raid.ErrBusy):
			t.Fatal(err)
		}
	}
	if got != renewRate.Burst {
		t.Errorf("%d of 40 new keys were certified, want %d", got, renewRate.Burst)
	}
	if _, err := p.Renew(t.Context(), p.dialPort(t, bad.identity(t)), last.CSR()); err != nil {
		t.Errorf("the key that it got, again: %v", err)
	}
	if _, err := p.connect(t, bad.identity(t).ClientTLS()); err != nil {
		t.Errorf("its present key: %v", err)
	}
	p.renewed(t, good)
}
