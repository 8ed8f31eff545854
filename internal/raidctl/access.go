package raidctl

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/raidpi/raidpi/internal/client"
	"github.com/raidpi/raidpi/internal/raid"
)

func (a *app) accessCommand() *cobra.Command {
	return group("access", "Let people and programs in: tokens for raidctl and REST",
		a.accessCreateCommand(), a.accessLsCommand(), a.accessRevokeCommand())
}

func (a *app) accessCreateCommand() *cobra.Command {
	scope, life := "", lifetime(30*24*time.Hour)
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a token and print it",
		Long: "Make a token and print it, this once. NAME is for people: whose it is, or where it lies.\n" +
			"read lists and fetches files, write stores and deletes them too, admin does everything.",
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.ExactArgs(1)(cmd, args); err != nil {
				return errors.New("give the token a name, such as laptop")
			}
			if scope == "" {
				return errors.New("say what the token allows: --scope read, write or admin")
			}
			_, err := raid.ParseScope(scope)
			return err
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := raid.ParseScope(scope)
			if err != nil {
				return err
			}
			return a.accessCreate(cmd.Context(), args[0], s, time.Duration(life))
		},
	}
	cmd.Flags().StringVar(&scope, "scope", "", "what it allows: `read, write or admin`")
	cmd.Flags().Var(&life, "ttl", "for so long (`TIME` as 12h or 30d; never: until it is revoked)")
	return cmd
}

func (a *app) accessCreate(ctx context.Context, name string, scope raid.Scope, life time.Duration) error {
	t, err := a.client.CreateAccessToken(ctx, name, scope, life)
	if err != nil {
		return err
	}
	if _, _, err := raid.ParseAccessToken(t.Token); err != nil {
		return errors.New("what the controller sent is no token; is it a raid-controller, and of this version?")
	}
	if a.json {
		return writeJSON(a.stdout, t)
	}
	if a.watched {
		fmt.Fprintf(a.stderr, "This is shown once. It may %s, until %s. raidctl login takes it:\n", printable(t.Scope), ends(t))
	}
	_, err = fmt.Fprintln(a.stdout, t.Token)
	return err
}

func ends(t client.AccessToken) string {
	if t.Expires == nil {
		return "it is revoked"
	}
	return printable(*t.Expires) + " UTC"
}

func (a *app) accessLsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the tokens for people and programs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			tokens, err := a.client.AccessTokens(cmd.Context())
			if err != nil {
				return err
			}
			return a.showAccessTokens(tokens)
		},
	}
}

func (a *app) showAccessTokens(tokens []client.AccessToken) error {
	if a.json {
		return jsonLines(a.stdout, tokens)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSCOPE\tSTATE\tCREATED (UTC)\tEXPIRES (UTC)\tNAME")
	for _, t := range tokens {
		expires := "never"
		if t.Expires != nil {
			expires = printable(*t.Expires)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", printable(t.ID), printable(t.Scope), printable(t.State), printable(t.Created), expires, printable(t.Name))
	}
	return w.Flush()
}

func (a *app) accessRevokeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID...",
		Short: "End tokens for good",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.each(cmd.Context(), args, func(arg string) error {
				id, err := accessTokenID(arg)
				if err != nil {
					return err
				}
				if err := a.client.RevokeAccessToken(cmd.Context(), id); err != nil {
					return err
				}
				return a.tell(map[string]any{"id": id, "revoked": true})
			})
		},
	}
}

// accessTokenID takes the id out of a whole token that somebody pasted, so that
// its secret goes no further.
func accessTokenID(arg string) (string, error) {
	id, _, err := raid.ParseAccessToken(arg)
	switch {
	case err == nil:
		return id, nil
	case strings.HasPrefix(arg, "raidpi_"):
		return "", errors.New("that is a token that is not whole; raidctl access ls shows the ids")
	}
	return arg, nil
}
