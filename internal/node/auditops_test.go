package node

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"manifold/internal/wire/ftp"
	"manifold/internal/wire/nfs3"
	"manifold/internal/wire/nfs3/mount"
	"manifold/internal/wire/s3"
	"manifold/internal/wire/smb"
	"manifold/internal/wire/ssh/sftp"
)

// recordNames are the records of what clients do, as administrators know them.
const recordNames = `
	ftp_login nfs_mount nfs_umount share_connect share_disconnect smb_login smb_logoff smb2_notify_req ssh_login s3_login
	fs_copy_chunk fs_create fs_create_directory fs_create_file fs_create_hard_link fs_create_symlink fs_create_stream fs_delete fs_fsstat
	fs_list_directory fs_open fs_read_data fs_read_link fs_read_metadata fs_read_user_metadata fs_rename fs_write_data fs_write_metadata
	fs_write_file_lock fs_write_user_metadata
	s3_abort_upload s3_add_bucket s3_delete_bucket s3_get_bucket_policy s3_modify_bucket s3_put_bucket_policy`

// Every operation of every protocol leaves a record, or it is said why not.
func TestAuditTable(t *testing.T) {
	known := strings.Fields(recordNames)
	used := map[string]bool{}
	for protocol, ops := range map[string][]string{
		"nfs": nfs3.Procedures(), "mount": mount.Procedures(), "nlm": slices.Collect(maps.Values(nlmNames)), "nsm": slices.Collect(maps.Values(nsmNames)),
		"smb": smb.Commands(), "ftp": ftp.Commands(), "sftp": sftp.Requests(), "s3": s3.Operations(), "ssh": {"login", "shell"},
	} {
		for _, op := range ops {
			l, ok := auditTable[protocol][op]
			if !ok {
				t.Errorf("%s %s: say in auditTable which record it leaves, or why none", protocol, op)
				continue
			}
			if (l.records == "") == (l.none == "") {
				t.Errorf("%s %s: want records or a reason", protocol, op)
			}
			for _, r := range strings.Fields(l.records) {
				used[r] = true
				if !slices.Contains(known, r) {
					t.Errorf("%s %s: there is no record %q", protocol, op, r)
				}
			}
		}
		for op := range auditTable[protocol] {
			if !slices.Contains(ops, op) {
				t.Errorf("%s has no operation %s", protocol, op)
			}
		}
	}
	for _, r := range known {
		if !used[r] {
			t.Errorf("nothing leaves %s", r)
		}
	}
}
