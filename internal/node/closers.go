package node

import (
	"errors"
	"fmt"
)

// closers is what was opened, closed in reverse order.
type closers struct {
	list []closer
}

type closer struct {
	what string
	fn   func() error
}

func (c *closers) add(what string, fn func() error) { c.list = append(c.list, closer{what, fn}) }

// Close closes all, whatever fails, and forgets them.
func (c *closers) Close() error {
	var errs []error
	for i := len(c.list) - 1; i >= 0; i-- {
		if err := c.list[i].fn(); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", c.list[i].what, err))
		}
	}
	c.list = nil
	return errors.Join(errs...)
}
