package rest

import (
	"net/http"
	"strconv"

	"manifold/internal/control"
	"manifold/internal/control/service"
	"manifold/internal/fs"
)

type quota struct {
	ID    u64 `json:"id"`
	Limit u64 `json:"limit"`
}

type quotaStatus struct {
	ID            u64    `json:"id"`
	Path          string `json:"path"`
	Limit         u64    `json:"limit"`
	CapacityUsage u64    `json:"capacity_usage"`
}

type quotaList struct {
	Quotas []quota `json:"quotas"`
	Paging paging  `json:"paging"`
}

type quotaStatusList struct {
	Quotas []quotaStatus `json:"quotas"`
	Paging paging        `json:"paging"`
}

func quotaRoutes() []route {
	const all, one = "/v1/files/quotas/", "/v1/files/quotas/{id}"
	page := []query{queryAfter, queryLimit}
	return []route{
		{Method: "GET", Path: all, Privilege: control.QuotaRead, Summary: "Quotas by directory id.", Out: quotaList{}, Query: page, handle: listQuotas},
		{Method: "POST", Path: all, Privilege: control.QuotaWrite, Summary: "Limit a directory that has no quota.", In: quota{}, Out: quota{}, handle: addQuota},
		{Method: "GET", Path: one, Privilege: control.QuotaRead, Summary: "The quota of a directory.", Out: quota{}, handle: getQuota},
		{Method: "PUT", Path: one, Privilege: control.QuotaWrite, Summary: "Change the quota of a directory.", In: quota{}, Out: quota{}, Conditional: true, handle: putQuota},
		{Method: "DELETE", Path: one, Privilege: control.QuotaWrite, Summary: "Remove the quota of a directory.", Conditional: true, handle: deleteQuota},
		{Method: "GET", Path: "/v1/files/quotas/status/", Privilege: control.QuotaRead, Summary: "Quotas with path and usage.", Out: quotaStatusList{}, Query: page, handle: listQuotaStatus},
		{Method: "GET", Path: "/v1/files/quotas/status/{id}", Privilege: control.QuotaRead, Summary: "One quota with path and usage.", Out: quotaStatus{}, handle: getQuotaStatus},
	}
}

func renderQuota(k *fs.Quota) reply {
	return reply{body: quota{num(uint64(k.Dir)), num(k.Limit)}, tag: tag(uint64(k.Dir), k.Revision)}
}

func noQuota(id string, cause error) error {
	return &apiError{Status: http.StatusNotFound, Class: "api_quotas_quota_limit_not_found_error", Text: "No quota is set on directory " + id, cause: cause}
}

// quota reads the quota that the path names.
func (q *request) quota() (fs.Quota, error) {
	id, ok := service.Ref(q.params[0]).ID()
	if !ok {
		return fs.Quota{}, noQuota(q.params[0], nil)
	}
	k, err := q.s.o.FS.Quota(q.Context(), id)
	switch fs.KindOf(err) {
	case fs.NoAttr, fs.NotExist, fs.Stale, fs.NotDir:
		if err != nil {
			return k, noQuota(q.params[0], err)
		}
	}
	return k, err
}

func getQuota(q *request) (reply, error) {
	k, err := q.quota()
	return renderQuota(&k), err
}

// pageOfQuotas collects one page and the key of the next, "" at the end.
func (q *request) pageOfQuotas() ([]fs.Quota, paging, error) {
	p, err := q.page()
	if err != nil {
		return nil, paging{}, err
	}
	after, err := p.number()
	if err != nil {
		return nil, paging{}, err
	}
	var out []fs.Quota
	var next paging
	err = q.s.o.FS.ListQuotas(q.Context(), fs.FileID(after), func(k *fs.Quota) bool {
		if len(out) == p.limit {
			next.Next = q.next(p, strconv.FormatUint(uint64(out[len(out)-1].Dir), 10))
			return false
		}
		out = append(out, *k)
		return true
	})
	return out, next, err
}

func listQuotas(q *request) (reply, error) {
	ks, next, err := q.pageOfQuotas()
	out := quotaList{Quotas: []quota{}, Paging: next}
	for _, k := range ks {
		out.Quotas = append(out.Quotas, quota{num(uint64(k.Dir)), num(k.Limit)})
	}
	return reply{body: out}, err
}

func (q *request) quotaStatus(k *fs.Quota) (quotaStatus, error) {
	f, err := q.s.svc.File(q.Context(), q.caller(), service.Ref(strconv.FormatUint(uint64(k.Dir), 10)), 0, fs.AttrType)
	return quotaStatus{num(uint64(k.Dir)), f.Path, num(k.Limit), num(k.Used)}, err
}

func listQuotaStatus(q *request) (reply, error) {
	ks, next, err := q.pageOfQuotas()
	if err != nil {
		return reply{}, err
	}
	out := quotaStatusList{Quotas: []quotaStatus{}, Paging: next}
	for i := range ks {
		st, err := q.quotaStatus(&ks[i])
		if k := fs.KindOf(err); err != nil && (k == fs.NotExist || k == fs.Stale) {
			continue // deleted meanwhile
		}
		if err != nil {
			return reply{}, err
		}
		out.Quotas = append(out.Quotas, st)
	}
	return reply{body: out}, nil
}

func getQuotaStatus(q *request) (reply, error) {
	k, err := q.quota()
	if err != nil {
		return reply{}, err
	}
	st, err := q.quotaStatus(&k)
	return reply{body: st, tag: tag(uint64(k.Dir), k.Revision)}, err
}

func addQuota(q *request) (reply, error) {
	in, err := body[quota](q)
	if err != nil {
		return reply{}, err
	}
	if !in.ID.Set || !in.Limit.Set {
		return reply{}, decodeError("id and limit are required")
	}
	k, err := q.s.o.FS.SetQuota(q.Context(), fs.FileID(in.ID.N), in.Limit.N, true, 0)
	switch fs.KindOf(err) {
	case fs.Exist:
		return reply{}, &apiError{Status: http.StatusConflict, Class: "api_quotas_quota_limit_already_set_error", Text: "The directory has a quota already", cause: err}
	case fs.NotExist, fs.Stale:
		return reply{}, &apiError{Status: http.StatusNotFound, Class: "fs_no_such_inode_error", Text: "No such directory id", cause: err}
	}
	return renderQuota(&k), err
}

func putQuota(q *request) (reply, error) {
	in, err := body[quota](q)
	if err != nil {
		return reply{}, err
	}
	if !in.Limit.Set {
		return reply{}, decodeError("limit is required")
	}
	k, revision, err := q.quotaForChange()
	if err != nil {
		return reply{}, err
	}
	if in.ID.Set && fs.FileID(in.ID.N) != k.Dir {
		return reply{}, badRequest("http_bad_request_error", "the id in the body is not that of the path")
	}
	k, err = q.s.o.FS.SetQuota(q.Context(), k.Dir, in.Limit.N, false, revision)
	if err != nil && fs.KindOf(err) == fs.NoAttr {
		return reply{}, noQuota(q.params[0], err)
	}
	return renderQuota(&k), err
}

// quotaForChange answers the quota and the revision it must still have.
func (q *request) quotaForChange() (fs.Quota, uint64, error) {
	k, err := q.quota()
	if err != nil {
		return k, 0, err
	}
	conditional, err := q.match(tag(uint64(k.Dir), k.Revision))
	if err != nil || !conditional {
		return k, 0, err
	}
	return k, k.Revision, nil
}

func deleteQuota(q *request) (reply, error) {
	k, revision, err := q.quotaForChange()
	if err != nil {
		return reply{}, err
	}
	err = q.s.o.FS.RemoveQuota(q.Context(), k.Dir, revision)
	if err != nil && fs.KindOf(err) == fs.NoAttr {
		return reply{}, noQuota(q.params[0], err)
	}
	return reply{}, err
}
