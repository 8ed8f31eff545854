package raidctl

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func kind(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Type()
}

// As root, --force replaced devices by files.
func TestDownloadReplacesNothingThatIsNoFile(t *testing.T) {
	f, dir := newFake(t), t.TempDir()
	f.put("null", []byte("bytes"))
	at := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	null := at("null")
	if err := syscall.Mknod(null, syscall.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		null = "/dev/null" // who is not root may make none
	}
	must(os.Symlink(null, at("link-to-null")))
	must(os.Symlink(filepath.Join(dir, "nowhere"), at("dangling")))
	ln, err := net.Listen("unix", at("socket"))
	must(err)
	defer ln.Close()
	must(os.Symlink(at("socket"), at("link-to-socket")))
	for _, force := range [][]string{{}, {"--force"}} {
		for _, path := range []string{null, at("link-to-null")} {
			before := kind(t, path)
			f.raidctl(t, append([]string{"download", "1", "-o", path}, force...)...).want(t, 0, path+"\n")
			if kind(t, path) != before {
				t.Errorf("%s is %v now", path, kind(t, path))
			}
		}
		for path, says := range map[string]string{"socket": "is a socket", "link-to-socket": "is a socket", "dangling": "is a link to nothing", "none/": "there is no folder"} {
			path = dir + "/" + path
			f.raidctl(t, append([]string{"download", "1", "-o", path}, force...)...).want(t, exitFailed, "", says)
		}
		// Nobody chose the device here: the file's name happens to be its.
		if null != "/dev/null" {
			f.raidctl(t, append([]string{"download", "1", "-o", dir}, force...)...).want(t, exitFailed, "", "null is a device, and not overwritten")
		}
	}
	if kind(t, at("socket")) != os.ModeSocket || kind(t, at("dangling")) != os.ModeSymlink {
		t.Error("something was replaced")
	}
	if left, _ := filepath.Glob(at("*.part")); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
}

func TestForcedDownloadGoesWhereALinkPoints(t *testing.T) {
	f, dir := newFake(t), t.TempDir()
	f.put("f", []byte("new"))
	file, link := writeFile(t, dir, "file", "old"), filepath.Join(dir, "link")
	if err := os.Symlink("file", link); err != nil {
		t.Fatal(err)
	}
	f.raidctl(t, "download", "1", "-o", link).want(t, exitFailed, "", "exists; overwrite it with --force")
	f.raidctl(t, "download", "1", "-o", link, "--force").want(t, 0, link+"\n")
	if text, _ := os.ReadFile(file); kind(t, link) != os.ModeSymlink || string(text) != "new" {
		t.Errorf("the link is %v, the file holds %q", kind(t, link), text)
	}
}

func TestDownloadIntoANamedPipeWaitsForItsReader(t *testing.T) {
	f, dir := newFake(t), t.TempDir()
	data := strings.Repeat("0123456789", 100_000)
	f.put("f", []byte(data))
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	go func() {
		r, err := os.Open(pipe)
		if err != nil {
			got <- err.Error()
			return
		}
		defer r.Close()
		b, _ := io.ReadAll(r)
		got <- string(b)
	}()
	f.raidctl(t, "download", "1", "-o", pipe, "--force").want(t, 0, pipe+"\n")
	if text := <-got; text != data {
		t.Errorf("%d bytes came through", len(text))
	}
	if kind(t, pipe) != os.ModeNamedPipe {
		t.Error("the pipe was replaced")
	}
}

func TestStandardOutputIsWrittenIntoUnderAllItsNames(t *testing.T) {
	f := newFake(t)
	f.put("f", []byte("bytes"))
	for _, name := range []string{"-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"} {
		path := filepath.Join(t.TempDir(), "out")
		out, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		cmd, stderr := process(t, f.URL, "download", "1", "-o", name, "--force")
		cmd.Stdout = out
		if err := cmd.Run(); err != nil {
			t.Errorf("%s: %v: %s", name, err, stderr)
		}
		info, err := out.Stat() // of the file that was opened, not of one in its place
		if err != nil || info.Size() != 5 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
		out.Close()
		cmd, stderr = process(t, f.URL, "download", "1", "-o", name)
		if text, err := cmd.Output(); err != nil || string(text) != "bytes" {
			t.Errorf("%s through a pipe: %q, %v: %s", name, text, err, stderr)
		}
	}
	cmd, stderr := process(t, f.URL, "download", "1", "-o", "/dev/stderr") // a pipe here
	if err := cmd.Run(); err != nil || stderr.String() != "bytes" {
		t.Errorf("to standard error: %v: %q", err, stderr)
	}
}

func TestInterruptEndsTheWaitForAPipesReader(t *testing.T) {
	f := newFake(t)
	f.put("f", []byte("bytes"))
	asked := make(chan struct{}, 10)
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	f.fault(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(w, r)
		asked <- struct{}{}
	})
	cmd, _ := process(t, f.URL, "download", "1", "-o", pipe)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-asked
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != exitInterrupted {
		t.Errorf("status %d", got)
	}
}
