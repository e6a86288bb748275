package audit

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"manifold/internal/identity"
)

// appName and structured data of every message. 32473 is the enterprise number
// that RFC 5612 sets aside.
const (
	appName  = "qumulo"
	priority = 1*8 + 6 // user-level, informational
)

// message renders a record as RFC 5424 says, without framing.
func message(r *Record, f Format, host string, names Names) []byte {
	b := fmt.Appendf(nil, "<%d>1 %s %s %s %d - [manifold@32473 seq=\"%d\"] ",
		priority, r.Time.UTC().Format("2006-01-02T15:04:05.000000Z"), header(host), appName, 1, r.Seq)
	if f == JSON {
		return appendJSON(b, r, names)
	}
	return appendCSV(b, r, names)
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

// userText is the best name there is.
func userText(a identity.AuthID, names Names) string {
	name, sid := names(a)
	n, posix := a.POSIX()
	switch {
	case name != "":
		return name
	case posix:
		return strconv.FormatUint(uint64(n), 10)
	case sid != "":
		return sid
	}
	return strconv.FormatUint(uint64(a), 10)
}

// line keeps a text on one line.
func line(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || r == 0 {
			return -1
		}
		return r
	}, s)
}

// quoted is a CSV field in quotes.
func quoted(s string) string { return `"` + strings.ReplaceAll(line(s), `"`, `""`) + `"` }

func clientText(r *Record) string {
	if !r.Client.IsValid() {
		return ""
	}
	return r.Client.Unmap().String()
}

func appendCSV(b []byte, r *Record, names Names) []byte {
	file := ""
	if r.FileID != 0 {
		file = strconv.FormatUint(r.FileID, 10)
	}
	path, target := r.Path, r.Target
	if path == "" {
		path, target = r.Extra, r.Extra2
	}
	return fmt.Appendf(b, "%s,%s,%s,%s,%s,%s,%s,%s", clientText(r), quoted(userText(r.User, names)), r.Protocol, r.Operation, r.Status, file, quoted(path), quoted(target))
}

type jsonUser struct {
	SID    string `json:"sid"`
	AuthID string `json:"auth_id"`
	Name   string `json:"name"`
}

type jsonDetails struct {
	Path     *string `json:"path,omitempty"`
	Target   *string `json:"target,omitempty"`
	FileID   string  `json:"file_id,omitempty"`
	Offset   *uint64 `json:"offset,omitempty"`
	Size     *uint64 `json:"size,omitempty"`
	FileSize *uint64 `json:"file_size,omitempty"`
	Extra    *string `json:"extra_name,omitempty"`
	Extra2   *string `json:"second_extra_name,omitempty"`
}

type jsonRecord struct {
	User      jsonUser    `json:"user_id"`
	IP        string      `json:"user_ip"`
	Protocol  string      `json:"protocol"`
	Operation string      `json:"operation"`
	Status    string      `json:"status"`
	Details   jsonDetails `json:"details"`
}

func appendJSON(b []byte, r *Record, names Names) []byte {
	_, sid := names(r.User)
	out := jsonRecord{jsonUser{sid, strconv.FormatUint(uint64(r.User), 10), userText(r.User, names)}, clientText(r), r.Protocol, r.Operation, r.Status, jsonDetails{}}
	d := &out.Details
	if r.FileID != 0 || r.Path != "" {
		d.Path, d.Target, d.FileID = &r.Path, &r.Target, strconv.FormatUint(r.FileID, 10)
		d.Offset, d.Size, d.FileSize = r.Offset, r.Size, r.FileSize
	} else {
		d.Extra, d.Extra2 = &r.Extra, &r.Extra2
	}
	j, err := json.Marshal(out)
	if err != nil {
		return b // strings and numbers always render
	}
	return append(b, j...)
}
