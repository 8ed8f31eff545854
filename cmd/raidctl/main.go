// Command raidctl stores, fetches and lists the files of a raidpi array, and
// shows how it is.
//
// Standard output gets results and nothing else; a progress bar, on standard
// error, is for terminals only. See docs/raidctl.md for the exit statuses.
package main

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/raidpi/raidpi/internal/client"
	"github.com/raidpi/raidpi/internal/service"
)

// version is set by the linker: -X main.version=1.2.3.
var version string

// defaultURL is the controller on this machine.
const defaultURL = "http://127.0.0.1:9000"

func main() {
	ctx, stop := service.Context(context.Background())
	status := run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// app is one run of raidctl.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	watched        bool // stderr is a terminal
	getenv         func(string) string

	url    string // --controller
	json   bool
	client *client.Client
	parsed bool // the command line is right; what fails now is no usage error
}

// run is the whole program; its result is the exit status.
func run(ctx context.Context, args, env []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, watched: service.IsTerminal(stderr), getenv: service.Getenv(env)}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
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
		Version:       service.Version(version),
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if needsNoArray(cmd) {
				a.parsed = true
				return nil
			}
			return a.connect()
		},
	}
	root.SetVersionTemplate(service.VersionLine("raidctl", version) + "\n")
	flags := root.PersistentFlags()
	flags.StringVar(&a.url, "controller", "", "`URL` of the controller (default $RAID_CONTROLLER_URL, else "+defaultURL+")")
	flags.BoolVar(&a.json, "json", false, "print results as JSON, one object a line")
	root.AddCommand(a.uploadCommand(), a.downloadCommand(), a.lsCommand(), a.infoCommand(), a.rmCommand(),
		a.statusCommand(), a.nodesCommand(), a.versionCommand())
	return root
}

// needsNoArray tells commands that a wrong address must not stop.
func needsNoArray(cmd *cobra.Command) bool {
	switch cmd.Name() {
	case "version", "help", "bash", "zsh", "fish", "powershell", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd:
		return true
	}
	return false
}

// connect makes the client; nothing goes over the network yet.
func (a *app) connect() (err error) {
	url := a.url
	if url == "" {
		url = a.getenv("RAID_CONTROLLER_URL")
	}
	if url == "" {
		url = defaultURL
	}
	a.client, err = client.New(client.Config{URL: url, UserAgent: "raidctl/" + service.Version(version)})
	a.parsed = err == nil
	return err
}
