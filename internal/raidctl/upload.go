package raidctl

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/raidpi/raidpi/internal/client"
	"github.com/raidpi/raidpi/internal/raid"
)

// upload is raidctl upload.
type upload struct {
	*app
	name, contentType string
	jobs              int
}

func (a *app) uploadCommand() *cobra.Command {
	u := &upload{app: a}
	cmd := &cobra.Command{
		Use:   "upload FILE... | upload --name NAME -",
		Short: "Store files and print their ids, one a line",
		Long: "Store files and print their ids, one a line, in the order of the arguments.\n" +
			"An id is printed when every copy of its file is on disk. - is standard input. Many small files are\n" +
			"stored faster with --jobs 8.",
		Args: cobra.MatchAll(cobra.MinimumNArgs(1), u.checkArgs),
		RunE: func(cmd *cobra.Command, args []string) error { return u.run(cmd.Context(), args) },
	}
	cmd.Flags().StringVar(&u.name, "name", "", "`NAME` to store the file under (default: the file's own)")
	cmd.Flags().IntVarP(&u.jobs, "jobs", "j", 1, "store `N` files at once")
	cmd.Flags().StringVar(&u.contentType, "content-type", "", "`TYPE` of the contents (default: by the name's extension)")
	return cmd
}

func (u *upload) checkArgs(_ *cobra.Command, args []string) error {
	if u.jobs < 1 || u.jobs > maxJobs {
		return fmt.Errorf("--jobs is a number of files from 1 to %d", maxJobs)
	}
	if len(args) > 1 && u.name != "" {
		return errors.New("--name is for a single file")
	}
	for _, arg := range args {
		if arg == "-" && u.name == "" {
			return errors.New("standard input has no name: add --name NAME")
		}
	}
	return nil
}

// run stores all files that it can; the first failure decides the exit status.
func (u *upload) run(ctx context.Context, paths []string) error {
	if len(paths) > 1 {
		return u.many(ctx, paths)
	}
	name := u.name
	if name == "" {
		name = filepath.Base(paths[0])
	}
	m := u.meter(name, 0)
	stored, err := u.file(ctx, paths[0], m.at)
	m.done()
	if err != nil {
		return fmt.Errorf("upload %s: %w", paths[0], err)
	}
	return u.report(stored)
}

// uploaded is the result of an upload in JSON.
type uploaded struct {
	ID          raid.FileID `json:"id"`
	Filename    string      `json:"filename"`
	Size        int64       `json:"size"`
	ContentType string      `json:"content_type"`
	SHA256      string      `json:"sha256"`
	Degraded    bool        `json:"degraded"`
	Lab         bool        `json:"lab"`
}

func (u *upload) report(s uploaded) error {
	if u.json {
		return writeJSON(u.stdout, s)
	}
	if u.watched && s.Degraded {
		fmt.Fprintf(u.stderr, "File %d is stored, but too few nodes are up for every copy to have its own; the array repairs that by itself.\n", s.ID)
	}
	_, err := fmt.Fprintln(u.stdout, s.ID)
	return err
}

// file stores one. progress is told the bytes sent and all of them, -1 if not known.
func (u *upload) file(ctx context.Context, path string, progress func(n, size int64)) (uploaded, error) {
	in, name, size, err := u.open(path)
	if err != nil {
		return uploaded{}, err
	}
	defer in.Close()
	contentType := u.contentType
	if contentType == "" {
		contentType = mime.TypeByExtension(filepath.Ext(name))
	}
	if contentType == "" {
		contentType = "application/octet-stream"
	}
	var sent atomic.Int64 // by another goroutine
	s, err := u.client.Upload(ctx, client.Upload{
		Filename: name, ContentType: contentType, Body: in, Size: size,
		Progress: func(n int64) { sent.Store(n); progress(n, size) },
	})
	var damaged *client.DigestError
	if errors.As(err, &damaged) {
		return uploaded{}, u.discard(ctx, s.ID, err)
	}
	if err != nil && ctx.Err() != nil {
		return uploaded{}, &interruptedUpload{error: err, whole: sent.Load() == size, name: name}
	}
	if err != nil {
		return uploaded{}, err
	}
	return uploaded{s.ID, name, s.Size, contentType, hex.EncodeToString(s.SHA256[:]), s.Degraded, s.Lab}, nil
}

// open returns what to upload, its name, and its size, -1 when only its end
// tells.
func (u *upload) open(path string) (in io.ReadCloser, name string, size int64, err error) {
	if path == "-" {
		return io.NopCloser(u.stdin), u.name, -1, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, "", 0, bare(err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = errors.New("is a folder; raidctl stores single files (tar -c FOLDER | raidctl upload --name FOLDER.tar -)")
	}
	if err != nil {
		f.Close()
		return nil, "", 0, err
	}
	name, size = filepath.Base(path), -1
	if u.name != "" {
		name = u.name
	}
	if info.Mode().IsRegular() {
		size = info.Size()
	}
	return f, name, size, nil
}

// bare takes the path off an error of package os; ours name it already.
func bare(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// discardTimeout bounds the clean-up after an upload that was damaged.
const discardTimeout = 10 * time.Second

// discard deletes a file that the array took other than it was sent.
func (u *upload) discard(ctx context.Context, id raid.FileID, damaged error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discardTimeout)
	defer cancel()
	if err := u.client.Delete(ctx, id); err != nil {
		return fmt.Errorf("%w. Deleting it failed (%v); do it later: raidctl rm %d", damaged, err, id)
	}
	return fmt.Errorf("%w. It was damaged on its way and has been deleted; try again", damaged)
}

// each does something with all arguments. A failure is told at once and does not
// keep the others from being done, unless it would meet them too.
func (a *app) each(ctx context.Context, args []string, do func(string) error) error {
	var first error
	for _, arg := range args {
		err := do(arg)
		if err == nil {
			continue
		}
		a.printError(ctx, err)
		if first == nil {
			first = said{err}
		}
		var unreachable *client.UnreachableError
		if ctx.Err() != nil || errors.As(err, &unreachable) {
			break
		}
	}
	return first
}
