package liar

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

// Join makes the liar a member. It connects nothing yet.
func Join(ctx context.Context, cfg Config) (*Liar, error) {
	cfg.Host, cfg.Name = cmp.Or(cfg.Host, "127.0.0.1"), cmp.Or(cfg.Name, "liar")
	if cfg.ID == "" {
		id, err := raid.NewID(rand.Reader)
		if err != nil {
			return nil, err
		}
		cfg.ID = id
	}
	token, err := identity.ParseToken(cfg.Token)
	if err != nil {
		return nil, err
	}
	request, err := identity.Prepare(cfg.Dir, identity.MachineOf(""))
	if err != nil {
		return nil, err
	}
	l := &Liar{cfg: cfg, chunks: map[string]*chunk{}}
	err = l.call(ctx, token.ClientTLS(), "/v1/nodes/join", func(cs tls.ConnectionState) (any, error) {
		proof, err := token.Prove(cs, request.CSR())
		return raid.JoinRequest{
			Protocol: wire.ProtocolVersion, Version: "liar", Token: token.ID(), CSR: request.CSR(), Proof: proof,
			Node: raid.NodeID(cfg.ID), Name: cfg.Name,
		}, err
	}, &l.answer)
	if err != nil {
		return nil, err
	}
	l.who, err = request.Complete(l.answer.DER, l.answer.CA, token.Pin())
	return l, err
}

// RenewKey asks for a certificate for a new key, and uses it from then on. It is not
// called concurrently.
func (l *Liar) RenewKey(ctx context.Context) error {
	request, err := identity.Prepare(l.cfg.Dir, identity.MachineOf(""))
	if err != nil {
		return err
	}
	l.mu.Lock()
	old := l.who
	l.mu.Unlock()
	var answer raid.Certificate
	err = l.call(ctx, old.PortTLS(), "/v1/nodes/renew", func(tls.ConnectionState) (any, error) {
		return map[string][]byte{"csr": request.CSR()}, nil
	}, &answer)
	if err != nil {
		return err
	}
	who, err := request.Complete(answer.DER, answer.CA, old.Pin().Short())
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.who = who
	return nil
}

// Refused is the controller's no to joining or to a new key.
type Refused struct {
	Status  int
	Message string
}

func (r *Refused) Error() string { return fmt.Sprintf("status %d: %s", r.Status, r.Message) }

// call posts what body makes of the connection to the controller's HTTP port.
func (l *Liar) call(ctx context.Context, conf *tls.Config, path string, body func(tls.ConnectionState) (any, error), answer any) error {
	addr := net.JoinHostPort(l.cfg.Host, strconv.Itoa(l.cfg.HTTPPort))
	nc, err := (&tls.Dialer{Config: conf}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	conn := nc.(*tls.Conn)
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.NetConn().Close() })()
	what, err := body(conn.ConnectionState())
	if err != nil {
		return err
	}
	content, err := json.Marshal(what)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+addr+path, bytes.NewReader(content))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Close = true
	if err := req.Write(conn); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return &Refused{resp.StatusCode, string(text)}
	}
	return json.Unmarshal(text, answer)
}
