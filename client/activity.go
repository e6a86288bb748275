package client

import (
	"context"
	"strconv"
	"time"
)

// Activity is what a client does with a path.
type Activity struct {
	ID   ID      `json:"id"`
	IP   string  `json:"ip"`
	Type string  `json:"type"`
	Rate float64 `json:"rate"`
}

// Activity answers what clients do now, of one type or of all with "":
// file-iops-read, file-throughput-write, metadata-iops-read and so on.
func (c *Client) Activity(ctx context.Context, kind string) ([]Activity, error) {
	var out struct{ Entries []Activity }
	err := c.do(ctx, "GET", "/v1/analytics/activity/current"+query("type", kind), nil, &out)
	return out.Entries, err
}

// CapacityUse is how full the system was.
type CapacityUse struct {
	Start         int64  `json:"period_start_time"` // seconds since 1970
	UsedBytes     Number `json:"capacity_used"`
	DataBytes     Number `json:"data_used"`
	MetadataBytes Number `json:"metadata_used"`
	SnapshotBytes Number `json:"snapshot_used"`
	TotalBytes    Number `json:"total_usable"`
}

func unixArg(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strconv.FormatInt(t.Unix(), 10)
}

// CapacityHistory answers how full the system was, from and to (zero: the
// server's choice), in steps of hourly, daily or weekly.
func (c *Client) CapacityHistory(ctx context.Context, from, to time.Time, interval string) (out []CapacityUse, err error) {
	return out, c.do(ctx, "GET", "/v1/analytics/capacity-history/"+query("begin-time", unixArg(from), "end-time", unixArg(to), "interval", interval), nil, &out)
}

// CapacityDetails are the largest paths at a time.
type CapacityDetails struct {
	Status    string `json:"status"`
	Threshold Number `json:"threshold_for_inclusion"`
	Paths     []struct {
		Path      string `json:"path"`
		UsedBytes Number `json:"capacity_used"`
	} `json:"largest_paths"`
}

// CapacityDetails answers the largest paths at a time of the history.
func (c *Client) CapacityDetails(ctx context.Context, at time.Time) (d CapacityDetails, err error) {
	return d, c.do(ctx, "GET", "/v1/analytics/capacity-history/"+strconv.FormatInt(at.Unix(), 10)+"/", nil, &d)
}

// Series is a row of values over time.
type Series struct {
	ID     string    `json:"id"`
	Times  []int64   `json:"times"` // seconds since 1970; one more than values
	Values []float64 `json:"values"`
}

// TimeSeries answers rates of throughput, operations and latency.
func (c *Client) TimeSeries(ctx context.Context, from time.Time) (out []Series, err error) {
	return out, c.do(ctx, "GET", "/v1/analytics/time-series/"+query("begin-time", unixArg(from)), nil, &out)
}
