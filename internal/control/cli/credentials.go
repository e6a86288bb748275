package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"manifold/client"
)

// credentials is the file in which logins last.
type credentials struct {
	// Current is the server of the last login.
	Current string                 `json:"current,omitempty"`
	Servers map[string]*credential `json:"servers"`
}

// credential is what is known of one server.
type credential struct {
	User  string `json:"user,omitempty"`
	Token string `json:"token,omitempty"`
	// Fingerprint of the certificate that was trusted at first use.
	Fingerprint string `json:"fingerprint,omitempty"`
}

func (a *app) credentialsPath() string {
	if p := a.o.Env("MANIFOLD_CREDENTIALS"); p != "" {
		return p
	}
	return filepath.Join(a.o.Home, ".manifold", "credentials")
}

func (a *app) loadCredentials() (*credentials, error) {
	c := &credentials{Servers: map[string]*credential{}}
	b, err := os.ReadFile(a.credentialsPath())
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, c); err != nil {
		return nil, fmt.Errorf("%s cannot be read (%w); remove it and sign in again", a.credentialsPath(), err)
	}
	if c.Servers == nil {
		c.Servers = map[string]*credential{}
	}
	return c, nil
}

// saveCredentials replaces the file, whole or not at all.
func (a *app) saveCredentials(c *credentials) error {
	p := a.credentialsPath()
	if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
		return err
	}
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(p), ".credentials-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), p)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// session is a client with the credential it uses.
type session struct {
	a      *app
	client *client.Client
	all    *credentials
	mine   *credential
	seen   string // fingerprint to keep, "" if it is known already
	quiet  bool   // say nothing, and trust no new certificate
}

// server is the address to talk to.
func (a *app) server(c *credentials) (string, error) {
	host, port := a.host, a.port
	if host == "" {
		host = a.o.Env("MANIFOLD_HOST")
	}
	if port == 0 {
		if p := a.o.Env("MANIFOLD_PORT"); p != "" {
			n, err := strconv.ParseUint(p, 10, 16)
			if err != nil {
				return "", fmt.Errorf("MANIFOLD_PORT is %q, want a port number", p)
			}
			port = int(n)
		}
	}
	switch {
	case host == "" && port == 0 && c.Current != "":
		return c.Current, nil
	case host == "":
		host = "localhost"
	}
	if port != 0 {
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		host = net.JoinHostPort(host, strconv.Itoa(port))
	}
	return host, nil
}

// connect makes the client. No byte is sent yet.
func (a *app) connect() (*session, error) {
	all, err := a.loadCredentials()
	if err != nil {
		return nil, err
	}
	server, err := a.server(all)
	if err != nil {
		return nil, err
	}
	s := &session{a: a, all: all}
	s.client, err = client.New(server, client.WithTrust(s.trust))
	if err != nil {
		return nil, err
	}
	s.mine = all.Servers[s.client.Server()]
	if s.mine == nil {
		s.mine = &credential{}
		all.Servers[s.client.Server()] = s.mine
	}
	s.client.SetToken(s.mine.Token)
	if t := a.o.Env("MANIFOLD_TOKEN"); t != "" {
		s.client.SetToken(t)
	}
	return s, nil
}

// trust decides on a server's certificate: good by the authorities, or the one
// that was there the first time.
func (s *session) trust(p client.Peer) error {
	switch {
	case s.a.insecure || p.Verified == nil:
		return nil
	case s.quiet && s.mine.Fingerprint == "":
		return p.Verified
	case s.mine.Fingerprint == "" || s.a.trustNew:
		if s.seen != p.Fingerprint {
			fmt.Fprintf(s.a.o.Err, "First contact with %s: trusting its certificate with fingerprint\n  %s\nCompare it with the server's if the network between is not yours.\n", cmp.Or(p.Name, s.client.Server()), p.Fingerprint)
		}
		s.seen = p.Fingerprint
		return nil
	}
	if err := client.Pinned(s.mine.Fingerprint)(p); err != nil {
		return fmt.Errorf("%w; if the server has a new certificate, add --trust-new-certificate once", err)
	}
	return nil
}

// keepCertificate writes down a certificate that was trusted at first use.
func (s *session) keepCertificate() error {
	if s.seen == "" || s.seen == s.mine.Fingerprint {
		return nil
	}
	s.mine.Fingerprint = s.seen
	return s.a.saveCredentials(s.all)
}
