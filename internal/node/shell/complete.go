package shell

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// complete extends the word before the cursor by what the commands say could
// stand there, and shows the choices if there are several.
func (k *session) complete(ctx context.Context, out io.Writer, line string, pos int) (string, int, bool) {
	words, open, within := scan(line[:pos])
	if open {
		return "", 0, false
	}
	part := ""
	if within {
		part, words = words[len(words)-1], words[:len(words)-1]
	}
	if len(words) > 0 && words[0] == "manifold" {
		words = words[1:]
	}
	choices := k.choices(ctx, words, part)
	if len(choices) == 0 || !strings.HasSuffix(line[:pos], part) {
		return "", 0, false
	}
	common := choices[0].word
	for _, c := range choices[1:] {
		for !strings.HasPrefix(c.word, common) {
			common = common[:len(common)-1]
		}
	}
	if len(choices) == 1 {
		common += " "
	} else if common == part {
		var b bytes.Buffer
		for _, c := range choices {
			fmt.Fprintf(&b, "  %-24s %s\n", c.word, c.what)
		}
		_, _ = out.Write(b.Bytes()) // at once: the line is drawn anew after each
		return line, pos, true
	}
	head := line[:pos-len(part)] + common
	return head + line[pos:], len(head), true
}

type choice struct{ word, what string }

// choices asks the commands what could follow words and begins with part.
func (k *session) choices(ctx context.Context, words []string, part string) []choice {
	var b bytes.Buffer
	root := k.root(&b, io.Discard)
	root.SetArgs(append(append([]string{"__complete"}, words...), part))
	if root.ExecuteContext(ctx) != nil {
		return nil
	}
	var out []choice
	for l := range strings.Lines(b.String()) {
		l = strings.TrimSuffix(l, "\n")
		if strings.HasPrefix(l, ":") { // the directive, which is the last line
			break
		}
		word, what, _ := strings.Cut(l, "\t")
		if strings.HasPrefix(word, part) && word != "" {
			out = append(out, choice{word, what})
		}
	}
	return out
}

// lines are those of an input, bounded.
type lines struct{ r *bufio.Reader }

const maxLine = 64 << 10

func newLines(r io.Reader) *lines { return &lines{bufio.NewReaderSize(r, 4096)} }

func (l *lines) next() (string, error) {
	var b []byte
	for {
		part, err := l.r.ReadSlice('\n')
		b = append(b, part...)
		switch {
		case len(b) > maxLine:
			return "", errors.New("a line is too long")
		case errors.Is(err, bufio.ErrBufferFull):
		case err == nil, errors.Is(err, io.EOF) && len(b) > 0:
			return strings.TrimRight(string(b), "\r\n"), nil
		default:
			return "", err
		}
	}
}
