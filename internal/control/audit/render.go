package audit

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

// What every message begins with: user-level, informational (RFC 5424 6.2.1),
// and the structured data under the enterprise number that RFC 5612 sets aside.
const (
	headStart = "<14>1 "
	headApp   = " qumulo 1 - [manifold@32473 seq=\""
	headEnd   = "\"] "
)

// messages renders stored records as RFC 5424 says, without framing. It belongs
// to one goroutine.
type messages struct {
	host   string // fit by header
	second int64
	text   []byte // second, without its end
}

func (m *messages) append(b []byte, e *entry) []byte {
	b = append(b, headStart...)
	b = m.appendTime(b, e.time)
	b = append(b, ' ')
	b = append(b, m.host...)
	b = append(b, headApp...)
	b = strconv.AppendUint(b, e.seq, 10)
	b = append(b, headEnd...)
	return append(b, e.text...)
}

// appendTime renders nanoseconds since 1970 with microseconds. Most records
// fall into the second of the one before.
func (m *messages) appendTime(b []byte, ns int64) []byte {
	sec, us := ns/1e9, uint32(ns%1e9/1000)
	if sec != m.second || m.text == nil {
		m.second, m.text = sec, time.Unix(sec, 0).UTC().AppendFormat(m.text[:0], "2006-01-02T15:04:05.")
	}
	b = append(b, m.text...)
	digit := func(n uint32) byte { return '0' + byte(n%10) }
	return append(b, digit(us/100_000), digit(us/10_000), digit(us/1000), digit(us/100), digit(us/10), digit(us), 'Z')
}

// header keeps a name within what a header field may hold.
func header(s string) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, s)
	if s == "" {
		return "-"
	}
	return s[:min(len(s), 255)]
}

// appendText renders the message part of a record.
func appendText(b []byte, r *Record, f Format, names Names) []byte {
	if f == JSON {
		return appendJSON(b, r, names)
	}
	return appendCSV(b, r, names)
}

// escape appends a text, fit for the quotes of a CSV field or of JSON.
func escape(b []byte, s string, f Format) []byte {
	if f == JSON {
		return jsonText(b, s)
	}
	return csvText(b, s)
}

// appendUser appends the best name there is.
func appendUser(b []byte, a identity.AuthID, name, sid string, f Format) []byte {
	n, posix := a.POSIX()
	switch {
	case name != "":
		return escape(b, name, f)
	case posix:
		return strconv.AppendUint(b, uint64(n), 10)
	case sid != "":
		return escape(b, sid, f)
	}
	return strconv.AppendUint(b, uint64(a), 10)
}

func appendClient(b []byte, r *Record) []byte {
	if !r.Client.IsValid() {
		return b
	}
	return r.Client.Unmap().AppendTo(b)
}

// appendPath joins a directory's path and a name.
func appendPath(b []byte, path, name string, f Format) []byte {
	b = escape(b, path, f)
	if name == "" {
		return b
	}
	if !strings.HasSuffix(path, "/") {
		b = append(b, '/')
	}
	return escape(b, name, f)
}

func (r *Record) onFile() bool { return r.FileID != 0 || r.Path != "" }

// csvPlain are the bytes that a CSV field holds as they are.
var csvPlain = func() (t [256]bool) {
	for c := range t {
		t[c] = c != '"' && c != '\n' && c != '\r' && c != 0
	}
	return t
}()

// csvText doubles quotes and keeps a text on one line.
func csvText(b []byte, s string) []byte {
	plain := 0
	for plain < len(s) && csvPlain[s[plain]] {
		plain++
	}
	b = append(b, s[:plain]...)
	for i := plain; i < len(s); i++ {
		switch s[i] {
		case '\n', '\r', 0:
		case '"':
			b = append(b, '"', '"')
		default:
			b = append(b, s[i])
		}
	}
	return b
}

func appendCSV(b []byte, r *Record, names Names) []byte {
	name, sid := names(r.User)
	b = appendClient(b, r)
	b = append(b, ',', '"')
	b = appendUser(b, r.User, name, sid, CSV)
	b = append(b, '"', ',')
	b = append(b, r.Protocol...)
	b = append(b, ',')
	b = append(b, r.Operation...)
	b = append(b, ',')
	b = append(b, r.Status...)
	b = append(b, ',')
	if r.FileID != 0 {
		b = strconv.AppendUint(b, r.FileID, 10)
	}
	b = append(b, ',', '"')
	if r.onFile() {
		b = appendPath(b, r.Path, r.Name, CSV)
		b = append(b, `","`...)
		b = appendPath(b, r.Target, r.TargetName, CSV)
	} else {
		b = csvText(b, r.Extra)
		b = append(b, `","`...)
		b = csvText(b, r.Extra2)
	}
	return append(b, '"')
}

// jsonText escapes what must be, and replaces what is not UTF-8.
func jsonText(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		n := 1
		if c >= utf8.RuneSelf {
			var r rune
			if r, n = utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
		}
		b = append(b, s[from:i]...)
		switch {
		case c >= utf8.RuneSelf:
			b = append(b, "\uFFFD"...)
		case c == '"', c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i += n
		from = i
	}
	return append(b, s[from:]...)
}

func appendJSON(b []byte, r *Record, names Names) []byte {
	name, sid := names(r.User)
	b = append(b, `{"user_id":{"sid":"`...)
	b = jsonText(b, sid)
	b = append(b, `","auth_id":"`...)
	b = strconv.AppendUint(b, uint64(r.User), 10)
	b = append(b, `","name":"`...)
	b = appendUser(b, r.User, name, sid, JSON)
	b = append(b, `"},"user_ip":"`...)
	b = appendClient(b, r)
	b = append(b, `","protocol":"`...)
	b = append(b, r.Protocol...)
	b = append(b, `","operation":"`...)
	b = append(b, r.Operation...)
	b = append(b, `","status":"`...)
	b = append(b, r.Status...)
	b = append(b, `","details":{`...)
	if r.onFile() {
		b = append(b, `"path":"`...)
		b = appendPath(b, r.Path, r.Name, JSON)
		b = append(b, `","target":"`...)
		b = appendPath(b, r.Target, r.TargetName, JSON)
		b = append(b, `","file_id":"`...)
		b = strconv.AppendUint(b, r.FileID, 10)
		b = append(b, '"')
		b = appendNumber(b, `,"offset":`, r.Offset)
		b = appendNumber(b, `,"size":`, r.Size)
		b = appendNumber(b, `,"file_size":`, r.FileSize)
		b = appendAttributes(b, `,"before":`, r.Before, names)
		b = appendAttributes(b, `,"after":`, r.After, names)
	} else {
		b = append(b, `"extra_name":"`...)
		b = jsonText(b, r.Extra)
		b = append(b, `","second_extra_name":"`...)
		b = jsonText(b, r.Extra2)
		b = append(b, '"')
	}
	return append(b, '}', '}')
}

func appendNumber(b []byte, name string, n Number) []byte {
	if !n.Set {
		return b
	}
	return strconv.AppendUint(append(b, name...), n.N, 10)
}

func appendAttributes(b []byte, name string, a *Attributes, names Names) []byte {
	if a == nil || !a.Set {
		return b
	}
	b = append(b, name...)
	b = appendFileTime(append(b, `{"ctime":"`...), a.Ctime)
	b = appendFileTime(append(b, `","mtime":"`...), a.Mtime)
	b = append(b, `","owner":`...)
	b = appendPrincipal(b, a.Owner, names)
	b = append(b, `,"group":`...)
	b = appendPrincipal(b, a.Group, names)
	b = append(b, `,"mode":"`...)
	for shift := 9; shift >= 0; shift -= 3 {
		b = append(b, '0'+byte(a.Mode>>shift&7))
	}
	b = append(b, `","size":`...)
	b = strconv.AppendUint(b, a.Size, 10)
	return append(b, '}')
}

func appendFileTime(b []byte, t fs.Time) []byte {
	return time.Unix(t.Sec, int64(t.Nsec)).UTC().AppendFormat(b, time.RFC3339Nano)
}

func appendPrincipal(b []byte, a identity.AuthID, names Names) []byte {
	_, sid := names(a)
	b = append(b, `{"sid":"`...)
	b = jsonText(b, sid)
	b = append(b, `","auth_id":"`...)
	b = strconv.AppendUint(b, uint64(a), 10)
	return append(b, '"', '}')
}
