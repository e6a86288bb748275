package accept

import (
	"net/netip"
	"sync"
)

// Limits bound connections. The zero value of each is no bound.
type Limits struct {
	// Conns and PerClient (one address) bound all connections.
	Conns, PerClient int
	// Logins and LoginsPerClient bound those that have not said who they are:
	// whoever says nothing must not keep others out.
	Logins, LoginsPerClient int
}

// Places counts connections against limits. Safe for concurrent use.
type Places struct {
	l  Limits
	mu struct {
		sync.Mutex
		all, logins int
		clients     map[netip.Addr]counts
	}
}

type counts struct{ all, logins int }

// NewPlaces makes them, all free.
func NewPlaces(l Limits) *Places {
	p := &Places{l: l}
	p.mu.clients = map[netip.Addr]counts{}
	return p
}

// A Place is that of one connection. The zero value is none.
type Place struct {
	p      *Places
	client netip.Addr
	// Guarded by p.mu.
	login, left bool
}

// Take gives a connection from client a place, which it has to leave; nil if
// there is none.
func (p *Places) Take(client netip.Addr) *Place {
	beyond := func(n, limit int) bool { return limit > 0 && n >= limit }
	client = client.Unmap()
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.mu.clients[client]
	if beyond(p.mu.all, p.l.Conns) || beyond(c.all, p.l.PerClient) || beyond(p.mu.logins, p.l.Logins) || beyond(c.logins, p.l.LoginsPerClient) {
		return nil
	}
	p.mu.all++
	p.mu.logins++
	c.all++
	c.logins++
	p.mu.clients[client] = c
	return &Place{p: p, client: client, login: true}
}

// LoggedIn says that the connection has told who it is. It may be called again.
func (l *Place) LoggedIn() {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	l.endLogin()
}

func (l *Place) endLogin() {
	if !l.login {
		return
	}
	l.login = false
	c := l.p.mu.clients[l.client]
	c.logins--
	l.p.mu.clients[l.client] = c
	l.p.mu.logins--
}

// Leave gives the place back. It may be called again.
func (l *Place) Leave() {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	if l.left {
		return
	}
	l.left = true
	l.endLogin()
	l.p.mu.all--
	c := l.p.mu.clients[l.client]
	if c.all--; c.all > 0 {
		l.p.mu.clients[l.client] = c
	} else {
		delete(l.p.mu.clients, l.client)
	}
}
