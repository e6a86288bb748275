package smb

import (
	"net/netip"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

// AccessKind says what an [Access] is.
type AccessKind uint8

// Kinds of access.
const (
	SignIn     AccessKind = iota // or an attempt
	SignOff                      // a session has ended, in whatever way
	Connect                      // to a share, or an attempt
	Disconnect                   // from a share, in whatever way
	Watch                        // for changes of a directory
)

// Access is what a client did that the file system is not told of.
type Access struct {
	Kind   AccessKind
	Client netip.AddrPort
	// User is the name that the client gave, if any.
	User string
	// Cred is who it is, nil if that was not proved.
	Cred *identity.Credential
	// Share by the name that it has, or that was asked for.
	Share string
	// Node is the directory that is watched.
	Node fs.Node
	// Refused: it did not happen. Broken: for no fault of the client's. Missing:
	// because there is no such share.
	Refused, Broken, Missing bool
}

func (s *Server) tell(a Access) {
	if s.o.Access != nil {
		s.o.Access(a)
	}
}

// tellSignIn reports the end of an exchange.
func (r *request) tellSignIn(g *gate, st status) {
	a := Access{Kind: SignIn, Client: r.c.remote, User: g.user, Refused: st.failed(), Broken: st == stInvalidParameter}
	if s := r.sess; !a.Refused && s != nil {
		s.mu.Lock()
		a.Cred = s.cred
		if s.ident != nil {
			a.User = s.ident.User
		}
		s.mu.Unlock()
	}
	r.c.s.tell(a)
}

// tellShare reports the connection of a tree to a share, or its end. Pipes are
// no share.
func (t *tree) tellShare(kind AccessKind, st status) {
	if t.sess == nil || equalFold(t.name, "IPC$") {
		return
	}
	c := t.as()
	t.sess.s.tell(Access{Kind: kind, Client: c.Client, Cred: c.Cred, Share: t.name, Refused: st.failed(), Missing: st == stBadNetworkName})
}
