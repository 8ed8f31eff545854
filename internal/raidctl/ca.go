package raidctl

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) fingerprintCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "fingerprint",
		Short: "Print the fingerprint of the array's CA, to compare at raidctl login",
		Long: "Print the fingerprint of the array's CA. Run it on the controller itself and compare it with what\n" +
			"raidctl login shows elsewhere.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, pin, err := a.client.CA(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return writeJSON(a.stdout, map[string]any{"fingerprint": pin.Fingerprint()})
			}
			_, err = fmt.Fprintln(a.stdout, pin.Fingerprint())
			return err
		},
	}
}

func (a *app) caCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ca",
		Short: "Print the certificate of the array's CA, for curl --cacert and browsers",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, pin, err := a.client.CA(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return writeJSON(a.stdout, map[string]any{"ca": string(text), "fingerprint": pin.Fingerprint()})
			}
			_, err = a.stdout.Write(text)
			return err
		},
	}
}
