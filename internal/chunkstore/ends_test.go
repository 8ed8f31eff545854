package chunkstore

import (
	"syscall"
	"testing"
)

// What the disk says of itself is no reason to try the same again.
func TestADisksErrorsAreNoReasonForAnotherWay(t *testing.T) {
	for _, err := range []error{nil, syscall.EIO, syscall.ENOSPC, syscall.EROFS, syscall.ENOENT, syscall.EEXIST, syscall.EMFILE, syscall.EUCLEAN} {
		if mayTryRoot(err) {
			t.Errorf("%v", err)
		}
	}
}
