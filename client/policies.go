package client

import (
	"context"
	"iter"
	"net/url"
	"strconv"
)

// Schedule says when a policy takes snapshots, by the clocks of a time zone.
type Schedule struct {
	// Frequency is SCHEDULE_MONTHLY, SCHEDULE_DAILY_OR_WEEKLY or SCHEDULE_HOURLY_OR_LESS.
	Frequency string `json:"frequency"`
	Timezone  string `json:"timezone"`
	// OnDays are MON to SUN or EVERY_DAY; not with a monthly schedule.
	OnDays []string `json:"on_days,omitempty"`
	// DayOfMonth is 1 to 27, 128 the last; with a monthly schedule.
	DayOfMonth int `json:"day_of_month,omitempty"`
	Hour       int `json:"hour"`
	Minute     int `json:"minute"`
	// The daily window and the time between two snapshots, of an hourly schedule.
	WindowStartHour   int    `json:"window_start_hour"`
	WindowStartMinute int    `json:"window_start_minute"`
	WindowEndHour     int    `json:"window_end_hour"`
	WindowEndMinute   int    `json:"window_end_minute"`
	FireEvery         int    `json:"fire_every,omitempty"`
	FireEveryInterval string `json:"fire_every_interval,omitempty"` // FIRE_IN_MINUTES or FIRE_IN_HOURS
}

// PolicySchedule is a schedule and how long its snapshots live.
type PolicySchedule struct {
	ID         int      `json:"id,omitempty"`
	Creation   Schedule `json:"creation_schedule"`
	TimeToLive string   `json:"expiration_time_to_live"`
}

// Policy takes snapshots of a directory by a schedule.
type Policy struct {
	ID       uint64         `json:"id"`
	Name     string         `json:"policy_name"`
	Template string         `json:"snapshot_name_template"`
	Dir      ID             `json:"source_file_id"`
	Path     string         `json:"source_file_path"`
	Enabled  bool           `json:"enabled"`
	Schedule PolicySchedule `json:"schedule"`
	// LockKey locks the snapshots, nil for none.
	LockKey *string `json:"lock_key"`
	ETag    string  `json:"-"`
}

// PolicyBody is what a policy is made of, or what to change of it: what is nil
// stays.
type PolicyBody struct {
	Name     *string         `json:"policy_name,omitempty"`
	Template *string         `json:"snapshot_name_template,omitempty"`
	Dir      ID              `json:"source_file_id,omitzero"`
	Enabled  *bool           `json:"enabled,omitempty"`
	Schedule *PolicySchedule `json:"schedule,omitempty"`
	LockKey  *string         `json:"lock_key_ref,omitempty"`
}

const policiesPath = "/v3/snapshots/policies/"

// Policies lists the snapshot policies with their paths.
func (c *Client) Policies(ctx context.Context) ([]Policy, error) {
	var out struct{ Entries []Policy }
	err := c.do(ctx, "GET", policiesPath+"status/", nil, &out)
	return out.Entries, err
}

// Policy answers one snapshot policy.
func (c *Client) Policy(ctx context.Context, id uint64) (p Policy, err error) {
	p.ETag, err = c.Do(ctx, Request{Method: "GET", Path: policiesPath + "status/" + strconv.FormatUint(id, 10)}, &p)
	return p, err
}

// AddPolicy adds a snapshot policy.
func (c *Client) AddPolicy(ctx context.Context, in PolicyBody) (p Policy, err error) {
	return p, c.do(ctx, "POST", policiesPath, in, &p)
}

// ChangePolicy changes a snapshot policy, if it still has the tag (unless "").
func (c *Client) ChangePolicy(ctx context.Context, id uint64, in PolicyBody, ifMatch string) (p Policy, err error) {
	_, err = c.Do(ctx, Request{Method: "PATCH", Path: policiesPath + strconv.FormatUint(id, 10), Body: in, IfMatch: ifMatch}, &p)
	return p, err
}

// RemovePolicy removes a snapshot policy; its snapshots stay.
func (c *Client) RemovePolicy(ctx context.Context, id uint64) error {
	return c.do(ctx, "DELETE", policiesPath+strconv.FormatUint(id, 10), nil, nil)
}

// FSKey is a public key that locks snapshots.
type FSKey struct {
	ID        ID     `json:"id"`
	Name      string `json:"name"`
	Comment   string `json:"comment"`
	Disabled  bool   `json:"disabled"`
	PublicKey string `json:"public_key"`
	ETag      string `json:"-"`
}

// NewFSKey is a key to register: its name, signed with the key's private part,
// proves that somebody has that.
type NewFSKey struct {
	Name      string `json:"name"`
	Comment   string `json:"comment"`
	PublicKey string `json:"public_key"` // PEM of an ECDSA P-256 key
	Signature string `json:"verification_signature"`
}

// FSKeyChange is what to change of a key; what is nil stays.
type FSKeyChange struct {
	Name     *string `json:"name,omitempty"`
	Comment  *string `json:"comment,omitempty"`
	Disabled *bool   `json:"disabled,omitempty"`
}

const fsKeysPath = "/v1/file-system/security/keys/"

func fsKeyPath(ref, rest string) string { return fsKeysPath + url.PathEscape(ref) + rest }

// FSKeys lists the keys that lock snapshots.
func (c *Client) FSKeys(ctx context.Context) ([]FSKey, error) {
	var out struct{ Entries []FSKey }
	err := c.do(ctx, "GET", fsKeysPath, nil, &out)
	return out.Entries, err
}

// FSKey answers one key, by id or name.
func (c *Client) FSKey(ctx context.Context, ref string) (k FSKey, err error) {
	k.ETag, err = c.Do(ctx, Request{Method: "GET", Path: fsKeyPath(ref, "")}, &k)
	return k, err
}

// AddFSKey registers a key.
func (c *Client) AddFSKey(ctx context.Context, n NewFSKey) (k FSKey, err error) {
	return k, c.do(ctx, "POST", fsKeysPath, n, &k)
}

// ChangeFSKey changes name, comment or state of a key.
func (c *Client) ChangeFSKey(ctx context.Context, ref string, in FSKeyChange) (k FSKey, err error) {
	return k, c.do(ctx, "PATCH", fsKeyPath(ref, ""), in, &k)
}

// RemoveFSKey removes a key that nothing uses.
func (c *Client) RemoveFSKey(ctx context.Context, ref string) error {
	return c.do(ctx, "DELETE", fsKeyPath(ref, ""), nil, nil)
}

// FSKeyUse is something that a key locks.
type FSKeyUse struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

// FSKeyUses lists what uses a key.
func (c *Client) FSKeyUses(ctx context.Context, ref string) iter.Seq2[FSKeyUse, error] {
	return pages[FSKeyUse](ctx, c, fsKeyPath(ref, "/usages"), "usages")
}

type challenge struct {
	Challenge string `json:"challenge"`
}

// FSKeyChallenge answers what the old and the new key must sign for a replacement.
func (c *Client) FSKeyChallenge(ctx context.Context, ref string) (string, error) {
	var out challenge
	err := c.do(ctx, "GET", fsKeyPath(ref, "/key-replacement-challenge"), nil, &out)
	return out.Challenge, err
}

// ReplaceFSKey puts another key in the place of one, with both signatures of
// the challenge.
func (c *Client) ReplaceFSKey(ctx context.Context, ref, publicKey, oldSignature, newSignature string) (k FSKey, err error) {
	return k, c.do(ctx, "POST", fsKeyPath(ref, "/replace"), map[string]string{
		"replacement_key": publicKey, "old_key_verification_signature": oldSignature, "replacement_key_verification_signature": newSignature,
	}, &k)
}

func snapshotPath(id uint64, rest string) string {
	return "/v3/snapshots/" + strconv.FormatUint(id, 10) + rest
}

// LockSnapshot locks a snapshot until it expires or the key's owner unlocks it.
func (c *Client) LockSnapshot(ctx context.Context, id uint64, key string) error {
	return c.do(ctx, "POST", snapshotPath(id, "/lock"), map[string]string{"lock_key_ref": key}, nil)
}

// SnapshotChallenge answers what the key must sign to unlock a snapshot.
func (c *Client) SnapshotChallenge(ctx context.Context, id uint64) (string, error) {
	var out challenge
	err := c.do(ctx, "GET", snapshotPath(id, "/unlock-challenge"), nil, &out)
	return out.Challenge, err
}

// UnlockSnapshot unlocks a snapshot with the signed challenge.
func (c *Client) UnlockSnapshot(ctx context.Context, id uint64, signature string) error {
	return c.do(ctx, "POST", snapshotPath(id, "/unlock"), map[string]string{"signature": signature}, nil)
}

// Region is a part of a file that changed: to data or to a hole.
type Region struct {
	Offset Number `json:"offset"`
	Size   Number `json:"size"`
	Type   string `json:"type"`
}

// FileChanges yields what changed in a file from the older to the newer snapshot.
func (c *Client) FileChanges(ctx context.Context, newer, older uint64, file Ref) iter.Seq2[Region, error] {
	path := "/v2/snapshots/" + strconv.FormatUint(newer, 10) + "/changes-since/" + strconv.FormatUint(older, 10) + "/files/" + url.PathEscape(string(file))
	return pages[Region](ctx, c, path, "entries")
}
