package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/raidpi/raidpi/internal/raidctl"
)

// program is one of the three as its page describes it. cobra/doc would write a page for
// each command of raidctl, and none for the daemons.
type program struct {
	name     string
	section  int
	options  []option
	commands []command
	tree     *cobra.Command // nil for a daemon
}

// command is a word after the program's name, or a few, with what they take.
type command struct {
	name     string // as in "join" or "token create"
	synopsis string // behind the program's name, as in "join HOST [TOKEN]"
	text     string
	options  []option
}

// option is a flag.
type option struct {
	name  string // without dashes
	short string // one letter, or empty
	value string // what follows, as in FILE; empty: nothing does
	text  string
}

// describeTree describes raidctl.
func describeTree() *program {
	root := raidctl.Tree()
	root.InitDefaultHelpFlag()
	root.InitDefaultCompletionCmd()
	p := &program{name: root.Name(), section: 1, tree: root}
	p.options = options(root.PersistentFlags())
	p.addCommands(root)
	return p
}

// addCommands lists the commands below one that do something.
func (p *program) addCommands(above *cobra.Command) {
	for _, c := range above.Commands() {
		switch {
		case !c.IsAvailableCommand() || c.Name() == "help":
		case c.HasAvailableSubCommands():
			p.addCommands(c)
		default:
			path := strings.TrimPrefix(c.CommandPath(), p.name+" ")
			line := strings.TrimSuffix(strings.TrimPrefix(c.UseLine(), p.name+" "), " [flags]")
			text := c.Long
			if text == "" || above.Name() == "completion" { // cobra's own, which are long
				text = c.Short
			}
			p.commands = append(p.commands, command{name: path, synopsis: line, text: text, options: options(c.LocalNonPersistentFlags())})
		}
	}
}

func options(fs *pflag.FlagSet) []option {
	var all []option
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		value, text := pflag.UnquoteUsage(f)
		if f.DefValue != "" && f.DefValue != "0" && f.DefValue != "false" && !strings.Contains(text, "default") {
			text += " (default " + f.DefValue + ")"
		}
		all = append(all, option{name: f.Name, short: f.Shorthand, value: value, text: text})
	})
	return all
}
