package audit

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

func testNames(a identity.AuthID) (string, string) {
	if a == 500 {
		return "ad\nmin\"x", "S-1-5-21-1-2-3-500"
	}
	return "", ""
}

func render(r *Record, f Format) string { return string(appendText(nil, r, f, testNames)) }

func TestMessage(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	got := string((&messages{host: header("ho st")}).append(nil, &entry{42, at.UnixNano(), []byte("text")}))
	if want := `<14>1 2026-01-02T03:04:05.000006Z ho_st qumulo 1 - [manifold@32473 seq="42"] text`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestText(t *testing.T) {
	r := Record{
		User: 500, Client: netip.MustParseAddr("::ffff:10.1.2.3"), Protocol: "nfsv3",
		Operation: "fs_write_data", Status: "ok", FileID: 7, Path: "/a,b\n", Name: "\"c", Offset: number(5), Size: number(7), FileSize: number(12),
	}
	if got, want := render(&r, CSV), `10.1.2.3,"admin""x",nfsv3,fs_write_data,ok,7,"/a,b/""c",""`; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	want := `{"user_id":{"sid":"S-1-5-21-1-2-3-500","auth_id":"500","name":"ad\nmin\"x"},"user_ip":"10.1.2.3","protocol":"nfsv3","operation":"fs_write_data","status":"ok",` +
		`"details":{"path":"/a,b\n/\"c","target":"","file_id":"7","offset":5,"size":7,"file_size":12}}`
	if got := render(&r, JSON); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	r = Record{User: identity.UID(1000), Protocol: "api", Operation: "auth_create_user", Status: "ok", Extra: "jane", Extra2: "x"}
	if got := render(&r, CSV); got != `,"1000",api,auth_create_user,ok,,"jane","x"` {
		t.Error(got)
	}
	if got := render(&r, JSON); !strings.HasSuffix(got, `"details":{"extra_name":"jane","second_extra_name":"x"}}`) {
		t.Error(got)
	}
}

func TestText_attributes(t *testing.T) {
	r := Record{
		Operation: "fs_write_metadata", Status: "ok", FileID: 7, Path: "/", Name: "f",
		Before: &Attributes{true, fs.Time{Sec: 1, Nsec: 2}, fs.Time{}, 500, 513, 0o7, 9},
		After:  &Attributes{true, fs.Time{Sec: 3}, fs.Time{}, 500, 513, 0o4755, 9},
	}
	got := render(&r, JSON)
	_, got, _ = strings.Cut(got, `"details":`)
	want := `{"path":"/f","target":"","file_id":"7",` +
		`"before":{"ctime":"1970-01-01T00:00:01.000000002Z","mtime":"1970-01-01T00:00:00Z","owner":{"sid":"S-1-5-21-1-2-3-500","auth_id":"500"},"group":{"sid":"","auth_id":"513"},"mode":"0007","size":9},` +
		`"after":{"ctime":"1970-01-01T00:00:03Z","mtime":"1970-01-01T00:00:00Z","owner":{"sid":"S-1-5-21-1-2-3-500","auth_id":"500"},"group":{"sid":"","auth_id":"513"},"mode":"4755","size":9}}}`
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// A text is one line and, in JSON, is read back as what it was, or close to it.
func FuzzText(f *testing.F) {
	f.Add("plain", "/a/ü")
	f.Add("\x00\x1f\"\\\n", "\xff\xc3(\u2028\ufffd")
	f.Fuzz(func(t *testing.T, name, path string) {
		r := Record{User: 7, Path: path, Name: name, Target: name, Operation: "op"}
		names := func(identity.AuthID) (string, string) { return name, "" }
		if csv := string(appendText(nil, &r, CSV, names)); strings.ContainsAny(csv, "\n\r\x00") {
			t.Fatalf("%q", csv)
		}
		b := appendText(nil, &r, JSON, names)
		var v struct {
			User    struct{ Name string } `json:"user_id"`
			Details struct{ Target string }
		}
		if err := json.Unmarshal(b, &v); err != nil || !utf8.Valid(b) {
			t.Fatalf("%v: %q", err, b)
		}
		if want := strings.ToValidUTF8(name, "\ufffd"); utf8.ValidString(name) && name != "" && v.User.Name != want {
			t.Fatalf("%q, want %q", v.User.Name, want)
		}
		if path != "" && utf8.ValidString(name) && v.Details.Target != name {
			t.Fatalf("%q, want %q", v.Details.Target, name)
		}
	})
}
