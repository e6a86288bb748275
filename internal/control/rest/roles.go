package rest

import (
	"slices"
	"strconv"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/identity"
)

type roleRecord struct {
	Name        string              `json:"name,omitempty"`
	Description string              `json:"description"`
	Privileges  []control.Privilege `json:"privileges"`
}

type rolePatch struct {
	Description *string                       `json:"description,omitempty"`
	Privileges  optional[[]control.Privilege] `json:"privileges,omitzero"`
}

type memberList struct {
	Members []identityRecord `json:"members"`
	Paging  paging           `json:"paging"`
}

func roleRoutes() []route {
	const (
		read, write  = control.RoleRead, control.RoleWrite
		all, one     = "/v1/auth/roles/", "/v1/auth/roles/{role_name}"
		members, who = one + "/members", one + "/members/{member_id}"
	)
	return []route{
		{Method: "GET", Path: "/v1/auth/privileges/", Privilege: read, Summary: "Every privilege and what it allows.", Out: map[string]string{}, handle: listPrivileges},
		{Method: "GET", Path: all, Privilege: read, Summary: "Every role by its name.", Out: map[string]roleRecord{}, handle: listRoles},
		{Method: "POST", Path: all, Privilege: write, Summary: "Add a role.", In: roleRecord{}, Out: roleRecord{}, handle: addRole},
		{Method: "GET", Path: one, Privilege: read, Summary: "One role.", Out: roleRecord{}, handle: getRole},
		{Method: "PUT", Path: one, Privilege: write, Summary: "Replace description and privileges of a role; they count from the next sign-in on.",
			In: roleRecord{}, Out: roleRecord{}, Conditional: true, handle: func(q *request) (reply, error) { return changeRole(q, true) }},
		{Method: "PATCH", Path: one, Privilege: write, Summary: "Change description or privileges of a role.",
			In: rolePatch{}, Out: roleRecord{}, Conditional: true, handle: func(q *request) (reply, error) { return changeRole(q, false) }},
		{Method: "DELETE", Path: one, Privilege: write, Summary: "Remove a role that is not built in.", Conditional: true, handle: deleteRole},
		{Method: "GET", Path: members, Privilege: read, Summary: "Who has a role.", Out: memberList{}, Query: []query{queryAfter, queryLimit}, handle: listRoleMembers},
		{Method: "POST", Path: members, Privilege: write, Summary: "Give somebody a role.", In: identityQuery{}, Out: identityRecord{}, handle: addRoleMember},
		{Method: "GET", Path: who, Privilege: read, Summary: "One who has a role, by its auth_id.", Out: identityRecord{}, handle: getRoleMember},
		{Method: "DELETE", Path: who, Privilege: write, Summary: "Take a role from somebody.", handle: removeRoleMember},
	}
}

func listPrivileges(q *request) (reply, error) {
	out := map[string]string{}
	for _, p := range control.AllPrivileges() {
		out[string(p)] = p.Describe()
	}
	return reply{body: out}, nil
}

func renderRole(r *config.Record[config.Role]) roleRecord {
	return roleRecord{"", control.RoleDescription(r), append([]control.Privilege{}, control.RolePrivileges(r)...)}
}

func listRoles(q *request) (reply, error) {
	rs, err := q.s.o.Roles.Roles(q.Context())
	out := map[string]roleRecord{}
	for i := range rs {
		out[rs[i].Value.Name] = renderRole(&rs[i])
	}
	return reply{body: out}, err
}

// oneRole answers a role. Its name is part of the answer: clients that made it
// with another case see how it is spelt.
func oneRole(r *config.Record[config.Role]) reply {
	out := renderRole(r)
	out.Name = r.Value.Name
	return reply{body: out, tag: tag(r.ID, r.Revision)}
}

// known checks privileges and turns them into what is stored.
func known(ps []control.Privilege) ([]string, error) {
	all := control.AllPrivileges()
	out := []string{}
	for _, p := range ps {
		if !slices.Contains(all, p) {
			return nil, badRequest("decode_error", "there is no privilege %q", p)
		}
		out = append(out, string(p))
	}
	return out, nil
}

func addRole(q *request) (reply, error) {
	in, err := body[roleRecord](q)
	if err != nil {
		return reply{}, err
	}
	ps, err := known(in.Privileges)
	if err != nil {
		return reply{}, err
	}
	r, err := q.s.o.Roles.AddRole(q.Context(), config.Role{Name: in.Name, Description: in.Description, Privileges: ps})
	return oneRole(&r), accountError("role", in.Name, err)
}

func (q *request) role() (config.Record[config.Role], error) {
	r, err := q.s.o.Roles.RoleByName(q.Context(), q.params[0])
	return r, accountError("role", q.params[0], err)
}

func getRole(q *request) (reply, error) {
	r, err := q.role()
	return oneRole(&r), err
}

func changeRole(q *request, whole bool) (reply, error) {
	in, err := body[rolePatch](q)
	if err != nil {
		return reply{}, err
	}
	old, err := q.role()
	if err != nil {
		return reply{}, err
	}
	rev, err := q.seen(tag(old.ID, old.Revision), old.Revision)
	if err != nil {
		return reply{}, err
	}
	description, ps := old.Value.Description, old.Value.Privileges
	switch {
	case in.Description != nil:
		description = *in.Description
	case whole:
		description = ""
	}
	if in.Privileges.Given || whole {
		if ps, err = known(in.Privileges.Value); err != nil {
			return reply{}, err
		}
	}
	if rev == 0 && !whole {
		rev = old.Revision // the parts that stay are those that were read
	}
	r, err := q.s.o.Roles.ModifyRole(q.Context(), old.Value.Name, rev, description, ps)
	return oneRole(&r), accountError("role", old.Value.Name, err)
}

func deleteRole(q *request) (reply, error) {
	old, err := q.role()
	if err != nil {
		return reply{}, err
	}
	rev, err := q.seen(tag(old.ID, old.Revision), old.Revision)
	if err != nil {
		return reply{}, err
	}
	return reply{}, accountError("role", old.Value.Name, q.s.o.Roles.DeleteRole(q.Context(), old.Value.Name, rev))
}

func listRoleMembers(q *request) (reply, error) {
	p, err := q.page()
	if err != nil {
		return reply{}, err
	}
	after, err := p.number()
	if err != nil {
		return reply{}, err
	}
	r, err := q.role()
	if err != nil {
		return reply{}, err
	}
	ids := slices.Sorted(slices.Values(r.Value.Members))
	i, found := slices.BinarySearch(ids, identity.AuthID(after))
	if found {
		i++
	}
	ids = ids[i:]
	var next paging
	if len(ids) > p.limit {
		ids = ids[:p.limit]
		next.Next = q.next(p, strconv.FormatUint(uint64(ids[p.limit-1]), 10))
	}
	out, err := q.identitiesOf(ids)
	return reply{body: memberList{out, next}}, err
}

func addRoleMember(q *request) (reply, error) {
	in, err := body[identityQuery](q)
	if err != nil {
		return reply{}, err
	}
	r, err := q.role()
	if err != nil {
		return reply{}, err
	}
	a, err := q.resolveIdentity(in)
	if err != nil {
		return reply{}, err
	}
	if err := q.s.o.Roles.AddRoleMember(q.Context(), r.Value.Name, a); err != nil {
		return reply{}, accountError("role", r.Value.Name, err)
	}
	out, err := q.identityOf(a)
	return reply{body: out}, err
}

func getRoleMember(q *request) (reply, error) {
	r, err := q.role()
	if err != nil {
		return reply{}, err
	}
	id, ok := q.id(1)
	if !ok || !slices.Contains(r.Value.Members, identity.AuthID(id)) {
		return reply{}, notFound("%s has no member %s", r.Value.Name, q.params[1])
	}
	out, err := q.identityOf(identity.AuthID(id))
	return reply{body: out}, err
}

func removeRoleMember(q *request) (reply, error) {
	r, err := q.role()
	if err != nil {
		return reply{}, err
	}
	id, ok := q.id(1)
	if !ok {
		return reply{}, notFound("%s has no member %s", r.Value.Name, q.params[1])
	}
	return reply{}, accountError("member", q.params[1], q.s.o.Roles.RemoveRoleMember(q.Context(), r.Value.Name, identity.AuthID(id)))
}
