package fs

import "context"

// Breach is what is about to happen to something that clients may cache.
type Breach uint8

// Breaches.
const (
	// BreachRead reads contents: what clients have written and not sent must come in.
	BreachRead Breach = iota
	// BreachWrite changes contents or size: nobody may go on with what it has seen.
	BreachWrite
	// BreachName takes or changes the name: nobody may keep the object open for
	// a program that has closed it.
	BreachName
	// BreachLock takes or asks for a byte-range lock: nobody may keep locks to
	// itself.
	BreachLock
)

// Breaker knows what clients of a protocol cache by leases, oplocks or
// delegations. The file system asks it before it does what would make a cache
// false, whoever calls and by whatever protocol.
type Breaker interface {
	// Break makes clients give up what stands against the breach and returns
	// when they have, or have been given up on. It is for the Breaker to tell
	// by the caller whether its own protocol has seen to that already. Until end
	// is called, nothing of the kind is granted anew; end may be nil.
	//
	// may tells whether the caller is allowed at all what it is about to do. It
	// is asked once, without locks, before the first client is told to give
	// anything up, and not where nothing stands against the breach: who is
	// refused breaks nothing. The only errors are those of may and of ctx.
	Break(ctx context.Context, c *Caller, n Node, s StreamID, b Breach, may func() error) (end func(), err error)
	// Caching tells whether any client has anything open, so that objects which
	// are known by name only need not be looked up for nothing.
	Caching() bool
}
