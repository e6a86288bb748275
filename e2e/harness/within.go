package harness

import (
	"context"
	"fmt"
	"net"
	"time"

	"manifold/e2e/netns"
)

// Within asks ok over and over until it says yes or the limit is past, and
// tells which. It is for what gives no event: a guest, a foreign server, a job
// that only answers questions. It does not cut a question off that hangs.
func Within(limit time.Duration, ok func() bool) bool {
	end := time.Now().Add(limit)
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for !ok() {
		if time.Now().After(end) {
			return false
		}
		<-t.C
	}
	return true
}

// Answers waits until something in a namespace accepts connections at a literal
// TCP address, but no longer than the limit, nor than the process lives that is
// to do so.
func Answers(ctx context.Context, n *netns.Namespace, p *netns.Process, addr string, limit time.Duration) (err error) {
	Within(limit, func() bool {
		var c net.Conn
		if c, err = n.Dial(ctx, "tcp", addr); err == nil {
			_ = c.Close()
		}
		select {
		case <-p.Done():
			err = fmt.Errorf("the server ended: %v", p.Err())
			return true
		default:
			return err == nil
		}
	})
	return err
}
