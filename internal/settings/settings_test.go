package settings

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

type inner struct {
	Cache int64 `name:"cache" help:"Cache size." default:"64M" unit:"bytes"`
}

type options struct {
	inner
	Data        string        `name:"data" help:"Data directory."`
	Wait        time.Duration `name:"wait" default:"90s"`
	Verbose     bool          `name:"verbose"`
	Listen      []netip.Addr  `name:"listen"`
	Disable     []string      `name:"disable" default:"ftp"`
	Password    Secret        `name:"admin-password"`
	Small       uint8         `name:"small"`
	notAnOption int
}

func TestLayers(t *testing.T) {
	env := map[string]string{"MANIFOLD_DATA": "/env", "MANIFOLD_LISTEN": "127.0.0.1, ::1", "MANIFOLD_ADMIN_PASSWORD": "s3cret"}
	o := options{Wait: time.Second}
	fields, err := Load(&o, func(k string) (string, bool) { v, ok := env[k]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	want := options{inner: inner{64 << 20}, Data: "/env", Wait: time.Second, Disable: []string{"ftp"}, Password: "s3cret",
		Listen: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}}
	if !reflect.DeepEqual(o, want) {
		t.Errorf("got %+v", o)
	}
	by := map[string]*Field{}
	for _, f := range fields {
		by[f.Name] = f
	}
	for _, s := range [][2]string{{"data", "/flag"}, {"disable", "ssh"}, {"disable", "web,s3"}, {"verbose", "true"}, {"cache", "1G"}} {
		if err := by[s[0]].Set(s[1]); err != nil {
			t.Fatal(err)
		}
	}
	if o.Data != "/flag" || !o.Verbose || o.Cache != 1<<30 || by["disable"].String() != "ssh,web,s3" {
		t.Errorf("got %+v", o)
	}
	if by["cache"].Type() != "bytes" || by["wait"].Type() != "duration" || by["listen"].Type() != "list" || !by["verbose"].IsBoolFlag() {
		t.Error("types are not told apart")
	}
}

func TestBadValuesNameTheirSource(t *testing.T) {
	for env, bad := range map[string]string{"MANIFOLD_WAIT": "soon", "MANIFOLD_SMALL": "256", "MANIFOLD_VERBOSE": "maybe", "MANIFOLD_LISTEN": "here", "MANIFOLD_CACHE": "99999999T"} {
		var o options
		_, err := Load(&o, func(k string) (string, bool) { return bad, k == env })
		if err == nil || !strings.Contains(err.Error(), env) {
			t.Errorf("%s=%s: %v", env, bad, err)
		}
	}
	if _, err := Fields(options{}); err == nil {
		t.Error("a struct by value was accepted")
	}
	if _, err := Fields(&struct {
		C chan int `name:"c"`
	}{}); err == nil {
		t.Error("a channel was accepted")
	}
}

func TestSecretDoesNotPrint(t *testing.T) {
	s := Secret("hunter2")
	b, err := json.Marshal(struct{ S Secret }{s})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s, s), string(b)} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("leaked: %s", text)
		}
	}
	if s.Reveal() != "hunter2" {
		t.Error("Reveal lost it")
	}
}
