package node

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ControllerAddress holds a controller's host and ports. A zero field is not known.
type ControllerAddress struct {
	Host         string `json:"host"`
	HTTPPort     int    `json:"http_port"`
	StorePort    int    `json:"store_port"`
	ResponsePort int    `json:"response_port"`
	RequestPort  int    `json:"request_port"`
	// Others are further names and addresses of the controller, the best first and with
	// spaces between, as it has told them since.
	Others string `json:"others,omitempty"`
}

// or is the address with what is not known taken from another.
func (p ControllerAddress) or(q ControllerAddress) ControllerAddress {
	return ControllerAddress{
		Host: cmp.Or(p.Host, q.Host), HTTPPort: cmp.Or(p.HTTPPort, q.HTTPPort), StorePort: cmp.Or(p.StorePort, q.StorePort),
		ResponsePort: cmp.Or(p.ResponsePort, q.ResponsePort), RequestPort: cmp.Or(p.RequestPort, q.RequestPort),
		Others: cmp.Or(p.Others, q.Others),
	}
}

// addressFile remembers, in the state directory, what joining has told about the
// controller.
const addressFile = "controller.json"

// maxAddressFile bounds in bytes what is read of it.
const maxAddressFile = 16 << 10

// readAddress returns the zero Place when nothing is remembered.
func readAddress(dir string) (p ControllerAddress, err error) {
	f, err := os.Open(filepath.Join(dir, addressFile))
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err == nil {
		defer f.Close()
		err = json.NewDecoder(io.LimitReader(f, maxAddressFile)).Decode(&p)
	}
	if err != nil {
		return ControllerAddress{}, fmt.Errorf("read where the controller is: %s: %w; remove it, and write host under [controller] of the configuration",
			filepath.Join(dir, addressFile), err)
	}
	return p, nil
}

// writeAddress remembers an address durably.
func writeAddress(dir string, p ControllerAddress) error {
	b, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("remember the controller: %w", err)
	}
	path := filepath.Join(dir, addressFile)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return fmt.Errorf("remember the controller: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = fsync(f)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("remember the controller: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("remember the controller: %w", err)
	}
	return syncFolder(dir)
}

// fsync is os.File.Sync but for a test, which looks at what is fsynced, and when.
var fsync = (*os.File).Sync

// forgetAddress forgets it durably. That nothing is there is no error.
func forgetAddress(dir string) error {
	if err := os.Remove(filepath.Join(dir, addressFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the controller: %w", err)
	}
	return syncFolder(dir)
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("fsync the state directory: %w", err)
	}
	if err := errors.Join(fsync(f), f.Close()); err != nil && !errors.Is(err, syscall.EINVAL) {
		return fmt.Errorf("fsync the state directory: %w", err)
	}
	return nil
}
