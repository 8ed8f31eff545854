package raid

import "fmt"

// ChunkName names a chunk of ours with 32 characters of [A-Za-z0-9]. They are 22 of its upload, six
// digits of stripe, one of part and three of attempt. All digits are of base 62, most significant
// first.
//
// Lab controllers send names of their own, which must satisfy [ValidName].
type ChunkName string

const (
	// ChunkNameLen is the length of the names that this package makes.
	ChunkNameLen = IDLen + stripeDigits + partDigits + attemptDigits

	stripeDigits  = 6
	partDigits    = 1
	attemptDigits = 3

	// MaxStripe, MaxPart and MaxAttempt are the largest numbers that fit a name.
	MaxStripe  = 62*62*62*62*62*62 - 1
	MaxPart    = 61
	MaxAttempt = 62*62*62 - 1

	// UploadAttempts is the number of attempts that an upload has to place one part. It numbers
	// them itself; the numbers above are set aside in the catalog.
	UploadAttempts = 1000
)

// ChunkKey says which chunk a name stands for.
type ChunkKey struct {
	Upload  UploadID
	Stripe  int64 // from 0
	Part    int   // from 1, as the RAID level numbers them
	Attempt int   // from 1; no two chunks of a part ever have the same, nor had
}

// Name writes the key as a chunk name.
func (k ChunkKey) Name() ChunkName {
	var b [ChunkNameLen]byte
	copy(b[:], k.Upload.String())
	putDigits(b[IDLen:IDLen+stripeDigits], k.Stripe)
	putDigits(b[IDLen+stripeDigits:IDLen+stripeDigits+partDigits], int64(k.Part))
	putDigits(b[IDLen+stripeDigits+partDigits:], int64(k.Attempt))
	return ChunkName(b[:])
}

// ParseChunkName reads a name that Name wrote, or returns ErrBadID.
func ParseChunkName(name ChunkName) (k ChunkKey, err error) {
	if len(name) != ChunkNameLen {
		return k, ErrBadID
	}
	s := string(name)
	if k.Upload, err = ParseUploadID(s[:IDLen]); err != nil {
		return k, err
	}
	stripe, ok1 := digits(s[IDLen : IDLen+stripeDigits])
	part, ok2 := digits(s[IDLen+stripeDigits : IDLen+stripeDigits+partDigits])
	attempt, ok3 := digits(s[IDLen+stripeDigits+partDigits:])
	if !ok1 || !ok2 || !ok3 {
		return k, ErrBadID
	}
	k.Stripe, k.Part, k.Attempt = stripe, int(part), int(attempt)
	return k, nil
}

// ValidName reports whether a chunk name may be used at all, ours or a lab
// controller's: 3 to 64 characters of [A-Za-z0-9]. Nothing else ever becomes
// part of a path.
func ValidName(name string) bool {
	if len(name) < 3 || len(name) > 64 {
		return false
	}
	for i := range len(name) {
		if digit(name[i]) < 0 {
			return false
		}
	}
	return true
}

func putDigits(b []byte, v int64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = base62[v%62]
		v /= 62
	}
}

func digits(s string) (v int64, ok bool) {
	for i := range len(s) {
		d := digit(s[i])
		if d < 0 {
			return 0, false
		}
		v = v*62 + int64(d)
	}
	return v, true
}

// ChunkMeta describes a chunk on disk, beside its payload: enough to rebuild the catalog from the
// nodes.
type ChunkMeta struct {
	Array      ArrayID
	Key        ChunkKey
	Level      string    // "raid1"
	StripeSize int64     // bytes of a full stripe
	Length     int64     // bytes of payload
	Blocks     []uint32  // CRC-32C of each BlockSize bytes of payload, the last may be shorter
	Commit     uint64    // the catalog's last durable commit number when it was sent
	CommitMAC  CommitMAC // of Commit, see [Commit]; zero: none
	File       *FileMeta // on the last stripe only
}

// FileMeta describes a whole file; the chunks of its last stripe carry it.
type FileMeta struct {
	ID          FileID
	Filename    string
	ContentType string
	Created     string // UTC, YYYY-MM-DD HH:MM:SS
	Size        int64
	SHA256      [32]byte
	Stripes     int64
}

// String tells a person which chunk the key means.
func (k ChunkKey) String() string {
	return fmt.Sprintf("upload %s stripe %d part %d attempt %d", k.Upload, k.Stripe, k.Part, k.Attempt)
}
