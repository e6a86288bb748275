// Package service holds the verbs of an administrator: signing in, naming files
// by path or id, totals of trees. rest renders them, and so does anything that
// comes after it.
//
// Invariants: a [Session] is the only way to act, and the file system checks
// permissions against its caller; nothing here caches what may change.
//
// The package must not know HTTP, JSON or how anything is stored.
package service

import (
	"errors"
	"time"

	"manifold/internal/control"
	"manifold/internal/fs"
	"manifold/internal/identity/attempts"
)

// Errors; test with errors.Is.
var (
	// ErrSignIn: the name, password or token is wrong or has expired.
	ErrSignIn = errors.New("service: sign-in failed")
	// ErrTooManyAttempts: sign-in failed too often; try again later.
	ErrTooManyAttempts = attempts.ErrTooMany
	// ErrHardLinks: an id alone does not say which of several names is meant.
	ErrHardLinks = errors.New("service: the file has several names")
	// ErrBadRef: neither an absolute path nor a file id.
	ErrBadRef = errors.New("service: not an absolute path nor a file id")
)

// Options say what the verbs work on. Now and Attempts may be nil, all else is
// required.
type Options struct {
	FS         fs.FS
	Auth       control.Authenticator
	Sessions   control.Sessions
	Principals control.Principals
	Roles      control.Roles
	// Now is the clock; nil is the system's.
	Now func() time.Time
	// Attempts counts sign-ins that failed, maybe with those of other doors;
	// nil makes one.
	Attempts *attempts.Table
}

// Service carries the verbs out. Safe for concurrent use.
type Service struct {
	fs       fs.FS
	auth     control.Authenticator
	sessions control.Sessions
	who      control.Principals
	roles    control.Roles
	attempts *attempts.Table
}

// New builds a Service. It starts nothing that would have to be stopped.
func New(o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Attempts == nil {
		o.Attempts = attempts.New(o.Now)
	}
	return &Service{fs: o.FS, auth: o.Auth, sessions: o.Sessions, who: o.Principals, roles: o.Roles, attempts: o.Attempts}
}
