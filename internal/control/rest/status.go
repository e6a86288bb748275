package rest

import (
	"net/http"
	"time"

	"manifold/internal/fs"
)

// kindStatus is the HTTP status and error class of each kind of file system error.
var kindStatus = map[fs.Kind]struct {
	status int
	class  string
}{
	fs.Other:            {http.StatusInternalServerError, "internal_error"},
	fs.NotExist:         {http.StatusNotFound, "fs_no_such_entry_error"},
	fs.Stale:            {http.StatusNotFound, "fs_no_such_inode_error"},
	fs.Exist:            {http.StatusConflict, "fs_entry_exists_error"},
	fs.NotDir:           {http.StatusBadRequest, "fs_not_a_directory_error"},
	fs.IsDir:            {http.StatusBadRequest, "fs_directory_error"},
	fs.NotEmpty:         {http.StatusConflict, "fs_directory_not_empty_error"},
	fs.NotFile:          {http.StatusBadRequest, "fs_not_a_file_error"},
	fs.NotSymlink:       {http.StatusBadRequest, "fs_not_a_symlink_error"},
	fs.Access:           {http.StatusForbidden, "fs_access_denied_error"},
	fs.Perm:             {http.StatusForbidden, "fs_access_perm_not_owner_error"},
	fs.ReadOnly:         {http.StatusForbidden, "fs_read_only_error"},
	fs.Invalid:          {http.StatusBadRequest, "fs_invalid_attrs_error"},
	fs.NameInvalid:      {http.StatusBadRequest, "fs_invalid_name_error"},
	fs.NameTooLong:      {http.StatusBadRequest, "fs_name_size_error"},
	fs.TooBig:           {http.StatusBadRequest, "fs_file_size_error"},
	fs.NoSpace:          {http.StatusServiceUnavailable, "fs_no_space_error"},
	fs.QuotaExceeded:    {http.StatusConflict, "fs_quota_no_space_error"},
	fs.TooManyLinks:     {http.StatusConflict, "fs_file_too_many_links_error"},
	fs.CrossDevice:      {http.StatusBadRequest, "fs_entry_not_in_subtree_error"},
	fs.Loop:             {http.StatusBadRequest, "fs_directory_cycle_error"},
	fs.Sharing:          {http.StatusConflict, "fs_sharing_violation_error"},
	fs.LockConflict:     {http.StatusConflict, "fs_lock_conflict_error"},
	fs.Deadlock:         {http.StatusConflict, "fs_deadlock_error"},
	fs.NoLock:           {http.StatusNotFound, "fs_no_such_lock_error"},
	fs.Retry:            {http.StatusServiceUnavailable, "fs_retry_error"},
	fs.Grace:            {http.StatusServiceUnavailable, "fs_grace_period_error"},
	fs.WORM:             {http.StatusConflict, "fs_file_locked_error"},
	fs.Corrupt:          {http.StatusInternalServerError, "fs_data_corrupt_error"},
	fs.NotSupported:     {http.StatusBadRequest, "fs_not_supported_error"},
	fs.BadCookie:        {http.StatusBadRequest, "http_bad_request_error"},
	fs.NoAttr:           {http.StatusNotFound, "fs_user_metadata_key_not_found_error"},
	fs.TooMany:          {http.StatusConflict, "fs_too_many_error"},
	fs.TooSmall:         {http.StatusInternalServerError, "internal_error"},
	fs.Busy:             {http.StatusConflict, "fs_busy_error"},
	fs.RevisionMismatch: {http.StatusPreconditionFailed, "http_precondition_failed_error"},
	fs.Canceled:         {http.StatusServiceUnavailable, "http_canceled_error"},
	fs.Unavailable:      {http.StatusServiceUnavailable, "fs_unavailable_error"},
}

func ofKind(k fs.Kind, cause error) *apiError {
	s, ok := kindStatus[k]
	if !ok {
		return fault(cause)
	}
	e := &apiError{Status: s.status, Class: s.class, Text: k.String(), cause: cause}
	switch {
	case s.status == http.StatusServiceUnavailable:
		e.RetryAfter = time.Second
	case s.status == http.StatusInternalServerError:
		e.Text = "internal error; the server's log has more"
	}
	return e
}
