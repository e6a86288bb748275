package rest

import (
	"fmt"
	"slices"

	"manifold/internal/config"
	"manifold/internal/control/service"
	"manifold/internal/fs"
	"manifold/internal/fs/acl"
	"manifold/internal/identity"
)

type stepRights struct {
	NewlyAllowed      []string `json:"newly_allowed"`
	CumulativeAllowed []string `json:"cumulative_allowed"`
	NewlyDenied       []string `json:"newly_denied"`
	CumulativeDenied  []string `json:"cumulative_denied"`
}

type classRights struct {
	Match string `json:"match"`
	stepRights
}

type modeStep struct {
	ACE         ace         `json:"ace"`
	InheritOnly bool        `json:"is_inherit_only"`
	Owner       classRights `json:"owner_rights"`
	Group       classRights `json:"group_rights"`
	Other       classRights `json:"other_rights"`
	Bits        string      `json:"mode_bits_granted"`
}

type modeExplanation struct {
	Mode    string         `json:"mode"`
	Owner   identityRecord `json:"owner"`
	Group   identityRecord `json:"group_owner"`
	Special []string       `json:"posix_special_permissions"`
	Steps   []modeStep     `json:"annotated_acl"`
}

type rightsRequest struct {
	User  identityQuery   `json:"user"`
	Group identityQuery   `json:"primary_group,omitzero"`
	Other []identityQuery `json:"auxiliary_identities,omitempty"`
}

type requestor struct {
	User  identityRecord   `json:"user"`
	Group identityRecord   `json:"primary_group"`
	Other []identityRecord `json:"auxiliary_identities"`
}

type rightsStep struct {
	ACE         ace  `json:"ace"`
	Matches     bool `json:"trustee_matches"`
	InheritOnly bool `json:"skipped_inherit_only"`
	stepRights
}

type rightsExplanation struct {
	Owner           identityRecord `json:"owner"`
	Group           identityRecord `json:"group_owner"`
	Requestor       requestor      `json:"requestor"`
	AdminRights     []string       `json:"admin_priv_rights"`
	ReadRights      []string       `json:"read_attr_priv_rights"`
	Steps           []rightsStep   `json:"annotated_aces"`
	FromACEs        []string       `json:"rights_from_aces"`
	OwnerSuppressed bool           `json:"implicit_owner_rights_suppressed_by_ace"`
	ImplicitOwner   []string       `json:"implicit_owner_rights"`
	FromParent      []string       `json:"implicit_rights_from_parent"`
	Implicit        []string       `json:"implicit_rights"`
	ReadOnly        bool           `json:"is_read_only"`
	Max             []string       `json:"max_rights"`
	Effective       []string       `json:"effective_rights"`
}

type setModeRequest struct {
	Mode string `json:"mode"`
}

type setModeStep struct {
	Source        *ace     `json:"source_ace"`
	Match         []string `json:"source_trustee_match"`
	Action        string   `json:"action"`
	Reason        string   `json:"reason"`
	RightsRemoved []string `json:"rights_removed"`
	FlagsRemoved  []string `json:"flags_removed"`
	FlagsAdded    []string `json:"flags_added"`
	Result        *ace     `json:"result_ace"`
}

type setModeExplanation struct {
	Owner       identityRecord `json:"owner"`
	Group       identityRecord `json:"group_owner"`
	OwnerRights []string       `json:"owner_rights_from_mode"`
	GroupRights []string       `json:"group_rights_from_mode"`
	OtherRights []string       `json:"other_rights_from_mode"`
	MaxAllow    []string       `json:"max_extra_ace_allow"`
	MaxDeny     []string       `json:"max_extra_ace_deny"`
	NotProduced []string       `json:"not_produced_by_any_mode"`
	NotVisible  []string       `json:"not_visible_in_mode"`
	Steps       []setModeStep  `json:"annotated_aces"`
	Initial     acl2           `json:"initial_acl"`
	Result      acl2           `json:"result_acl"`
}

func renderStep(s acl.Step, isDir bool) stepRights {
	return stepRights{rights(s.NewlyAllowed, isDir), rights(s.Allowed, isDir), rights(s.NewlyDenied, isDir), rights(s.Denied, isDir)}
}

// owners names owner and group of an ACL.
func (q *request) owners(a *fs.ACL) (owner, group identityRecord, err error) {
	if owner, err = q.identityOf(a.Owner); err == nil {
		group, err = q.identityOf(a.Group)
	}
	return owner, group, err
}

func explainMode(q *request) (reply, error) {
	f, a, err := q.aclOf()
	if err != nil {
		return reply{}, err
	}
	isDir := f.Attr.Type == fs.Directory
	mode, steps := acl.ExplainMode(&a, isDir)
	out := modeExplanation{Mode: modeText(mode), Special: words(specialNames, a.Mode&0o7000), Steps: []modeStep{}}
	if out.Owner, out.Group, err = q.owners(&a); err != nil {
		return reply{}, err
	}
	match := map[acl.Match]string{acl.MatchNone: "NONE", acl.MatchEquivalent: "EQUIVALENT", acl.MatchEveryone: "EVERYONE", acl.MatchPotential: "POTENTIALLY_AFFECTED"}
	class := func(c acl.ClassStep) classRights { return classRights{match[c.Match], renderStep(c.Step, isDir)} }
	for i := range steps {
		s := &steps[i]
		e, err := q.ace(&s.ACE, isDir)
		if err != nil {
			return reply{}, err
		}
		out.Steps = append(out.Steps, modeStep{e, s.InheritOnly, class(s.Owner), class(s.Group), class(s.Other), modeText(s.Bits)})
	}
	return reply{body: out}, nil
}

// requestor is the credential that a request describes: what is given, with
// everything that the system itself knows of it.
func (q *request) requestor(in *rightsRequest) (requestor, *identity.Credential, error) {
	var out requestor
	user, err := q.resolveIdentity(in.User)
	if err != nil {
		return out, nil, err
	}
	x, err := q.expandID(user)
	if err != nil {
		return out, nil, err
	}
	groups := x.groups
	others := []identity.AuthID{}
	for _, o := range in.Other {
		a, err := q.resolveIdentity(o)
		if err != nil {
			return out, nil, err
		}
		others = append(others, a)
	}
	l, err := q.localOf(user)
	if err != nil {
		return out, nil, err
	}
	var primary identity.AuthID
	var privileges identity.Privileges
	switch {
	case in.Group != identityQuery{}:
		if primary, err = q.resolveIdentity(in.Group); err != nil {
			return out, nil, err
		}
	case l.user != nil:
		primary = identity.AuthID(l.user.Value.PrimaryGroup)
	default:
		primary = identity.GID(identity.NobodyGID)
	}
	if l.user != nil {
		if privileges, err = q.s.svc.FilePrivileges(q.Context(), *l.user); err != nil {
			return out, nil, err
		}
	}
	c := identity.New(user, primary, x.same, slices.Concat(groups, others))
	c.Superuser = user == identity.UID(0)
	c.Privileges = privileges
	if out.User, err = q.identityOf(user); err != nil {
		return out, nil, err
	}
	if out.Group, err = q.identityOf(primary); err != nil {
		return out, nil, err
	}
	out.Other, err = q.identitiesOf(others)
	return out, c, err
}

func explainRights(q *request) (reply, error) {
	in, err := body[rightsRequest](q)
	if err != nil {
		return reply{}, err
	}
	f, a, err := q.aclOf()
	if err != nil {
		return reply{}, err
	}
	isDir := f.Attr.Type == fs.Directory
	who, cred, err := q.requestor(&in)
	if err != nil {
		return reply{}, err
	}
	c := &fs.Caller{Cred: cred, ReadOnly: !f.Attr.Node.Live()}
	parent, err := q.parentACL(&f)
	if err != nil {
		return reply{}, err
	}
	x := acl.ExplainRights(c, &a, isDir, parent)
	show := func(r fs.Rights) []string { return rights(r, isDir) }
	out := rightsExplanation{
		Requestor: who, AdminRights: show(x.Privileged), ReadRights: show(x.ReadPrivileged), Steps: []rightsStep{}, FromACEs: show(x.FromEntries),
		OwnerSuppressed: x.OwnerSuppressed, ImplicitOwner: show(x.ImplicitOwner), FromParent: show(x.FromParent),
		Implicit: show(x.ImplicitOwner | x.FromParent), ReadOnly: c.ReadOnly, Max: show(x.Max), Effective: show(x.Effective),
	}
	if out.Owner, out.Group, err = q.owners(&a); err != nil {
		return reply{}, err
	}
	for i := range x.Steps {
		s := &x.Steps[i]
		e, err := q.ace(&s.ACE, isDir)
		if err != nil {
			return reply{}, err
		}
		out.Steps = append(out.Steps, rightsStep{e, s.Matches, s.InheritOnly, renderStep(s.Step, isDir)})
	}
	return reply{body: out}, nil
}

// parentACL are the permissions of the directory of a file, nil if there is none.
func (q *request) parentACL(f *service.File) (*fs.ACL, error) {
	if f.Attr.Node.ID == fs.Root.ID || f.Attr.Parent == 0 {
		return nil, nil
	}
	// The system asks: that the caller may explain the file was checked.
	p, err := q.s.o.FS.GetACL(q.Context(), fs.SystemCaller(), fs.Node{ID: f.Attr.Parent, Snap: f.Attr.Node.Snap})
	if k := fs.KindOf(err); err != nil && (k == fs.NotExist || k == fs.Stale) {
		return nil, nil // the snapshot begins below it
	}
	return &p, err
}

func explainSetMode(q *request) (reply, error) {
	in, err := body[setModeRequest](q)
	if err != nil {
		return reply{}, err
	}
	mode, err := parseMode(in.Mode)
	if err != nil {
		return reply{}, err
	}
	if err := q.limitsACL(); err != nil {
		return reply{}, err
	}
	f, a, err := q.aclOf()
	if err != nil {
		return reply{}, err
	}
	isDir := f.Attr.Type == fs.Directory
	x := acl.ExplainChmod(&a, mode, isDir)
	show := func(r fs.Rights) []string { return rights(r, isDir) }
	out := setModeExplanation{
		OwnerRights: show(x.Owner), GroupRights: show(x.Group), OtherRights: show(x.Other), MaxAllow: show(x.MaxExtra), MaxDeny: []string{},
		NotProduced: show(x.Hidden), NotVisible: show(x.Hidden), Steps: []setModeStep{},
	}
	if out.Owner, out.Group, err = q.owners(&a); err != nil {
		return reply{}, err
	}
	if out.Initial, err = q.acl2(&a, isDir); err != nil {
		return reply{}, err
	}
	if out.Result, err = q.acl2(&x.Result, isDir); err != nil {
		return reply{}, err
	}
	for i := range x.Steps {
		s, err := q.setModeStep(&x.Steps[i], isDir)
		if err != nil {
			return reply{}, err
		}
		out.Steps = append(out.Steps, s)
	}
	return reply{body: out}, nil
}

var chmodActions = map[acl.ChmodAction]string{acl.CopyACE: "COPY_ACE", acl.ModifyACE: "MODIFY_ACE", acl.InsertACE: "INSERT_ACE", acl.RemoveACE: "REMOVE_ACE"}

func (q *request) setModeStep(s *acl.ChmodStep, isDir bool) (setModeStep, error) {
	removed, added := s.FlagsChanged()
	out := setModeStep{
		Match: []string{}, Action: chmodActions[s.Action], Reason: s.Reason, RightsRemoved: rights(s.RightsRemoved(), isDir),
		FlagsRemoved: words(flagNames, removed), FlagsAdded: words(flagNames, added),
	}
	for _, c := range []struct {
		is   bool
		name string
	}{{s.Owner, "POSIX_OWNER"}, {s.Group, "POSIX_GROUP_OWNER"}, {s.Other, "POSIX_OTHERS"}} {
		if c.is {
			out.Match = append(out.Match, c.name)
		}
	}
	if len(out.Match) == 0 && s.Source != nil {
		out.Match = append(out.Match, "NON_POSIX")
	}
	for _, e := range []struct {
		in  *fs.ACE
		out **ace
	}{{s.Source, &out.Source}, {s.Result, &out.Result}} {
		if e.in == nil {
			continue
		}
		a, err := q.ace(e.in, isDir)
		if err != nil {
			return out, fmt.Errorf("explain a mode: %w", err)
		}
		*e.out = &a
	}
	return out, nil
}

// limitsACL fails where a chmod replaces the ACL: there is nothing to explain.
func (q *request) limitsACL() error {
	if q.s.o.FSSettings == nil {
		return nil
	}
	r, err := q.s.o.FSSettings.Permissions(q.Context())
	if err == nil && r.Value.Mode == config.PermissionsNative {
		err = conflict("fs_permissions_mode_operation_unsupported_error", "in the permissions mode NATIVE a mode replaces the ACL")
	}
	return err
}
