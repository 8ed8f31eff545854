package catalog

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Who is sent to the manual finds there what is to be written.
func TestTheManualSaysHowTheServiceMayWriteElsewhere(t *testing.T) {
	err := unwritable("/mnt/my ssd", unix.EROFS)
	for _, want := range []string{"findmnt -T '/mnt/my ssd'", "fsck", elsewhere, "/usr/share/doc/raid-controller/configuration.md"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	text, readErr := os.ReadFile("../../docs/configuration.md")
	if readErr != nil {
		t.Fatal(readErr)
	}
	_, section, found := strings.Cut(string(text), "\n## "+elsewhere+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	if !found || !strings.Contains(section, "\n[Service]\nReadWritePaths=") || !strings.Contains(section, "systemctl edit raid-controller") {
		t.Errorf("the section %q says: %q", elsewhere, section)
	}
}
