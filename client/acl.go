package client

import "context"

// ACL are the permissions of a file: ordered entries, of which the first that
// mentions a right decides it.
type ACL struct {
	// Control: PRESENT, DEFAULTED, TRUSTED, AUTO_INHERIT, PROTECTED.
	Control []string `json:"control"`
	// Special: STICKY_BIT, SET_GID, SET_UID.
	Special []string `json:"posix_special_permissions"`
	Entries []ACE    `json:"aces"`
	ETag    string   `json:"-"`
}

// ACE grants rights to somebody, or denies them.
type ACE struct {
	Type string `json:"type"` // ALLOWED or DENIED
	// Flags: OBJECT_INHERIT, CONTAINER_INHERIT, NO_PROPAGATE_INHERIT, INHERIT_ONLY, INHERITED.
	Flags   []string  `json:"flags"`
	Trustee Principal `json:"trustee"`
	Rights  []string  `json:"rights"`
}

// ACL answers the permissions of a file, as of a snapshot unless that is 0.
func (c *Client) ACL(ctx context.Context, r Ref, snapshot uint64) (a ACL, err error) {
	a.ETag, err = c.Do(ctx, Request{Method: "GET", Path: r.path("v2", "/info/acl") + query("snapshot", snapshotArg(snapshot))}, &a)
	return a, err
}

// SetACL replaces them, if the file still has the tag (unless "").
func (c *Client) SetACL(ctx context.Context, r Ref, a ACL, ifMatch string) (out ACL, err error) {
	out.ETag, err = c.Do(ctx, Request{Method: "PUT", Path: r.path("v2", "/info/acl"), Body: a, IfMatch: ifMatch}, &out)
	return out, err
}

// RightsStep is what one entry adds to an evaluation.
type RightsStep struct {
	NewlyAllowed []string `json:"newly_allowed"`
	Allowed      []string `json:"cumulative_allowed"`
	NewlyDenied  []string `json:"newly_denied"`
	Denied       []string `json:"cumulative_denied"`
}

// Requestor is somebody whose rights are explained. Whatever the system knows
// of the user counts besides.
type Requestor struct {
	User         Principal   `json:"user"`
	PrimaryGroup *Principal  `json:"primary_group,omitempty"`
	Others       []Principal `json:"auxiliary_identities,omitempty"`
}

// RightsExplanation tells what somebody may do with a file, entry by entry.
type RightsExplanation struct {
	Owner     Principal `json:"owner"`
	Group     Principal `json:"group_owner"`
	Requestor Requestor `json:"requestor"`
	// Admin and Read are what privileges give.
	Admin []string `json:"admin_priv_rights"`
	Read  []string `json:"read_attr_priv_rights"`
	Steps []struct {
		ACE         ACE  `json:"ace"`
		Matches     bool `json:"trustee_matches"`
		InheritOnly bool `json:"skipped_inherit_only"`
		RightsStep
	} `json:"annotated_aces"`
	FromEntries     []string `json:"rights_from_aces"`
	OwnerSuppressed bool     `json:"implicit_owner_rights_suppressed_by_ace"`
	ImplicitOwner   []string `json:"implicit_owner_rights"`
	FromParent      []string `json:"implicit_rights_from_parent"`
	Implicit        []string `json:"implicit_rights"`
	ReadOnly        bool     `json:"is_read_only"`
	Max             []string `json:"max_rights"`
	Effective       []string `json:"effective_rights"`
}

// ExplainRights explains what somebody may do with a file.
func (c *Client) ExplainRights(ctx context.Context, r Ref, snapshot uint64, who Requestor) (x RightsExplanation, err error) {
	return x, c.do(ctx, "POST", r.path("v1", "/info/acl/explain-rights")+query("snapshot", snapshotArg(snapshot)), who, &x)
}

// ModeExplanation tells how the mode of a file follows from its permissions.
type ModeExplanation struct {
	Mode    string    `json:"mode"`
	Owner   Principal `json:"owner"`
	Group   Principal `json:"group_owner"`
	Special []string  `json:"posix_special_permissions"`
	Steps   []struct {
		ACE         ACE       `json:"ace"`
		InheritOnly bool      `json:"is_inherit_only"`
		Owner       ClassStep `json:"owner_rights"`
		Group       ClassStep `json:"group_rights"`
		Other       ClassStep `json:"other_rights"`
		Bits        string    `json:"mode_bits_granted"`
	} `json:"annotated_acl"`
}

// ClassStep is what one entry adds to a class of the mode.
type ClassStep struct {
	Match string `json:"match"` // NONE, EQUIVALENT, EVERYONE, POTENTIALLY_AFFECTED
	RightsStep
}

// ExplainMode explains the mode of a file.
func (c *Client) ExplainMode(ctx context.Context, r Ref, snapshot uint64) (x ModeExplanation, err error) {
	return x, c.do(ctx, "POST", r.path("v1", "/info/acl/explain-posix-mode")+query("snapshot", snapshotArg(snapshot)), nil, &x)
}

// ChmodExplanation tells what a chmod would do to the permissions of a file.
type ChmodExplanation struct {
	Owner       Principal `json:"owner"`
	Group       Principal `json:"group_owner"`
	OwnerRights []string  `json:"owner_rights_from_mode"`
	GroupRights []string  `json:"group_rights_from_mode"`
	OtherRights []string  `json:"other_rights_from_mode"`
	MaxAllow    []string  `json:"max_extra_ace_allow"`
	MaxDeny     []string  `json:"max_extra_ace_deny"`
	NotProduced []string  `json:"not_produced_by_any_mode"`
	NotVisible  []string  `json:"not_visible_in_mode"`
	Steps       []struct {
		Source        *ACE     `json:"source_ace"`
		Match         []string `json:"source_trustee_match"`
		Action        string   `json:"action"` // COPY_ACE, MODIFY_ACE, INSERT_ACE, REMOVE_ACE
		Reason        string   `json:"reason"`
		RightsRemoved []string `json:"rights_removed"`
		FlagsRemoved  []string `json:"flags_removed"`
		FlagsAdded    []string `json:"flags_added"`
		Result        *ACE     `json:"result_ace"`
	} `json:"annotated_aces"`
	Initial ACL `json:"initial_acl"`
	Result  ACL `json:"result_acl"`
}

// ExplainChmod explains what setting a mode of octal digits would do.
func (c *Client) ExplainChmod(ctx context.Context, r Ref, snapshot uint64, mode string) (x ChmodExplanation, err error) {
	return x, c.do(ctx, "POST", r.path("v1", "/info/acl/explain-set-mode")+query("snapshot", snapshotArg(snapshot)), map[string]string{"mode": mode}, &x)
}
