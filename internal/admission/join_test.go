package admission

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/raid"
)

func pinOf(ca []byte) (identity.Pin, error) {
	c, err := x509.ParseCertificate(ca)
	if err != nil {
		return identity.Pin{}, err
	}
	return identity.PinOf(c), nil
}

func TestNodeJoinsAndIsRecognized(t *testing.T) {
	p := newPlace(t)
	token := p.token(t, 2, "")
	n := newPi(t, "pi-2")
	cert, err := p.join(t, false, n, token)
	if err != nil {
		t.Fatal(err)
	}
	if cert.Array != array || cert.Node != n.id || cert.StorePort != 5557 || cert.ResponsePort != 5558 || cert.RequestPort != 5559 || cert.Up != 2 || cert.Known != 3 {
		t.Errorf("the answer is %+v", cert)
	}
	if got, err := p.connect(t, n.identity(t).ClientTLS()); err != nil || got != n.id {
		t.Errorf("it is %q: %v", got, err)
	}
	if !p.IsMember(n.id) || p.Name(n.id) != "pi-2" || !p.wasCut(n.id) {
		t.Errorf("member %v, name %q, what was there before cut %v", p.IsMember(n.id), p.Name(n.id), p.wasCut(n.id))
	}
	all := p.Tokens()
	if len(all) != 1 || all[0].Left != 1 || all[0].Uses != 2 || len(all[0].UsedBy) != 1 || all[0].UsedBy[0] != "pi-2" {
		t.Errorf("tokens are %+v", all)
	}
	p.restart(t)
	if got, err := p.connect(t, n.identity(t).ClientTLS()); err != nil || got != n.id {
		t.Errorf("after a restart it is %q: %v", got, err)
	}
}

// The answer may have been lost: asking again with the same key must work, also
// when nothing is left, and spends and writes nothing.
func TestJoiningAgainWithTheSameKeySpendsNothing(t *testing.T) {
	p := newPlace(t)
	token, other := p.token(t, 1, ""), p.token(t, 1, "")
	n := newPi(t, "pi-2")
	r := n.prepare(t)
	for i, tok := range []identity.Token{token, token, other} {
		s, c, _, _ := meet(t, false, p.port, tok.ClientTLS())
		cert, err := p.Join(t.Context(), s, n.request(t, tok, c, r))
		if err != nil {
			t.Fatalf("time %d: %v", i, err)
		}
		if cert.Node != n.id {
			t.Errorf("time %d: for node %s", i, cert.Node)
		}
	}
	if got := p.book.usedBy(token.ID()); len(got) != 1 || len(p.book.usedBy(other.ID())) != 0 || p.book.written() != 1 {
		t.Errorf("used by %v, %d writes", got, p.book.written())
	}
}

func TestEachRefusalSaysWhatToDo(t *testing.T) {
	p := newPlace(t)
	const create = "On the controller: sudo raidctl token create"
	there := p.joined(t, "pi-1")
	gone := p.joined(t, "pi-0")
	if err := p.Remove(t.Context(), gone.id, raid.RemoveOrder{Force: true}); err != nil {
		t.Fatal(err)
	}
	spent := p.token(t, 2, "")
	for _, name := range []string{"pi-2", "pi-3"} {
		if _, err := p.join(t, false, newPi(t, name), spent); err != nil {
			t.Fatal(err)
		}
	}
	good := p.token(t, 1, "")
	revoked := p.token(t, 1, "")
	if err := p.RevokeToken(revoked.ID()); err != nil {
		t.Fatal(err)
	}
	elsewhere := must(identity.NewToken(p.ca.Pin(), rand.Reader))(t)
	before := p.book.written()
	same := func(*raid.JoinRequest) {}
	for _, c := range []struct {
		what   string
		token  identity.Token
		change func(*raid.JoinRequest)
		want   error
		words  []string
	}{
		{"unknown", elsewhere, same, raid.ErrUnauthorized, []string{"not known", "restarted", create}},
		{"revoked", revoked, same, raid.ErrUnauthorized, []string{"not known", "taken back", create}},
		{"spent", spent, same, raid.ErrUnauthorized, []string{"no uses left (used by pi-2, pi-3)", create}},
		{"wrong proof", good, func(r *raid.JoinRequest) { r.Proof[0] ^= 1 }, raid.ErrUnauthorized, []string{"does not fit", "No use was spent", create}},
		{"no proof", good, func(r *raid.JoinRequest) { r.Proof = nil }, raid.ErrUnauthorized, []string{"does not fit"}},
		{"another request", good, func(r *raid.JoinRequest) { r.CSR = newPi(t, "").prepare(t).CSR() }, raid.ErrUnauthorized, []string{"does not fit"}},
		// Who does not know the secret is not told that the token is spent, and by whom.
		{"wrong proof for a spent one", spent, func(r *raid.JoinRequest) { r.Proof[0] ^= 1 }, raid.ErrUnauthorized, []string{"does not fit"}},
		{"for another node", p.token(t, 1, there.id), same, raid.ErrForbidden, []string{"lets in node " + string(there.id) + " alone", create}},
		{"removed", good, func(r *raid.JoinRequest) { r.Node = gone.id }, raid.ErrForbidden, []string{"was removed", "sudo raid-node reset-identity"}},
		{"other key", good, func(r *raid.JoinRequest) { r.Node = there.id }, raid.ErrPrecondition,
			[]string{"as pi-1", "sudo raidctl token create --node " + string(there.id), "sudo raid-node reset-identity"}},
		{"too old", good, func(r *raid.JoinRequest) { r.Protocol, r.Version = 1, "0.1" }, raid.ErrUpgrade,
			[]string{"raid-controller 0.3 needs a newer raid-node; this is 0.1", "sudo apt install --only-upgrade raid-node"}},
		{"too new", good, func(r *raid.JoinRequest) { r.Protocol, r.Version = 4, "0.9" }, raid.ErrUpgrade,
			[]string{"0.9 is too new for raid-controller 0.3", "sudo apt install --only-upgrade raid-controller"}},
		{"no node", good, func(r *raid.JoinRequest) { r.Node = "lab-10.0.0.1" }, raid.ErrInvalid, []string{"not a node's id"}},
		{"long name", good, func(r *raid.JoinRequest) { r.Name = strings.Repeat("a", 256) }, raid.ErrInvalid, []string{"hostnamectl"}},
		{"name in two lines", good, func(r *raid.JoinRequest) { r.Name = "pi\n2" }, raid.ErrInvalid, []string{"hostnamectl"}},
		{"large request", good, func(r *raid.JoinRequest) { r.CSR = make([]byte, identity.MaxCSR+1) }, raid.ErrInvalid, nil},
	} {
		s, client, _, _ := meet(t, false, p.port, c.token.ClientTLS())
		n := newPi(t, "pi-9")
		req := n.request(t, c.token, client, n.prepare(t))
		c.change(&req)
		cert, err := p.Join(t.Context(), s, req)
		wants(t, c.what, err, c.want, c.words...)
		if cert.DER != nil {
			t.Errorf("%s: there is a certificate", c.what)
		}
		if err != nil && (strings.Contains(err.Error(), secretOf(c.token)) || c.what == "wrong proof for a spent one" && strings.Contains(err.Error(), "pi-2")) {
			t.Errorf("%s: the text tells too much: %v", c.what, err)
		}
	}
	if p.book.written() != before {
		t.Errorf("%d writes for nothing", p.book.written()-before)
	}
	if all := p.book.usedBy(good.ID()); len(all) != 0 {
		t.Errorf("refused joins spent uses: %v", all)
	}
}

func TestRefusedCertificateRequestsSpendNothing(t *testing.T) {
	p := newPlace(t)
	token := p.token(t, 1, "")
	n := newPi(t, "pi-2")
	s, c, _, _ := meet(t, false, p.port, token.ClientTLS())
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))(t)
	for what, csr := range map[string][]byte{
		"P-384": must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, p384))(t),
		"empty": {}, "no DER": []byte("hello"), "a certificate": p.ca.Certificate(),
	} {
		req := n.request(t, token, c, n.prepare(t))
		req.CSR, req.Proof = csr, must(token.Prove(c, csr))(t)
		_, err := p.Join(t.Context(), s, req)
		wants(t, what, err, raid.ErrInvalid)
	}
	if _, err := p.join(t, false, n, token); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestJoinNeedsTLS(t *testing.T) {
	p := newPlace(t)
	token := p.token(t, 1, "")
	n := newPi(t, "pi-2")
	_, c, _, _ := meet(t, false, p.port, token.ClientTLS())
	req := n.request(t, token, c, n.prepare(t))
	for _, cs := range []tls.ConnectionState{{}, {HandshakeComplete: true}, {HandshakeComplete: true, Version: tls.VersionTLS12}} {
		_, err := p.Join(t.Context(), cs, req)
		wants(t, "without", err, raid.ErrForbidden)
	}
}

// A token for one node lets it in again when its identity is lost; and its old
// key is refused from then on.
func TestTokenForANodeReplacesItsKey(t *testing.T) {
	p := newPlace(t)
	n := p.joined(t, "pi-2")
	old := n.identity(t)
	if err := identity.Forget(n.dir); err != nil {
		t.Fatal(err)
	}
	token := p.token(t, 1, n.id)
	p.setLive(n.id, true)
	_, err := p.join(t, false, n, token)
	wants(t, "while it is connected", err, raid.ErrPrecondition, "is connected at this moment, as pi-2", "this card is a copy", "sudo raid-node reset-identity")
	p.setLive(n.id, false)
	if _, err := p.join(t, false, n, token); err != nil {
		t.Fatal(err)
	}
	if got, err := p.connect(t, n.identity(t).ClientTLS()); err != nil || got != n.id {
		t.Errorf("with the new key: %q, %v", got, err)
	}
	_, err = p.connect(t, old.ClientTLS())
	wants(t, "with the old key", err, identity.ErrForeign, "another one than it has here")
	if got := p.book.usedBy(token.ID()); len(got) != 1 {
		t.Errorf("used by %v", got)
	}
	if err := identity.Forget(n.dir); err != nil {
		t.Fatal(err)
	}
	_, err = p.join(t, false, n, token)
	wants(t, "a second time", err, raid.ErrUnauthorized, "no uses left (used by pi-2)")
}

func TestTwentyJoinsForThreeUses(t *testing.T) {
	p := newPlace(t)
	token := p.token(t, 3, "")
	addr := p.serve(t)
	pis := make([]*pi, 20)
	for i := range pis {
		pis[i] = newPi(t, fmt.Sprintf("pi-%d", i))
	}
	var mu sync.Mutex
	var in []*pi
	var wait sync.WaitGroup
	for _, n := range pis {
		r := n.prepare(t)
		wait.Go(func() {
			conn, err := tls.Dial("tcp", addr, token.ClientTLS())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			answer, err := ask(conn, n.request(t, token, conn.ConnectionState(), r))
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if answer.Text == "" {
				n.complete(t, r, answer.Certificate)
				in = append(in, n)
			} else if !strings.Contains(answer.Text, "has no uses left (used by pi-") {
				t.Errorf("%s: %s", n.name, answer.Text)
			}
		})
	}
	wait.Wait()
	if len(in) != 3 || len(p.book.usedBy(token.ID())) != 3 || len(p.book.members) != 3 {
		t.Fatalf("%d are in, %v used the token, %d are members", len(in), p.book.usedBy(token.ID()), len(p.book.members))
	}
	for _, n := range in {
		if got, err := p.connect(t, n.identity(t).ClientTLS()); err != nil || got != n.id {
			t.Errorf("%s is %q: %v", n.name, got, err)
		}
	}
}

// Who hangs up while the store is written has joined all the same, and memory
// knows it.
func TestJoinThatIsHungUpOnIsWholeOrNothing(t *testing.T) {
	p := newPlace(t)
	token := p.token(t, 1, "")
	n := newPi(t, "pi-2")
	s, c, _, _ := meet(t, false, p.port, token.ClientTLS())
	ctx, cancel := context.WithCancel(t.Context())
	p.book.before = func(string) { cancel() }
	r := n.prepare(t)
	if _, err := p.Join(ctx, s, n.request(t, token, c, r)); err != nil {
		t.Fatal(err)
	}
	if !p.IsMember(n.id) || p.book.member(n.id).Key != raid.KeyPin(r.Key()) {
		t.Error("memory and book differ")
	}
	p.book.before = nil
	p.busy <- struct{}{}
	s, c, _, _ = meet(t, false, p.port, token.ClientTLS())
	_, err := p.Join(ctx, s, n.request(t, token, c, r))
	<-p.busy
	if !errors.Is(err, context.Canceled) {
		t.Errorf("while somebody else writes: %v", err)
	}
}

func TestBooksRefusalsGetTheSameWords(t *testing.T) {
	p := newPlace(t)
	token := p.token(t, 5, "")
	if _, err := p.join(t, false, newPi(t, "pi-1"), token); err != nil {
		t.Fatal(err)
	}
	for kind, words := range map[error]string{
		raid.ErrUnauthorized: "no uses left (used by pi-1)", raid.ErrForbidden: "was removed", raid.ErrPrecondition: "--node", raid.ErrNoSpace: "join: ",
	} {
		p.book.failWith(fmt.Errorf("join: %w", kind))
		n := newPi(t, "pi-2")
		_, err := p.join(t, false, n, token)
		wants(t, "refused by the book", err, kind, words)
		if p.IsMember(n.id) || len(p.Tokens()[0].UsedBy) != 1 {
			t.Errorf("%v: memory has it", kind)
		}
	}
}

func TestSecretsAreInNoTextAtAll(t *testing.T) {
	p := newPlace(t)
	token := p.token(t, 1, "")
	n := newPi(t, "pi-2")
	if _, err := p.join(t, false, n, token); err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	for _, v := range []any{p.Registrar, p.cfg, p.Tokens(), p.tokens[token.ID()], *p.tokens[token.ID()], p.tokens} {
		fmt.Fprintf(&all, "%v %+v %#v %s\n", v, v, v, v)
	}
	all.WriteString(p.log.String())
	for _, secret := range []string{token.String(), secretOf(token)} {
		if strings.Contains(all.String(), secret) {
			t.Error("a token's secret can be read")
		}
	}
	if !strings.Contains(p.log.String(), token.ID()) || !strings.Contains(p.log.String(), "node joined") {
		t.Errorf("the log does not say who joined: %s", p.log)
	}
}

func TestTextsRepeatLittleOfWhatStrangersSay(t *testing.T) {
	users := make([]string, 12)
	for i := range users {
		users[i] = fmt.Sprintf("pi-%d", i)
	}
	if got := tokenSpentError(users).Error(); !strings.Contains(got, "pi-9, and 2 more)") {
		t.Error(got)
	}
	for word, want := range map[string]string{
		"": "of unknown version", "\x00\n": "of unknown version", "0.1\xff\u202e": "0.1", strings.Repeat("é", 41): strings.Repeat("é", 40),
	} {
		if got := repeat(word); got != want {
			t.Errorf("%q becomes %q", word, got)
		}
	}
}
