package rest

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	"manifold/internal/control/schedule"
	"manifold/internal/fs"
)

// u64 is a 64-bit quantity: a decimal string on the wire. On the way in a JSON
// number is taken as well, and "" or null means that it was not given.
type u64 struct {
	N   uint64
	Set bool
}

func num(n uint64) u64 { return u64{n, true} }

// MarshalJSON implements json.Marshaler.
func (u u64) MarshalJSON() ([]byte, error) {
	if !u.Set {
		return []byte(`""`), nil
	}
	return []byte(`"` + strconv.FormatUint(u.N, 10) + `"`), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (u *u64) UnmarshalJSON(b []byte) error {
	s := string(b)
	if len(s) > 0 && s[0] == '"' {
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
	}
	*u = u64{}
	if s == "" || s == "null" {
		return nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return fmt.Errorf("%q is not an unsigned 64-bit number", s)
	}
	*u = num(n)
	return nil
}

// optional tells absent, null and given apart.
type optional[T any] struct {
	Given bool // the field was there
	Null  bool
	Value T
}

// UnmarshalJSON implements json.Unmarshaler.
func (o *optional[T]) UnmarshalJSON(b []byte) error {
	o.Given = true
	if string(b) == "null" {
		o.Null = true
		return nil
	}
	return json.Unmarshal(b, &o.Value)
}

// IsZero lets omitzero leave an absent value out.
func (o optional[T]) IsZero() bool { return !o.Given }

func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func parseTime(field, s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return t, badRequest("decode_error", "%s is %q, want RFC 3339 as in 2024-02-04T19:29:48.5Z", field, s)
	}
	return t, nil
}

// never renders a time of which the zero value is "never" as "".
func never(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return timestamp(t)
}

// timeToLive reads a quantity of 1 to 99 and a unit, as in "15minutes"; "" and
// "never" have no end.
func timeToLive(s string, now time.Time) (time.Time, error) {
	t, err := schedule.Expiry(s, now)
	if err != nil {
		err = badRequest("http_bad_request_error", "%v", err)
	}
	return t, err
}

func modeText(m fs.Mode) string {
	var b [4]byte
	for i := range b {
		b[i] = '0' + byte(m>>(9-3*i)&7)
	}
	return string(b[:])
}

func parseMode(s string) (fs.Mode, error) {
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || fs.Mode(n)&^fs.ModeAll != 0 {
		return 0, badRequest("decode_error", "mode is %q, want up to four octal digits", s)
	}
	return fs.Mode(n), nil
}

// tag makes an entity tag from numbers that change whenever the object does.
func tag(numbers ...uint64) string {
	h := fnv.New64a()
	var b [8]byte
	for _, n := range numbers {
		binary.BigEndian.PutUint64(b[:], n)
		h.Write(b[:])
	}
	return `"` + base64.RawURLEncoding.EncodeToString(h.Sum(nil)) + `"`
}

// fileTag covers data and attributes.
func fileTag(a *fs.Attr) string { return tag(uint64(a.Node.ID), uint64(a.Node.Snap), a.Change) }

// Keys of pages that go by a name or path, which may be any bytes.
func nameKey(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func parseNameKey(s string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return "", badKey()
	}
	return string(b), nil
}

// typeNames are the file types as clients know them.
var typeNames = map[fs.Type]string{
	fs.File:        "FS_FILE_TYPE_FILE",
	fs.Directory:   "FS_FILE_TYPE_DIRECTORY",
	fs.Symlink:     "FS_FILE_TYPE_SYMLINK",
	fs.FIFO:        "FS_FILE_TYPE_UNIX_PIPE",
	fs.Socket:      "FS_FILE_TYPE_UNIX_SOCKET",
	fs.CharDevice:  "FS_FILE_TYPE_UNIX_CHARACTER_DEVICE",
	fs.BlockDevice: "FS_FILE_TYPE_UNIX_BLOCK_DEVICE",
}

func typeText(t fs.Type) string {
	if s, ok := typeNames[t]; ok {
		return s
	}
	return "FS_FILE_TYPE_UNKNOWN"
}

var hintNames = map[fs.SymlinkHint]string{
	fs.SymlinkUnknown:     "FS_FILE_TYPE_UNKNOWN",
	fs.SymlinkToFile:      "FS_FILE_TYPE_FILE",
	fs.SymlinkToDirectory: "FS_FILE_TYPE_DIRECTORY",
}
