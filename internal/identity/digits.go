package identity

import "strings"

// digits of base 32: Crockford's, without I, L, O and U
// (https://www.crockford.com/base32.html). Lower case is not taken: a token is
// pasted, and has one spelling.
const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// checkDigits is the length of the code below.
const checkDigits = 6

// encodeDigits writes bytes as digits, most significant bit first; the last one
// is filled up with zeros.
func encodeDigits(b []byte) string {
	var out strings.Builder
	acc, have := uint(0), 0
	for _, each := range b {
		acc, have = acc<<8|uint(each), have+8
		for ; have >= 5; have -= 5 {
			out.WriteByte(digits[acc>>(have-5)&31])
		}
		acc &= 1<<have - 1
	}
	if have > 0 {
		out.WriteByte(digits[acc<<(5-have)&31])
	}
	return out.String()
}

// decodeDigits fills b with what encodeDigits wrote of as many bytes. It returns
// false for any other text.
func decodeDigits(b []byte, text string) bool {
	if len(text) != (len(b)*8+4)/5 {
		return false
	}
	acc, have, n := uint(0), 0, 0
	for i := range len(text) {
		d := strings.IndexByte(digits, text[i])
		if d < 0 {
			return false
		}
		if acc, have = acc<<5|uint(d), have+5; have >= 8 {
			have -= 8
			b[n] = byte(acc >> have)
			n++
		}
		acc &= 1<<have - 1
	}
	return acc == 0
}

// The check digits are those of Bech32m, a BCH code over GF(32) (BIP 173, BIP 350). Within 89
// digits, ours included, any four wrong ones are noticed. So is any pair that changed places. Of
// other mistakes all are noticed but for one in 2^30.
const bech32m = 0x2bc830a3

var generator = [5]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3}

// remainder returns false when the text has something that is no digit.
func remainder(text string) (r uint32, ok bool) {
	r = 1
	for i := range len(text) {
		d := strings.IndexByte(digits, text[i])
		if d < 0 {
			return 0, false
		}
		top := r >> 25
		r = r&0x1ffffff<<5 ^ uint32(d)
		for bit, g := range generator {
			if top>>bit&1 == 1 {
				r ^= g
			}
		}
	}
	return r, true
}

// check makes the check digits of a text of digits.
func check(text string) string {
	r, _ := remainder(text + strings.Repeat(digits[:1], checkDigits))
	r ^= bech32m
	var out [checkDigits]byte
	for i := range out {
		out[i] = digits[r>>(5*(checkDigits-1-i))&31]
	}
	return string(out[:])
}

// checks reports whether a text ends in its check digits.
func checks(text string) bool {
	r, ok := remainder(text)
	return ok && r == bech32m
}
