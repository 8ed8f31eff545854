package identity

import (
	"crypto/hmac"
	"crypto/sha256"
	"strings"
)

// Machine stands for the machine that an identity was made on. Zero: not known,
// which is never taken for another one.
type Machine [sha256.Size]byte

// MachineOf makes it from the content of /etc/machine-id, which machine-id(5)
// asks not to pass on. It is hashed with a purpose, as systemd does it. An empty
// text gives zero.
func MachineOf(machineID string) (m Machine) {
	machineID = strings.TrimSpace(machineID)
	if machineID == "" {
		return m
	}
	h := hmac.New(sha256.New, []byte(machineID))
	h.Write([]byte("raidpi node identity"))
	return Machine(h.Sum(nil))
}

// differs reports whether these are two machines, for all that is known.
func (m Machine) differs(other Machine) bool {
	return m != Machine{} && other != Machine{} && m != other
}
