package raidctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/raidpi/raidpi/internal/client"
	"github.com/raidpi/raidpi/internal/raid"
)

// download is raidctl download.
type download struct {
	*app
	output string // a file, a folder, "-" or empty
	force  bool
}

func (a *app) downloadCommand() *cobra.Command {
	d := &download{app: a}
	cmd := &cobra.Command{
		Use:   "download ID...",
		Short: "Fetch files and print where they went",
		Long: "Fetch files and print where they went, one path a line. What has come is kept in FILE.part until\n" +
			"it is whole and its SHA-256 is right; the same command goes on with it after an interruption.",
		Args: cobra.MatchAll(cobra.MinimumNArgs(1), idArgs, d.checkArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			return d.each(cmd.Context(), args, func(arg string) error {
				if err := d.one(cmd.Context(), idOf(arg)); err != nil {
					return fmt.Errorf("download %s: %w", arg, err)
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVarP(&d.output, "output", "o", "", "write to `FILE`, into a folder, or to standard output (-); default: the file's own name")
	cmd.Flags().BoolVarP(&d.force, "force", "f", false, "overwrite files that are there")
	return cmd
}

func (d *download) checkArgs(_ *cobra.Command, args []string) error {
	if len(args) > 1 && d.output != "" && !isFolder(d.output) {
		return errors.New("several files need a folder for --output")
	}
	return nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func (d *download) one(ctx context.Context, id raid.FileID) error {
	if isStdout(d.output) {
		return d.toStdout(ctx, id)
	}
	f, err := d.client.Info(ctx, id)
	if err != nil {
		return err
	}
	path, chosen := d.output, true
	if path == "" || isFolder(path) {
		path, chosen = filepath.Join(path, localName(f.Filename, id)), false
	}
	at, err := d.place(path, chosen)
	if err != nil {
		return err
	}
	var got client.Fetched
	if at.stream {
		got, err = d.toStream(ctx, f, at)
	} else {
		got, err = d.toFile(ctx, f, at.path)
	}
	if err != nil {
		return err
	}
	if d.json {
		return writeJSON(d.stdout, downloaded{id, path, got.Size, fmt.Sprintf("%x", got.SHA256)})
	}
	_, err = fmt.Fprintln(d.stdout, printable(path))
	return err
}

// downloaded is the result of a download in JSON.
type downloaded struct {
	ID     raid.FileID `json:"id"`
	Path   string      `json:"path"`
	Size   int64       `json:"size"`
	SHA256 string      `json:"sha256"`
}

// toStdout streams a file. What is wrong with it shows only at its end.
func (d *download) toStdout(ctx context.Context, id raid.FileID) error {
	m := d.meter(fmt.Sprintf("file %d", id), 0)
	defer m.done()
	_, err := d.client.Download(ctx, client.Download{ID: id, To: d.stdout, Progress: m.at})
	return err
}

// toFile fetches into FILE.part and gives it its name when it is whole.
func (d *download) toFile(ctx context.Context, f client.File, path string) (got client.Fetched, err error) {
	part, err := openPart(path + ".part")
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, part.Close()) }()
	if part.have > f.Size { // another file's
		if err := part.restart(); err != nil {
			return got, err
		}
	}
	got, err = d.fetch(ctx, f, part)
	var damaged *client.DigestError
	if part.have > 0 && (errors.As(err, &damaged) || errors.Is(err, client.ErrChanged)) {
		// What lay there was not the beginning of this file.
		if err := part.restart(); err != nil {
			return got, err
		}
		got, err = d.fetch(ctx, f, part)
	}
	switch {
	case errors.As(err, &damaged):
		return got, errors.Join(fmt.Errorf("%w. It was damaged on its way and has been thrown away; try again", err), part.remove())
	case err != nil:
		return got, part.keep(err, f.Size)
	}
	return got, part.publish(path, d.force)
}

func (d *download) fetch(ctx context.Context, f client.File, part *part) (client.Fetched, error) {
	m := d.meter(f.Filename, part.have)
	defer m.done()
	dl := client.Download{ID: f.ID, To: part.file, Progress: m.at}
	if part.have > 0 {
		dl.Prefix = io.NewSectionReader(part.file, 0, part.have)
	}
	return d.client.Download(ctx, dl)
}

// localName makes a file name for this machine of a name that anybody may have
// chosen. It has no folders and nothing invisible, is not too long and never hidden.
func localName(name string, id raid.FileID) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	name = strings.Map(func(r rune) rune {
		if unprintable(r) || strings.ContainsRune(`:*?"<>|`, r) { // the latter mean something to some systems
			return '_'
		}
		return r
	}, strings.ToValidUTF8(name, "_"))
	name = strings.TrimLeft(name, ". ")
	name = strings.TrimRight(name, ". ")
	const longest = 200 // bytes; file systems take 255, and .part must fit
	if len(name) > longest {
		ext := filepath.Ext(name)
		if len(ext) > 20 {
			ext = ""
		}
		name = strings.ToValidUTF8(name[:longest-len(ext)], "") + ext
	}
	if name == "" {
		return fmt.Sprintf("file-%d", id)
	}
	return name
}
