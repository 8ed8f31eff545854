package raidctl

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/raidpi/raidpi/internal/address"
	"github.com/raidpi/raidpi/internal/client"
	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/raid"
)

func (a *app) tokenCommand() *cobra.Command {
	return group("token", "Let nodes in: tokens for raid-node join", a.tokenCreateCommand(), a.tokenLsCommand(), a.tokenRevokeCommand())
}

func (a *app) tokenCreateCommand() *cobra.Command {
	uses, node, zone, life := 1, "", "", lifetime(30*time.Minute)
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make a token and print the line that joins a node with it",
		Long: "Make a token and print the one line to paste on each machine that is to join the array.\n" +
			"It is shown this once, and ends with its time, its uses, or raid-controller itself.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.tokenCreate(cmd.Context(), uses, time.Duration(life), node, zone)
		},
	}
	cmd.Flags().IntVar(&uses, "uses", uses, "let `N` nodes in")
	cmd.Flags().Var(&life, "ttl", "for so long (`TIME` as 30m, 2h, 1d)")
	cmd.Flags().StringVar(&node, "node", "", "let the node `ID` in again, whose identity was lost, with a new key; and no other")
	cmd.Flags().StringVar(&zone, "zone", "", "put who joins with it into `ZONE`, such as attic")
	return cmd
}

func (a *app) tokenCreate(ctx context.Context, uses int, life time.Duration, node, zone string) error {
	id := raid.NodeID(node)
	if node != "" {
		n, err := a.findNode(ctx, node)
		if err != nil {
			return err
		}
		id = n.ID
	}
	t, err := a.client.CreateJoinToken(ctx, uses, life, id, zone)
	if err != nil {
		return err
	}
	return a.showJoinToken(t)
}

// showJoinToken prints the line that joins a node with a new token.
func (a *app) showJoinToken(t client.JoinToken) error {
	line, err := a.joinLine(t)
	if err != nil {
		return err
	}
	if a.json {
		return writeJSON(a.stdout, struct {
			client.JoinToken
			Command string `json:"command"`
		}{t, line})
	}
	if a.watched {
		a.hintJoin(t)
	}
	_, err = fmt.Fprintln(a.stdout, line)
	return err
}

// hintJoin says what the line is good for.
func (a *app) hintJoin(t client.JoinToken) {
	who := "one node"
	if t.Uses != 1 {
		who = fmt.Sprintf("%d nodes", t.Uses)
	}
	if t.Node != "" {
		who = "node " + printable(string(t.Node)) + " alone"
	}
	fmt.Fprintf(a.stderr, "Paste this on each Pi that is to join. It lets %s in, within %s:\n", who, humanDuration(time.Duration(t.ExpiresInSeconds)*time.Second))
	if other := otherHost(t.Hosts); other != "" {
		fmt.Fprintf(a.stderr, "(Should %s not be found there, write %s instead.)\n", printable(t.Hosts[0]), printable(other))
	}
}

// otherHost returns the host to try when the first name is not found: an address, which needs no
// finding, else another name.
func otherHost(hosts []string) string {
	if len(hosts) < 2 {
		return ""
	}
	for _, h := range hosts[1:] {
		if _, err := netip.ParseAddr(h); err == nil {
			return h
		}
	}
	return hosts[1]
}

// joinLine returns the line to paste into the shell of the machine that is to join. echo is a part
// of the shell, so the token appears in no list of processes. Whatever came over the network is
// checked to be no more than it should be, since a shell with sudo reads it.
func (a *app) joinLine(t client.JoinToken) (string, error) {
	token, err := identity.ParseToken(t.Token)
	if err != nil || token.ID() != t.ID {
		return "", errors.New("what the controller sent is no token; is it a raid-controller, and of this version?")
	}
	host := a.hostFor(t.Hosts)
	if !shellSafe(host) {
		return "", fmt.Errorf("the controller calls itself %q, which is no name of a machine", host)
	}
	if t.Port != address.UsualPort && t.Port > 0 {
		host = net.JoinHostPort(host, strconv.Itoa(t.Port))
	}
	if strings.ContainsAny(host, "[%") {
		host = "'" + host + "'" // a pattern to the shell
	}
	return fmt.Sprintf("echo %s | sudo raid-node join %s --token-file -", token.String(), host), nil
}

// hostFor is the name of the controller for nodes.
func (a *app) hostFor(hosts []string) string {
	if len(hosts) > 0 {
		return hosts[0]
	}
	if host := a.client.Host(); host != "" {
		return host
	}
	name, err := os.Hostname()
	if err != nil {
		return "controller.local"
	}
	return strings.TrimSuffix(name, ".local") + ".local"
}

// shellSafe accepts names and addresses of machines, and nothing that a shell
// understands.
func shellSafe(host string) bool {
	strange := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_.:%", r))
	}
	return host != "" && host[0] != '-' && !strings.ContainsFunc(host, strange)
}

func (a *app) tokenLsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the tokens that let nodes in",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			tokens, err := a.client.JoinTokens(cmd.Context())
			if err != nil {
				return err
			}
			return a.showJoinTokens(tokens)
		},
	}
}

func (a *app) showJoinTokens(tokens []client.JoinToken) error {
	if a.json {
		return jsonLines(a.stdout, tokens)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tUSES LEFT\tENDS IN\tFOR NODE\tUSED BY")
	for _, t := range tokens {
		ends := "over"
		if t.ExpiresInSeconds > 0 {
			ends = humanDuration(time.Duration(t.ExpiresInSeconds) * time.Second)
		}
		node := "any new one"
		if t.Node != "" {
			node = printable(string(t.Node))
		}
		fmt.Fprintf(w, "%s\t%d of %d\t%s\t%s\t%s\n", printable(t.ID), t.Left, t.Uses, ends, node, orDash(strings.Join(t.UsedBy, ", ")))
	}
	return w.Flush()
}

func (a *app) tokenRevokeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID...",
		Short: "End tokens; the nodes that they let in stay",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.each(cmd.Context(), args, func(arg string) error {
				id, err := joinTokenID(arg)
				if err != nil {
					return err
				}
				if err := a.client.RevokeJoinToken(cmd.Context(), id); err != nil {
					return err
				}
				return a.tell(map[string]any{"id": id, "revoked": true})
			})
		},
	}
}

// joinTokenID takes the id out of a whole token that somebody pasted, so that its
// secret goes no further.
func joinTokenID(arg string) (string, error) {
	t, err := identity.ParseToken(arg)
	switch {
	case err == nil:
		return t.ID(), nil
	case errors.Is(err, identity.ErrMistyped):
		return "", errors.New("that is a token that was mistyped; raidctl token ls shows the ids")
	}
	return arg, nil
}

// tell prints what a command did, where a program reads it.
func (a *app) tell(v map[string]any) error {
	if !a.json {
		return nil
	}
	return writeJSON(a.stdout, v)
}
