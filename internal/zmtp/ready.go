package zmtp

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

const (
	cmdReady = "READY"
	cmdError = "ERROR"
	cmdPing  = "PING"
	cmdPong  = "PONG"

	maxReason  = 255
	maxContext = 16 // bytes of a PING that its PONG repeats
)

// parseReady reads the properties of a READY command, strictly. It wants every name
// valid and there once, every length inside the command, nothing left over.
func parseReady(data []byte) (p Peer, err error) {
	p.Properties = Properties{}
	seen := map[string]bool{}
	for len(data) > 0 {
		var key, value string
		if key, value, data, err = nextProperty(data); err != nil {
			return Peer{}, err
		}
		if seen[key] {
			return Peer{}, malformed("READY has the property %q twice", key)
		}
		seen[key] = true
		switch own, ours := strings.CutPrefix(key, "x-"); {
		case ours && own != "":
			p.Properties[own] = value
		case key == "socket-type":
			p.Type = SocketType(value)
		case key == "identity":
			p.Identity = value
		}
	}
	if p.Type == "" {
		return Peer{}, malformed("READY without a Socket-Type")
	}
	if len(p.Identity) > 255 {
		return Peer{}, malformed("READY with an identity of %d bytes", len(p.Identity))
	}
	return p, nil
}

func nextProperty(data []byte) (key, value string, rest []byte, err error) {
	klen := int(data[0])
	data = data[1:]
	if klen == 0 || klen+4 > len(data) {
		return "", "", nil, malformed("READY with a property that is cut off")
	}
	key, data = string(data[:klen]), data[klen:]
	if !validKey(key) {
		return "", "", nil, malformed("READY with the property name %q", key)
	}
	vlen := binary.BigEndian.Uint32(data)
	data = data[4:]
	if uint64(vlen) > uint64(len(data)) {
		return "", "", nil, malformed("READY with a property of %d bytes, %d follow", vlen, len(data))
	}
	return lower(key), string(data[:vlen]), data[vlen:], nil
}

// validKey says whether a property may have that name: letters, digits, -_.+
func validKey(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '_', c == '.', c == '+':
		default:
			return false
		}
	}
	return s != ""
}

// lower is strings.ToLower for the characters of validKey.
func lower(s string) string { return strings.ToLower(s) }

// parseError reads the reason of an ERROR command. libzmq and others are
// forgiven a missing length.
func parseError(data []byte) string {
	if len(data) > 0 && int(data[0]) == len(data)-1 {
		data = data[1:]
	}
	return string(data[:min(len(data), maxReason)])
}

// reasonBytes is an ERROR command's data: text, cut to fit without breaking a
// character.
func reasonBytes(text string) []byte {
	if len(text) > maxReason {
		end := maxReason
		for end > maxReason-utf8.UTFMax && !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end]
	}
	return append([]byte{byte(len(text))}, text...)
}
