package config

import (
	"errors"
	"testing"
)

func TestFTP_inForce(t *testing.T) {
	s := ready(t)
	if s.FTPInForce() != DefaultFTP {
		t.Errorf("%+v", s.FTPInForce())
	}
	changed := s.Changed()
	v := DefaultFTP
	v.Enabled, v.Anonymous = true, 501
	rec, err := s.SetFTP(t.Context(), 0, v)
	if err != nil || s.FTPInForce() != v {
		t.Fatalf("%+v %v", s.FTPInForce(), err)
	}
	<-changed
	if _, err := s.SetFTP(t.Context(), rec.Revision+1, v); !errors.Is(err, ErrStale) {
		t.Error(err)
	}
	v.Anonymous = 4711
	if _, err := s.SetFTP(t.Context(), 0, v); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	v = DefaultFTP
	v.Greeting = "a\x00"
	if _, err := s.SetFTP(t.Context(), 0, v); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

func TestSSHKeys(t *testing.T) {
	s := ready(t)
	u, err := s.AddUser(t.Context(), User{Name: "ann", PrimaryGroup: 513}, "")
	if err != nil {
		t.Fatal(err)
	}
	k := SSHKey{Fingerprint: "SHA256:a", Type: "ssh-ed25519", Wire: []byte("a")}
	if _, err := s.AddSSHKey(t.Context(), u.ID, k); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddSSHKey(t.Context(), u.ID, k); !errors.Is(err, ErrExists) {
		t.Error(err)
	}
	if _, err := s.AddSSHKey(t.Context(), 4711, k); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	for i := range MaxSSHKeys - 1 {
		k.Fingerprint = string(rune('b' + i))
		if _, err := s.AddSSHKey(t.Context(), u.ID, k); err != nil {
			t.Fatal(err)
		}
	}
	k.Fingerprint = "one more"
	if _, err := s.AddSSHKey(t.Context(), u.ID, k); !errors.Is(err, ErrLimit) {
		t.Error(err)
	}
	if err := s.DeleteSSHKey(t.Context(), u.ID, "SHA256:a"); err != nil {
		t.Error(err)
	}
	if err := s.DeleteSSHKey(t.Context(), u.ID, "SHA256:a"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if ks, err := s.SSHKeys(t.Context(), u.ID); err != nil || len(ks) != MaxSSHKeys-1 {
		t.Errorf("%d %v", len(ks), err)
	}
	if err := s.DeleteUser(t.Context(), u.ID, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SSHKeys(t.Context(), u.ID); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestSSHHostKeys_madeOnce(t *testing.T) {
	s := ready(t)
	made := 0
	make := func() ([][]byte, error) { made++; return [][]byte{[]byte("key")}, nil }
	for range 2 {
		if ks, err := s.SSHHostKeys(t.Context(), make); err != nil || len(ks) != 1 || string(ks[0]) != "key" {
			t.Fatalf("%q %v", ks, err)
		}
	}
	if made != 1 {
		t.Errorf("made %d times", made)
	}
	_, err := s.SSHHostKeys(t.Context(), func() ([][]byte, error) { t.Error("asked again"); return nil, nil })
	if err != nil {
		t.Error(err)
	}
}

// ready is a store after its first run that can seal secrets.
func ready(t *testing.T) *Store {
	t.Helper()
	s := openSealed(t, newKV(t))
	if _, err := s.FirstRun(t.Context(), FirstRunOptions{AdminPassword: "Access-Test-1"}); err != nil {
		t.Fatal(err)
	}
	return s
}
