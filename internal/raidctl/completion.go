package raidctl

import (
	"bytes"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// WriteBash writes the completion for bash. Cobra's own needs the package
// bash-completion, and without it prints an error at each TAB. This one does
// without.
func WriteBash(root *cobra.Command, w io.Writer) error {
	var b bytes.Buffer
	if err := root.GenBashCompletionV2(&b, true); err != nil {
		return err
	}
	text := strings.NewReplacer(
		"_filedir", "__raidctl_filedir",
		"    _get_comp_words_by_ref \"$@\" cur prev words cword\n", "    __raidctl_words \"$@\"\n",
	).Replace(b.String())
	_, err := io.WriteString(w, text+bashFallback)
	return err
}

// bashFallback has what cobra's script uses of the package bash-completion. It is
// written for bash 3, which macOS has.
const bashFallback = `
# The words of the line. = and : are parts of them, and not ends, as -n =: asks.
__raidctl_words()
{
    if declare -F _get_comp_words_by_ref >/dev/null 2>&1; then
        _get_comp_words_by_ref "$@" cur prev words cword
        return
    fi
    local i n=0 word before="" line=${COMP_LINE}
    words=()
    for ((i = 0; i < ${#COMP_WORDS[@]}; i++)); do
        word=${COMP_WORDS[i]}
        if [[ ${n} -gt 0 && ${line} != [[:space:]]* && (${word} == [=:]* || ${before} == *[=:]) ]]; then
            words[n-1]+=${word}
        else
            words[n]=${word}
            n=$((n + 1))
        fi
        if [[ ${i} -eq ${COMP_CWORD} ]]; then
            cword=$((n - 1))
        fi
        before=${word}
        line=${line#"${line%%[![:space:]]*}"}
        line=${line#"${word}"}
    done
    cur=${words[cword]}
    prev=""
    if [[ ${cword} -gt 0 ]]; then
        prev=${words[cword-1]}
    fi
}

# Files, or with -d folders.
__raidctl_filedir()
{
    if declare -F _filedir >/dev/null 2>&1; then
        _filedir "$@"
        return
    fi
    local kind=-f found
    if [[ ${1-} == -d ]]; then
        kind=-d
    fi
    compopt -o filenames >/dev/null 2>&1
    while IFS='' read -r found; do
        COMPREPLY+=("${found}")
    done < <(compgen ${kind} -- "${cur}")
}
`

// ownBashCompletion has raidctl completion bash print WriteBash's script.
func ownBashCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	bash, _, err := root.Find([]string{"completion", "bash"})
	if err != nil || bash.Name() != "bash" {
		return
	}
	bash.Long = strings.Replace(bash.Long, "This script depends on the 'bash-completion' package.\n"+
		"If it is not installed already, you can install it via your OS's package manager.\n", "It works with and without the package bash-completion.\n", 1)
	bash.RunE = func(cmd *cobra.Command, _ []string) error { return WriteBash(cmd.Root(), cmd.OutOrStdout()) }
}
