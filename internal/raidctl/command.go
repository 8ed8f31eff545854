// Package raidctl is the command of that name: its subcommands, what they print,
// and the exit statuses that docs/raidctl.md promises.
//
// Standard output gets results and nothing else; a progress bar, hints and
// questions, on standard error, are for terminals only.
package raidctl

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/raidpi/raidpi/internal/client"
	"github.com/raidpi/raidpi/internal/service"
)

// Process holds what a run of raidctl gets from the system.
type Process struct {
	Args, Env      []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Version        string // as the linker set it; may be empty
	Built          string // the same: when raidctl was built, as in 2026-12-24
}

// app is one run of raidctl.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	watched        bool // stderr is a terminal
	getenv         func(string) string
	version        string           // as the linker set it
	built          time.Time        // before which this machine's clock can't be right
	clock          func() time.Time // of this machine
	defaultSocket  string           // of the controller on this machine
	defaultURL     string           // the same one's, for everybody there

	flags  flags
	json   bool
	target target // whom client speaks to
	client *client.Client
	parsed bool // the command line is right; what fails now is no usage error
}

// Run is the whole program; its result is the exit status.
func Run(ctx context.Context, p Process) int {
	a := &app{
		stdin: p.Stdin, stdout: p.Stdout, stderr: p.Stderr, watched: service.IsTerminal(p.Stderr), getenv: service.Getenv(p.Env),
		version: p.Version, built: service.Built(p.Built), clock: time.Now, defaultSocket: controlSocket, defaultURL: defaultURL,
	}
	return a.run(ctx, p.Args)
}

// Tree is the root of all commands, for those who describe them: the generator of
// man pages and shell completions.
func Tree() *cobra.Command { return (&app{}).root() }

func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if a.client != nil {
		a.client.Close()
	}
	if err == nil {
		return exitOK
	}
	if !a.parsed {
		err = usageError{err, cmd.CommandPath()}
	}
	return a.fail(ctx, err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "raidctl",
		Short:         "Store, fetch and list the files of a raidpi array",
		Version:       service.Version(a.version),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          func(cmd *cobra.Command, args []string) error { return rootArgs(cmd, args) },
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },

		SuggestionsMinimumDistance: 2,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if needsNoArray(cmd) {
				a.parsed = true
				return nil
			}
			return a.connect()
		},
	}
	root.SetVersionTemplate(service.VersionLine("raidctl", a.version) + "\n")
	flags := root.PersistentFlags()
	flags.StringVar(&a.flags.url, "controller", "", "`ADDRESS` of the controller, as in controller.local or https://192.168.1.10:9000 (default $RAID_CONTROLLER_URL, else the login's, else this machine's)")
	flags.StringVar(&a.flags.socket, "socket", "", "`PATH` of the controller's socket on this machine (default $RAID_CONTROLLER_SOCKET, else "+controlSocket+")")
	flags.StringVar(&a.flags.tokenFile, "token-file", "", "read the token from `FILE`, - is standard input (default $RAID_TOKEN, else the login's)")
	flags.BoolVar(&a.json, "json", false, "print results as JSON, one object a line")
	root.AddCommand(a.uploadCommand(), a.downloadCommand(), a.lsCommand(), a.infoCommand(), a.rmCommand(), a.undeleteCommand(), a.trashCommand(),
		a.statusCommand(), a.unplugCommand(), a.eventsCommand(), a.nodesCommand(), a.nodeCommand(), a.scrubCommand(), a.tokenCommand(), a.accessCommand(),
		a.loginCommand(), a.logoutCommand(), a.fingerprintCommand(), a.caCommand(), a.versionCommand())
	ownBashCompletion(root)
	plainUsage(root)
	return root
}

// needsNoArray tells commands that a wrong address must not stop, or that look
// for it themselves.
func needsNoArray(cmd *cobra.Command) bool {
	switch cmd.Name() {
	case "raidctl", "login", "logout", "version", "help", "bash", "zsh", "fish", "powershell", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd:
		return true
	}
	return false
}
