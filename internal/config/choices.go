package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/raidpi/raidpi/internal/stripe"
)

// Plaintext says whom a daemon talks to without TLS.
type Plaintext string

// The policies. Loopback: peers on the same machine only.
const (
	PlaintextOff      Plaintext = "off"
	PlaintextLoopback Plaintext = "loopback"
	PlaintextAny      Plaintext = "any"
)

// UnmarshalText reads one of the policies.
func (p *Plaintext) UnmarshalText(text []byte) error {
	return choose((*string)(p), text, string(PlaintextOff), string(PlaintextLoopback), string(PlaintextAny))
}

// Auth says how clients of the REST interface show who they are.
type Auth string

// The ways. Off: everyone who can connect may do everything.
const (
	AuthToken Auth = "token"
	AuthOff   Auth = "off"
)

// UnmarshalText reads one of the ways.
func (a *Auth) UnmarshalText(text []byte) error {
	return choose((*string)(a), text, string(AuthToken), string(AuthOff))
}

// LogLevel is the level from which on events are logged.
type LogLevel string

// The levels, each with those after it.
const (
	LogDebug LogLevel = "debug"
	LogInfo  LogLevel = "info"
	LogWarn  LogLevel = "warn"
	LogError LogLevel = "error"
)

// UnmarshalText reads one of the levels.
func (l *LogLevel) UnmarshalText(text []byte) error {
	return choose((*string)(l), text, string(LogDebug), string(LogInfo), string(LogWarn), string(LogError))
}

// Level is a RAID level.
type Level string

// UnmarshalText reads the name of a level that is known.
func (l *Level) UnmarshalText(text []byte) error {
	return choose((*string)(l), text, stripe.Known().Names()...)
}

func choose(into *string, text []byte, choices ...string) error {
	s := string(text)
	if slices.Contains(choices, s) {
		*into = s
		return nil
	}
	if len(choices) == 1 {
		return fmt.Errorf("%q is not known here; write %q", s, choices[0])
	}
	quoted := make([]string, len(choices))
	for i, c := range choices {
		quoted[i] = fmt.Sprintf("%q", c)
	}
	last := len(quoted) - 1
	list := strings.Join(quoted[:last], ", ") + " or " + quoted[last]
	if near := nearest(strings.ToLower(s), choices); near != "" {
		return fmt.Errorf("%q is not one of %s; did you mean %q?", s, list, near)
	}
	return fmt.Errorf("%q is not one of %s", s, list)
}
