package shell

import (
	"errors"
	"strings"
)

var errQuote = errors.New("a quotation mark is not closed")

// split takes a line apart as a POSIX shell does with plain words: blanks
// separate, quotes and backslashes keep together. Nothing is expanded.
func split(line string) ([]string, error) {
	words, open, _ := scan(line)
	if open {
		return nil, errQuote
	}
	return words, nil
}

// scan answers the words, whether a quotation is open at the end, and whether
// the line ends within a word.
func scan(line string) (words []string, open, within bool) {
	var b strings.Builder
	var quote byte
	escaped := false
	for _, c := range []byte(line) { // bytes: names need not be UTF-8
		switch {
		case escaped:
			if quote == '"' && c != '"' && c != '\\' && c != '$' && c != '`' {
				b.WriteByte('\\')
			}
			b.WriteByte(c)
			escaped = false
		case c == '\\' && quote != '\'':
			escaped, within = true, true
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			b.WriteByte(c)
		case c == '\'' || c == '"':
			quote, within = c, true
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			if within {
				words = append(words, b.String())
				b.Reset()
				within = false
			}
		default:
			b.WriteByte(c)
			within = true
		}
	}
	if within {
		words = append(words, b.String())
	}
	return words, quote != 0 || escaped, within
}
