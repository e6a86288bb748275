package s3_test

import (
	"fmt"
	"testing"
	"time"

	"manifold/internal/fs"
	"manifold/internal/identity"
	"manifold/internal/wire/s3"
)

// What is put is the caller's alone, unless its directory passes ACL entries on.
func TestModes(t *testing.T) {
	for _, versioning := range []string{"", "Enabled"} {
		r := newRig(t, nil)
		c := &crashing{rig: r}
		two := r.as("two")
		r.want(200, "PUT", "/bucket", "")
		if versioning != "" {
			c.versioning(versioning)
		}
		upload := func(key string) {
			id, doc := c.begin(key, fmt.Sprintf("%05242880d", 0))
			r.want(200, "POST", "/bucket/"+key+"?uploadId="+id, doc)
		}
		stat := func(path string) fs.Attr {
			t.Helper()
			a, err := r.fs.Resolve(t.Context(), fs.SystemCaller(), path, fs.AttrMode|fs.AttrOwner)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		r.want(200, "PUT", "/bucket/d/k", "mine")
		r.want(200, "PUT", "/bucket/e/", "")
		upload("d/m")
		for path, mode := range map[string]fs.Mode{"/bucket": 0o700, "/bucket/d": 0o700, "/bucket/e": 0o700, "/bucket/d/k": 0o600, "/bucket/d/m": 0o600} {
			if a := stat(path); a.Mode != mode || a.Owner != identity.UID(1001) || a.Group != identity.GID(1001) {
				t.Errorf("versioning %q: %s has mode %o, owner %v, group %v", versioning, path, a.Mode, a.Owner, a.Group)
			}
		}
		two.want(403, "GET", "/bucket/d/k", "")
		two.want(403, "PUT", "/bucket/d/k", "x")
		two.want(403, "DELETE", "/bucket/d/k", "")
		two.want(403, "GET", "/bucket?list-type=2", "")

		share := fs.ACL{Control: fs.ACLPresent | fs.ACLAutoInherited, Entries: []fs.ACE{
			{Type: fs.ACEAllow, Flags: fs.ACEObjectInherit | fs.ACEContainerInherit, Trustee: identity.UID(1001), Rights: fs.RightsAll},
			{Type: fs.ACEAllow, Flags: fs.ACEObjectInherit | fs.ACEContainerInherit, Trustee: identity.UID(1002), Rights: fs.RightsAll},
		}}
		if _, err := r.fs.SetACL(t.Context(), fs.SystemCaller(), stat("/bucket").Node, &share); err != nil {
			t.Fatal(err)
		}
		r.want(200, "PUT", "/bucket/s/t/k", "ours")
		upload("s/m")
		for _, path := range []string{"/bucket/s", "/bucket/s/t", "/bucket/s/t/k", "/bucket/s/m"} {
			n := stat(path)
			a, err := r.fs.GetACL(t.Context(), fs.SystemCaller(), n.Node)
			if err != nil || a.ModeOnly || len(a.Entries) != 2 || a.Entries[1].Trustee != identity.UID(1002) || a.Entries[0].Flags&fs.ACEInherited == 0 {
				t.Errorf("versioning %q: %s has %+v, %v", versioning, path, a, err)
			}
		}
		if a := two.want(200, "GET", "/bucket/s/t/k", ""); a.body != "ours" {
			t.Errorf("%q", a.body)
		}
		two.want(200, "PUT", "/bucket/s/t/k", "theirs")
		if a := stat("/bucket/s/t/k"); a.Owner != identity.UID(1002) {
			t.Errorf("the owner is %v", a.Owner)
		}
		two.want(403, "GET", "/bucket/d/k", "") // made before
	}
}

// A setgid directory gives its group to what is put there.
func TestModes_setgid(t *testing.T) {
	r := newRig(t, nil)
	r.want(200, "PUT", "/bucket", "")
	a, err := r.fs.Resolve(t.Context(), fs.SystemCaller(), "/bucket", 0)
	if err != nil {
		t.Fatal(err)
	}
	mode, group := fs.Mode(0o2770), identity.GID(77)
	if _, err := r.fs.SetAttr(t.Context(), fs.SystemCaller(), a.Node, &fs.SetAttr{Mode: &mode, Group: &group}); err != nil {
		t.Fatal(err)
	}
	r.want(200, "PUT", "/bucket/d/k", "x")
	for path, mode := range map[string]fs.Mode{"/bucket/d": 0o2700, "/bucket/d/k": 0o600} {
		a, err := r.fs.Resolve(t.Context(), fs.SystemCaller(), path, fs.AttrMode|fs.AttrOwner)
		if err != nil || a.Group != group || a.Mode != mode {
			t.Errorf("%s has mode %o, group %v, %v", path, a.Mode, a.Group, err)
		}
	}
}

// Versions keep their order when the clock is set back.
func TestVersions_clockSetBack(t *testing.T) {
	now := time.Now()
	c := &crashing{rig: newRig(t, func(o *s3.Options) { o.Now = func() time.Time { return now } })}
	c.want(200, "PUT", "/bucket", "")
	c.versioning("Enabled")
	var ids []string
	for i := range 3 {
		ids = append(ids, c.want(200, "PUT", "/bucket/k", fmt.Sprint("body ", i)).header.Get("X-Amz-Version-Id"))
		now = now.Add(-time.Minute)
	}
	c.view()
	for i, v := range c.list("/bucket?versions").Version {
		if v.VersionID != ids[2-i] {
			t.Errorf("version %d from the newest is %s of %q", i, v.VersionID, ids)
		}
	}
	c.want(204, "DELETE", "/bucket/k", "")
	c.view()
}
