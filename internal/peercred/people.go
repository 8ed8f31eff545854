package peercred

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"strings"
)

// Users whose ids programs and not people have, whatever the ranges of a machine say (systemd's
// "Users, Groups, UIDs and GIDs"). They are dynamic users of services, nobody, and 65535, which is
// none.
const (
	firstDynamic = 61184
	lastOf16Bits = 65535
	firstHome    = 60001 // people whom systemd-homed manages
	lastHome     = 60513
)

// People tells users that people have from those that programs have.
type People struct{ first, last uint32 }

// KnownPeople reads the range of people's ids from a file of the form of
// login.defs(5). What it does not say, or a file that can't be read, is as usual:
// 1000 to 60000. Ids below 500 are never people's.
func KnownPeople(path string) People {
	f, err := os.Open(path)
	if err != nil {
		return readPeople(strings.NewReader(""))
	}
	defer f.Close()
	return readPeople(io.LimitReader(f, 1<<20))
}

func readPeople(defs io.Reader) People {
	p := People{first: 1000, last: 60000}
	for lines := bufio.NewScanner(defs); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		n, err := strconv.ParseUint(fields[1], 0, 32)
		switch {
		case err != nil:
		case fields[0] == "UID_MIN":
			p.first = max(uint32(n), 500)
		case fields[0] == "UID_MAX":
			p.last = uint32(n)
		}
	}
	return p
}

// Has tells whether an id is a person's.
func (p People) Has(uid uint32) bool {
	switch {
	case uid >= firstDynamic && uid <= lastOf16Bits || uid == ^uint32(0):
		return false
	case uid >= firstHome && uid <= lastHome:
		return true
	}
	return uid >= p.first && uid <= p.last
}
