package identity

import "testing"

// Groups of NT stand for those of the server, for who is in them.
func TestIs(t *testing.T) {
	admin, user, guest := New(Admin, Administrators, nil, nil), New(1000, Users, nil, nil), New(Guest, Guests, nil, nil)
	nobody := POSIX(NobodyUID, NobodyGID, nil)
	for _, x := range []struct {
		name string
		a    AuthID
		are  []*Credential
	}{
		{"everyone", Everyone, []*Credential{admin, user, guest, nobody}},
		{"authenticated", AuthenticatedUsers, []*Credential{admin, user}},
		{"administrators", BuiltinAdministrators, []*Credential{admin}},
		{"users", BuiltinUsers, []*Credential{user}},
		{"guests", BuiltinGuests, []*Credential{guest}},
		{"owner", FileOwner, nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			are := map[*Credential]bool{}
			for _, c := range x.are {
				are[c] = true
			}
			for who, c := range map[string]*Credential{"admin": admin, "user": user, "guest": guest, "nobody": nobody} {
				if c.Is(x.a) != are[c] {
					t.Errorf("%s: %v", who, c.Is(x.a))
				}
			}
		})
	}
}
