package chunkstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

const (
	scrubFile = "raid-node.scrub" // the scrub's, see package scrub
	wearFile  = "raid-node.wear"  // the count of what is written, see package wear
)

// record reads what saveRecord has written last; empty: nothing.
func (s *Store) record(file string) (string, error) {
	text, err := readSmall(s.fs, file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return text, err
}

// saveRecord writes a small file in place of the one before, durably. It is no request,
// and may use the reserve.
func (s *Store) saveRecord(file, text string) error {
	leave, err := s.enterBackground(context.Background())
	if err != nil {
		return err
	}
	defer leave()
	if err := s.readOnly(); err != nil {
		return err
	}
	_, err = s.put(s.dirs.root, file, 0, []byte(text))
	return err
}

// WearRecord returns what SaveWearRecord has written last; empty: nothing.
func (s *Store) WearRecord() (string, error) { return s.record(wearFile) }

// SaveWearRecord is SaveScrubRecord for the record of what is written to the disk.
func (s *Store) SaveWearRecord(text string) error {
	if err := s.saveRecord(wearFile, text); err != nil {
		return fmt.Errorf("save the record of what is written: %w", err)
	}
	return nil
}
