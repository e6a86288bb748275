package client

import (
	"context"
	"time"
)

// Scrub is the running scrub of a node, or the last.
type Scrub struct {
	Running bool `json:"running"`
	// Complete: the last one got through everything.
	Complete bool     `json:"complete"`
	Start    string   `json:"start_time"` // RFC 3339, "" if there never was one
	End      string   `json:"end_time"`   // "" while it runs
	Extents  Number   `json:"extents"`
	Bytes    Number   `json:"bytes"`
	Segments Number   `json:"segments"`
	Findings Number   `json:"findings"`
	Damage   []string `json:"damage"` // the first findings in words
}

// Scrub answers the running scrub, else the last.
func (c *Client) Scrub(ctx context.Context) (s Scrub, err error) {
	err = c.do(ctx, "GET", "/v1/scrub", nil, &s)
	return s, err
}

// StartScrub has the node verify every stored byte, reading at most
// bytesPerSecond; 0 is no bound. A scrub that runs already goes on as it is.
func (c *Client) StartScrub(ctx context.Context, bytesPerSecond Number) (s Scrub, err error) {
	err = c.do(ctx, "POST", "/v1/scrub", map[string]Number{"bytes_per_second": bytesPerSecond}, &s)
	return s, err
}

// StopScrub ends the running scrub.
func (c *Client) StopScrub(ctx context.Context) (s Scrub, err error) {
	err = c.do(ctx, "DELETE", "/v1/scrub", nil, &s)
	return s, err
}

// WaitScrub follows a running scrub until it ends, calling progress now and
// then if that is given.
func (c *Client) WaitScrub(ctx context.Context, progress func(Scrub)) (Scrub, error) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		s, err := c.Scrub(ctx)
		if err != nil || !s.Running {
			return s, err
		}
		if progress != nil {
			progress(s)
		}
		select {
		case <-ctx.Done():
			return s, ctx.Err()
		case <-t.C:
		}
	}
}
