package smb

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"manifold/e2e/netns"
)

// Samba's client finds the snapshots of a file as Windows' "Previous Versions" does
// and reads them by their token, also where no .snapshot is to be seen.
func TestPreviousVersions(t *testing.T) {
	x := newTools(t)
	rest := x.s.Login(t)
	put := func(content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(x.dir, "f"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		x.wants(t, nil, "smbclient", user, share, "-c", "put f d\\f")
	}
	x.wants(t, nil, "smbclient", user, share, "-c", "mkdir d")
	put("the first")
	rest.Must(t, "POST", "/v3/snapshots/", map[string]any{"name_suffix": "s", "source_file_id": "2", "expiration": ""}, nil)
	put("the second version")
	rest.Must(t, "PATCH", "/v1/smb/settings", map[string]any{"snapshot_directory_mode": "DISABLED"}, nil)

	out := x.wants(t, nil, "smbclient", user, share, "-c", "allinfo d\\f")
	token := regexp.MustCompile(`@GMT-\d{4}\.\d\d\.\d\d-\d\d\.\d\d\.\d\d`).FindString(out)
	if token == "" {
		t.Fatalf("no version is told of:\n%s", out)
	}
	for path, want := range map[string]string{token + `\d\f`: "the first", `d\` + token + `\f`: "the first", `d\f`: "the second version"} {
		x.wants(t, nil, "smbclient", user, share, "-c", "get "+path+" back")
		if got, err := os.ReadFile(filepath.Join(x.dir, "back")); err != nil || string(got) != want {
			t.Errorf("%s reads %q, %v; want %q", path, got, err, want)
		}
	}
	x.wants(t, []string{" f "}, "smbclient", user, share, "-c", "ls "+token+`\d\*`)
	if out, _ := x.run(t, "smbclient", user, share, "-c", "put f "+token+`\d\f`); !strings.Contains(out, "NT_STATUS_") {
		t.Errorf("a version is written:\n%s", out)
	}
	if out, _ := x.run(t, "smbclient", user, share, "-c", `get @GMT-2001.01.01-00.00.00\d\f back`); !strings.Contains(out, "NT_STATUS_OBJECT_") {
		t.Errorf("there is a version of 2001:\n%s", out)
	}
}

// With access-based enumeration a directory lists what its reader may read.
func TestAccessBasedEnumeration(t *testing.T) {
	x := newTools(t)
	rest := x.s.Login(t)
	rest.Must(t, "POST", "/v1/users/", map[string]any{"name": "jane", "primary_group": "513", "password": "Jane-Pass-1"}, nil)
	jane := "--user=jane%Jane-Pass-1"
	x.wants(t, nil, "smbclient", user, share, "-c", "mkdir d; mkdir d\\secret; mkdir d\\open; put smb.conf d\\hers; put smb.conf d\\not")
	for path, mode := range map[string]string{"%2Fd": "0755", "%2Fd%2Fsecret": "0700", "%2Fd%2Fopen": "0755", "%2Fd%2Fhers": "0644", "%2Fd%2Fnot": "0600"} {
		rest.Must(t, "PATCH", "/v1/files/"+path+"/info/attributes", map[string]any{"mode": mode}, nil)
	}
	lists := func(as string, want string) {
		t.Helper()
		out := x.wants(t, nil, "smbclient", as, "//"+netns.Server+"/Proj", "-c", "ls")
		var got []string
		for _, n := range []string{"hers", "not", "open", "secret"} {
			if strings.Contains(out, "  "+n+" ") {
				got = append(got, n)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s sees %q, want %s", strings.SplitN(as, "%", 2)[0], got, want)
		}
	}
	all := []any{map[string]any{"type": "ALLOWED", "trustee": map[string]any{"name": "Everyone"}, "rights": []string{"ALL"}}}
	rest.Must(t, "POST", "/v2/smb/shares/", map[string]any{"share_name": "Proj", "fs_path": "/d", "permissions": all}, nil)
	lists(jane, "hers not open secret")
	rest.Must(t, "PATCH", "/v2/smb/shares/proj", map[string]any{"access_based_enumeration_enabled": true}, nil)
	lists(jane, "hers open")
	lists(user, "hers not open secret")
}

// A share may want what the server does not.
func TestEncryptedShare(t *testing.T) {
	x := newTools(t)
	rest := x.s.Login(t)
	x.wants(t, nil, "smbclient", user, share, "-c", "mkdir d; put smb.conf d\\f")
	all := []any{map[string]any{"type": "ALLOWED", "trustee": map[string]any{"name": "Everyone"}, "rights": []string{"ALL"}}}
	rest.Must(t, "POST", "/v2/smb/shares/", map[string]any{"share_name": "Safe", "fs_path": "/d", "permissions": all, "require_encryption": true}, nil)
	safe := "//" + netns.Server + "/Safe"
	for _, dialect := range []string{"SMB3_00", "SMB3_02", "SMB3_11"} {
		x.wants(t, []string{" f "}, "smbclient", user, "--option=client max protocol="+dialect, safe, "-c", "ls")
	}
	x.refuses(t, "NT_STATUS_ACCESS_DENIED", "smbclient", user, "--option=client max protocol=SMB2_10", safe, "-c", "ls")
	x.wants(t, nil, "smbclient", user, "--option=client max protocol=SMB2_10", share, "-c", "ls")
}
