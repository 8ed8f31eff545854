package admission

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/raidpi/raidpi/internal/raid"
)

// refusal is an error whose text the person at the node or at raidctl reads as it
// is: what happened, and what to do.
type refusal struct {
	kind error // a sentinel of package raid
	text string
}

func (r *refusal) Error() string { return r.text }

func (r *refusal) Unwrap() error { return r.kind }

func refuse(kind error, format string, args ...any) error {
	return &refusal{kind, fmt.Sprintf(format, args...)}
}

const anotherToken = "On the controller: sudo raidctl token create"

// The texts about nodes that may not join.

func removedText(id raid.NodeID) error {
	return refuse(raid.ErrForbidden, "Node %s was removed from this array. Here run: sudo raid-node reset-identity, then join again", id)
}

func copyText(m raid.Member) error {
	return refuse(raid.ErrPrecondition, "Node %s is connected at this moment, as %s and with another key, so this card is a copy of it. Here run: sudo raid-node reset-identity, then join again",
		m.ID, called(m))
}

func otherKeyText(m raid.Member) error {
	return refuse(raid.ErrPrecondition, "Node %s has joined already, as %s and with another key. "+
		"If this Pi has lost its identity, on the controller: sudo raidctl token create --node %s, and join with that token. "+
		"If this card is a copy, here: sudo raid-node reset-identity, then join again", m.ID, called(m), m.ID)
}

// maxUsers bounds the users of a token that are named.
const maxUsers = 10

func tokenSpentError(users []string) error {
	if more := len(users) - maxUsers; more > 0 {
		users = append(slices.Clone(users[:maxUsers]), fmt.Sprintf("and %d more", more))
	}
	return refuse(raid.ErrUnauthorized, "This token has no uses left (used by %s). %s", strings.Join(users, ", "), anotherToken)
}

// ago writes how long something has been over, in its largest unit.
func ago(d time.Duration) string {
	for _, u := range []struct {
		is   time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}} {
		switch n := d / u.is; {
		case n == 1:
			return fmt.Sprintf("1 %s ago", u.name)
		case n > 1:
			return fmt.Sprintf("%d %ss ago", n, u.name)
		}
	}
	return "just now"
}

// maxVersion bounds the text that is repeated of a stranger's version, in bytes.
const maxVersion = 40

// repeat is a stranger's word as far as it can stand in a text for people.
func repeat(word string) string {
	word = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) && r != unicode.ReplacementChar {
			return r
		}
		return -1
	}, word)
	if r := []rune(word); len(r) > maxVersion {
		word = string(r[:maxVersion])
	}
	if word == "" {
		return "of unknown version"
	}
	return word
}
