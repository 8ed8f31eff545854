package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/raidpi/raidpi/internal/raid"
)

// caFile holds the CA's key and certificate, in the directory given to OpenCA.
const caFile = "ca.pem"

// newCA tells a person what to do when the CA is lost for good.
const newCA = "put a copy of it back; or, if there is none, move it away and make another: sudo systemctl stop raid-controller; " +
	"sudo -u raid-controller raid-controller --new-ca (end it with Ctrl-C when it is ready; settings in /etc/default/raid-controller do not hold there); " +
	"sudo systemctl start raid-controller. Then every node has to join again, and keeps its id and its chunks"

// CA is an array's certificate authority. Its methods may be called at once from
// several goroutines.
type CA struct {
	array raid.ArrayID
	key   *ecdsa.PrivateKey
	cert  *x509.Certificate
	pin   Pin
}

// OpenCA loads the CA of an array from a directory, and makes it there (ECDSA,
// P-256) if there is none. A directory that is missing is made; its parent is not.
//
// An existing file is never replaced: OpenCA fails with ErrDamaged, ErrExposed,
// or ErrForeign when it is of another array.
func OpenCA(dir string, array raid.ArrayID, random io.Reader) (*CA, error) {
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	ca, err := loadCA(dir, array)
	if errors.Is(err, fs.ErrNotExist) {
		return makeCA(filepath.Join(dir, caFile), array, random)
	}
	return ca, err
}

// HasCA tells whether a CA was made in a directory.
func HasCA(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, caFile))
	return err == nil
}

// LoadCA is OpenCA for an array whose nodes have joined with its CA: that it is
// missing is ErrDamaged.
func LoadCA(dir string, array raid.ArrayID) (*CA, error) {
	ca, err := loadCA(dir, array)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open the array's CA: %w: %s is missing, and nodes have joined with it; %s", ErrDamaged, filepath.Join(dir, caFile), newCA)
	}
	return ca, err
}

func loadCA(dir string, array raid.ArrayID) (*CA, error) {
	path := filepath.Join(dir, caFile)
	b, err := readBundle(path)
	switch {
	case errors.Is(err, ErrDamaged):
		return nil, fmt.Errorf("open the array's CA: %w; %s", err, newCA)
	case err != nil:
		return nil, fmt.Errorf("open the array's CA: %w", err)
	}
	ca, err := caFrom(b, array)
	if err != nil {
		return nil, fmt.Errorf("open the array's CA: read %s: %w; %s", path, err, newCA)
	}
	return ca, syncDir(dir)
}

// caFrom checks what was read.
func caFrom(b *bundle, array raid.ArrayID) (*CA, error) {
	if len(b.certs) != 1 {
		return nil, fmt.Errorf("%w: it has %d certificates, want one", ErrDamaged, len(b.certs))
	}
	n, err := checkCA(b.certs[0])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if n.array != array {
		return nil, fmt.Errorf("%w: it is the CA of array %s, and the catalog's array is %s", ErrForeign, n.array, array)
	}
	return &CA{array: array, key: b.key, cert: b.certs[0], pin: PinOf(b.certs[0])}, nil
}

// checkCA says whose CA a certificate is. It must have signed itself.
func checkCA(c *x509.Certificate) (name, error) {
	n, err := nameOf(c)
	if err != nil {
		return name{}, err
	}
	if n.role != roleCA || !c.IsCA || c.CheckSignatureFrom(c) != nil {
		return name{}, fmt.Errorf("%w: its certificate is not a CA's", ErrRole)
	}
	return n, nil
}

func makeCA(path string, array raid.ArrayID, random io.Reader) (*CA, error) {
	t, err := template(name{array: array, role: roleCA}, "raidpi array "+string(array), random)
	if err != nil {
		return nil, err
	}
	t.IsCA, t.MaxPathLenZero = true, true
	t.KeyUsage = x509.KeyUsageCertSign
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	cert, err := sign(random, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	if err := writeBundle(path, &bundle{key: key, certs: []*x509.Certificate{cert}}); err != nil {
		return nil, fmt.Errorf("make the array's CA: %w", err)
	}
	return &CA{array: array, key: key, cert: cert, pin: PinOf(cert)}, nil
}

func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return key, nil
}

// Array is the array whose CA it is.
func (ca *CA) Array() raid.ArrayID { return ca.array }

// Pin is the SHA-256 of the CA's public key.
func (ca *CA) Pin() Pin { return ca.pin }

// Certificate is the CA's certificate in DER.
func (ca *CA) Certificate() []byte { return bytes.Clone(ca.cert.Raw) }
