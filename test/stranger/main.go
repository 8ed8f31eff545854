// Command stranger tries what somebody in the network might who does not belong to the array, on
// each of the controller's ports. It prints a line for each: "refused" and how, or "SERVED" and
// what it got. It is a test's.
package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const patience = 5 * time.Second

func main() {
	host := os.Args[1]
	if len(os.Args) > 2 {
		flood(host)
		return
	}
	status := 0
	for _, port := range []string{"5557", "5558", "5559"} {
		for _, try := range []struct {
			as  string
			run func(addr string) (string, error)
		}{
			{"a libzmq program", plain},
			{"a node without certificate", encrypted(nil)},
			{"a node of another array", encrypted(forged())},
		} {
			if got, err := try.run(net.JoinHostPort(host, port)); err != nil {
				fmt.Printf("%s as %s: refused: %v\n", port, try.as, err)
			} else {
				fmt.Printf("%s as %s: SERVED: %s\n", port, try.as, got)
				status = 1
			}
		}
	}
	os.Exit(status)
}

// greeting of ZMTP 3.0 with the mechanism NULL (RFC 23), and READY as a SUB, a
// PULL or a PUSH says it.
func greeting() []byte {
	g := append([]byte{0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0x7F, 3, 0}, make([]byte, 52)...)
	copy(g[12:], "NULL")
	return g
}

func ready(socket string) []byte {
	body := append([]byte{5}, "READY"...)
	body = append(append(body, 11), "Socket-Type"...)
	body = append(body, 0, 0, 0, byte(len(socket)))
	body = append(body, socket...)
	return append([]byte{4, byte(len(body))}, body...)
}

// plain does what a program of the exercise does.
func plain(addr string) (string, error) {
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return "", err
	}
	defer c.Close()
	return speak(c, addr)
}

// encrypted tries it inside TLS, with a certificate or without.
func encrypted(own *tls.Certificate) func(string) (string, error) {
	return func(addr string) (string, error) {
		cfg := &tls.Config{InsecureSkipVerify: true}
		if own != nil {
			cfg.Certificates = []tls.Certificate{*own}
		}
		c, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", addr, cfg)
		if err != nil {
			return "", err
		}
		defer c.Close()
		return speak(c, addr)
	}
}

// speak gets through the handshake as the peer that belongs to the port, if it can.
func speak(c net.Conn, addr string) (string, error) {
	_ = c.SetDeadline(time.Now().Add(patience))
	_, port, _ := net.SplitHostPort(addr)
	peer := map[string]string{"5557": "PULL", "5558": "PUSH", "5559": "SUB"}[port]
	if _, err := c.Write(append(greeting(), ready(peer)...)); err != nil {
		return "", err
	}
	head := make([]byte, 64+2)
	if _, err := io.ReadFull(c, head); err != nil {
		return "", fmt.Errorf("no handshake: %w", err)
	}
	body := make([]byte, head[65])
	if _, err := io.ReadFull(c, body); err != nil {
		return "", fmt.Errorf("no handshake: %w", err)
	}
	if bytes.HasPrefix(body, append([]byte{5}, "ERROR"...)) {
		return "", errors.New(string(body[7:]))
	}
	return hex.EncodeToString(body), nil
}

// forged is a certificate that looks like a node's, of a CA that the stranger made.
func forged() *tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	u := &url.URL{Scheme: "raidpi", Opaque: "0123456789abcdefghijkl/node/0123456789abcdefghijkl"}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), URIs: []*url.URL{u}, NotBefore: time.Unix(0, 0), NotAfter: time.Now().AddDate(1, 0, 0),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

const (
	floodTime    = 8 * time.Second
	floodOfPort  = 40 // connections that are made at once
	floodMost    = 20_000
	floodPatient = 2 * time.Second // for how long each is held
)

// flood connects to all ports as fast as it can, and says little on each.
func flood(host string) {
	said := [][]byte{nil, {0x16, 3, 1}, {0xFF}, []byte("GET /files HTTP/1.1\r\nHost: x\r\n"), greeting()}
	end := time.Now().Add(floodTime)
	var made atomic.Int64
	var all sync.WaitGroup
	for _, port := range []string{"5557", "5558", "5559", "9000"} {
		for i := range floodOfPort {
			all.Go(func() {
				for time.Now().Before(end) && made.Load() < floodMost {
					c, err := net.DialTimeout("tcp", net.JoinHostPort(host, port), patience)
					if err != nil {
						time.Sleep(10 * time.Millisecond)
						continue
					}
					made.Add(1)
					_ = c.SetDeadline(time.Now().Add(floodPatient))
					_, _ = c.Write(said[(i+int(made.Load()))%len(said)])
					if i%2 == 0 { // half of them wait, the others come again at once
						_, _ = io.Copy(io.Discard, c)
					}
					c.Close()
				}
			})
		}
	}
	all.Wait()
	fmt.Println(made.Load(), "connections")
}
