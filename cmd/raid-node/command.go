package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/term"

	"github.com/raidpi/raidpi/internal/address"
	"github.com/raidpi/raidpi/internal/config"
	"github.com/raidpi/raidpi/internal/node"
	"github.com/raidpi/raidpi/internal/service"
)

// commands are the words that make raid-node something else than the daemon.
var commands = map[string]func(context.Context, *command, []string) error{
	"join": join, "leave": leave, "reset-identity": resetIdentity, "status": showStatus,
}

// command is one that tells the daemon on this machine what to do.
type command struct {
	name           string
	env            []string
	stdin          io.Reader
	stdout, stderr io.Writer
}

// status is the exit status of a command that ended with err, which it prints.
func (c *command) status(err error) int {
	var f *node.Failure
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case !errors.As(err, &f):
		f = &node.Failure{Message: err.Error(), Exit: node.ExitAgain}
	}
	fmt.Fprintf(c.stderr, "raid-node: %s\n", f.Message)
	return f.Exit
}

func (c *command) wrong(format string, args ...any) error {
	return &node.Failure{Message: fmt.Sprintf(format, args...) + "; see raid-node " + c.name + " --help", Exit: node.ExitUsage}
}

// parse reads flags, which may stand before, between and behind the other
// arguments, and returns those, and how to reach the daemon.
func (c *command) parse(args []string, usage string, most int, flags func(*flag.FlagSet)) ([]string, *node.Remote, error) {
	fs := flag.NewFlagSet("raid-node "+c.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	path := fs.String("config", "", "find the daemon by the configuration in `FILE`")
	flags(fs)
	var others []string
	for rest := args; ; {
		left, err := service.ParseFlags(fs, rest)
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintf(c.stdout, "Usage: raid-node %s %s\n", c.name, usage)
			fs.SetOutput(c.stdout)
			fs.PrintDefaults()
			return nil, nil, err
		}
		if err != nil {
			return nil, nil, c.wrong("%v", err)
		}
		if len(left) == 0 {
			break
		}
		others, rest = append(others, left[0]), left[1:]
	}
	if len(others) > most {
		return nil, nil, c.wrong("there is an argument too many") // it may be a token, which is not repeated
	}
	cfg, _, err := config.LoadNode(*path, c.env)
	if err != nil {
		return nil, nil, &node.Failure{Message: "the configuration is refused:\n" + err.Error(), Exit: node.ExitSetRight}
	}
	return others, &node.Remote{Socket: cfg.ControlSocket}, nil
}

// report prints what a command that worked has to say.
func (c *command) report(done *node.Done, err error) error {
	if err != nil {
		return err
	}
	for _, w := range done.Warnings {
		fmt.Fprintf(c.stderr, "raid-node: %s\n", w)
	}
	fmt.Fprintln(c.stdout, done.Message)
	return nil
}

func join(ctx context.Context, c *command, args []string) error {
	var file, instead string
	var order node.JoinOrder
	others, daemon, err := c.parse(args, "HOST[:PORT] [TOKEN] [flags]", 2, func(fs *flag.FlagSet) {
		fs.StringVar(&file, "token-file", "", "read the token from `FILE`; - is standard input")
		fs.StringVar(&instead, "address", "", "connect to this `ADDRESS` instead of looking HOST up, and remember it")
		fs.BoolVar(&order.Adopt, "adopt", false, "take along a disk that belongs to another array, and keep its chunks in a folder beside")
	})
	if err != nil {
		return err
	}
	if len(others) == 0 {
		return c.wrong("the controller's HOST is missing")
	}
	where, err := c.controller(others[0])
	if err != nil {
		return err
	}
	order.Host, order.Port = where.Host, where.Port
	if instead != "" {
		other, err := c.controller(instead)
		if err != nil {
			return err
		}
		if order.Host = other.Host; other.HasPort {
			order.Port = other.Port
		}
	}
	if order.Token, err = c.token(others[1:], file); err != nil {
		return err
	}
	if _, err := node.ReadToken(order.Token); err != nil {
		return err
	}
	return c.report(daemon.Join(ctx, order))
}

// controller reads where the controller is.
func (c *command) controller(text string) (a address.Address, err error) {
	if strings.HasPrefix(text, "RAID1-") {
		return a, c.wrong("the controller's HOST comes first, then the token")
	}
	if a, err = address.Parse(text); err != nil {
		return a, c.wrong("%v", err)
	}
	if a.HasScheme && a.Scheme != "https" || a.Path != "" {
		return a, c.wrong("%s: nodes join over HTTPS: write the controller's host alone, or https://%s", text, a.HostPort())
	}
	return a, nil
}

// maxToken bounds in bytes what is read for a token.
const maxToken = 4096

// token gets the token from where the person has put it.
func (c *command) token(args []string, file string) (string, error) {
	in := c.stdin
	switch {
	case file != "" && len(args) > 0:
		return "", c.wrong("the token is given twice")
	case len(args) > 0:
		return args[0], nil
	case file == "":
		return c.askToken()
	case file != "-":
		f, err := os.Open(file)
		if err != nil {
			return "", c.wrong("read the token: %v", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxToken))
	if err != nil {
		return "", c.wrong("read the token: %v", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// askToken asks on a terminal, without showing what is typed.
func (c *command) askToken() (string, error) {
	f, ok := c.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return "", c.wrong("the token is missing: paste the whole line that sudo raidctl token create printed on the controller, or use --token-file")
	}
	fmt.Fprint(c.stderr, "Token (sudo raidctl token create, on the controller): ")
	text, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(c.stderr)
	if err != nil {
		return "", c.wrong("read the token: %v", err)
	}
	return strings.TrimSpace(string(text)), nil
}

func leave(ctx context.Context, c *command, args []string) error {
	var order node.LeaveOrder
	_, daemon, err := c.parse(args, "[flags]", 0, func(fs *flag.FlagSet) {
		fs.BoolVar(&order.Force, "force", false, "leave although this node has copies of files, or the controller can't be told")
		fs.Int64Var(&order.Lose, "lose", 0, "lose so many `files` for good; it must be as many as the controller finds")
	})
	if err != nil {
		return err
	}
	done, err := daemon.Leave(ctx, order)
	if c.agreesToLose(err, &order) {
		done, err = daemon.Leave(ctx, order)
	}
	return c.report(done, err)
}

// agreesToLose asks whoever has said --force at a terminal, and no number, for the
// number of files that would be lost. The controller compares it once more.
func (c *command) agreesToLose(err error, order *node.LeaveOrder) bool {
	var no *node.Failure
	f, ok := c.stdin.(*os.File)
	if !errors.As(err, &no) || no.Lose == 0 || !order.Force || order.Lose != 0 || !ok || !term.IsTerminal(int(f.Fd())) {
		return false
	}
	fmt.Fprintf(c.stderr, "raid-node: %s\nTo lose them for good, type how many files that are: ", no.Message)
	answer, _ := bufio.NewReader(f).ReadString('\n') // what can't be read agrees to nothing
	order.Lose, err = strconv.ParseInt(strings.TrimSpace(answer), 10, 64)
	return err == nil && order.Lose == no.Lose
}

func resetIdentity(ctx context.Context, c *command, args []string) error {
	var order node.ResetOrder
	_, daemon, err := c.parse(args, "[flags]", 0, func(fs *flag.FlagSet) {
		fs.BoolVar(&order.KeepID, "keep-id", false, "stay the node that the disk is, with its chunks, and only forget the identity: to join again with a token for this node")
		fs.BoolVar(&order.Force, "force", false, "although the disk is another node's, whose chunks are then set aside")
	})
	if err != nil {
		return err
	}
	return c.report(daemon.ResetIdentity(ctx, order))
}

func showStatus(ctx context.Context, c *command, args []string) error {
	_, daemon, err := c.parse(args, "[flags]", 0, func(*flag.FlagSet) {})
	if err != nil {
		return err
	}
	s, err := daemon.Status(ctx)
	if err != nil {
		return err
	}
	joined, array := "no", string(s.Array)
	switch {
	case s.Joined:
		joined = "yes"
	case s.Removed:
		joined = "no, it was removed"
	}
	if array == "" {
		array = "none"
	}
	node := string(s.Node)
	if s.Name != "" {
		node += ", called " + s.Name
	}
	fmt.Fprintf(c.stdout, "Status      %s\nNode        %s\nArray       %s\nJoined      %s\nController  %s, ports %d (HTTP), %d, %d, %d\nVersion     %s\n",
		s.Status, node, array, joined, s.Host, s.HTTPPort, s.StorePort, s.ResponsePort, s.RequestPort, s.Version)
	if s.TrashChunks > 0 {
		fmt.Fprintf(c.stdout, "Trash       %d chunks, %d bytes: they go when their time is over or their room is needed\n", s.TrashChunks, s.TrashBytes)
	}
	return nil
}
