package node

import "strings"

// left are the records that an operation of a protocol leaves, or why it leaves
// none.
type left struct {
	records string // names, separated by spaces; the first is that of a refusal
	none    string
}

// first names the record of a refusal.
func (l left) first() string {
	name, _, _ := strings.Cut(l.records, " ")
	return name
}

// Reasons why operations leave no record.
const (
	ofConnection = "it is about the connection"
	ofServer     = "it asks for properties of the server"
	ofLocks      = "locks hide nothing and change nothing that is kept"
	wasRecorded  = "writes were recorded when they were made"
	isPublic     = "what it tells is public"
	ofSettings   = "it reads settings of a bucket, no data"
	notKept      = "the feature does not exist, nothing is read or changed"
	unnamed      = "what it makes has no name yet: completing it leaves the records"
	ofCursor     = "it moves the client's own working directory; a refusal is recorded"
)

// auditTable says for every operation of every protocol what the audit log
// holds of it. Reads are recorded once a minute for each user and object;
// looking a name up only if it is refused, since what is then done to the object
// leaves its own record.
var auditTable = map[string]map[string]left{
	"nfs": {
		"NULL": {none: ofConnection}, "GETATTR": {records: "fs_read_metadata"}, "SETATTR": {records: "fs_write_metadata"}, "LOOKUP": {records: "fs_read_metadata"},
		"ACCESS": {records: "fs_read_metadata"}, "READLINK": {records: "fs_read_link"}, "READ": {records: "fs_read_data"}, "WRITE": {records: "fs_write_data"},
		"CREATE": {records: "fs_create_file"}, "MKDIR": {records: "fs_create_directory"}, "SYMLINK": {records: "fs_create_symlink"}, "MKNOD": {records: "fs_create"},
		"REMOVE": {records: "fs_delete"}, "RMDIR": {records: "fs_delete"}, "RENAME": {records: "fs_rename"}, "LINK": {records: "fs_create_hard_link"},
		"READDIR": {records: "fs_list_directory"}, "READDIRPLUS": {records: "fs_list_directory"}, "FSSTAT": {records: "fs_fsstat"},
		"FSINFO": {none: ofServer}, "PATHCONF": {none: ofServer}, "COMMIT": {none: wasRecorded},
	},
	"mount": {
		"NULL": {none: ofConnection}, "MNT": {records: "nfs_mount"}, "UMNT": {records: "nfs_umount"}, "UMNTALL": {records: "nfs_umount"},
		"DUMP": {none: "a list for people, which decides nothing"}, "EXPORT": {none: isPublic},
	},
	"nlm": {
		"NULL": {none: ofConnection}, "TEST": {none: ofLocks}, "LOCK": {none: ofLocks}, "CANCEL": {none: ofLocks}, "UNLOCK": {none: ofLocks},
		"TEST_MSG": {none: ofLocks}, "LOCK_MSG": {none: ofLocks}, "CANCEL_MSG": {none: ofLocks}, "UNLOCK_MSG": {none: ofLocks},
		"SHARE": {none: ofLocks}, "UNSHARE": {none: ofLocks}, "NM_LOCK": {none: ofLocks}, "FREE_ALL": {none: ofLocks},
	},
	"nsm": {"NULL": {none: ofConnection}, "NOTIFY": {none: ofLocks}},
	"smb": {
		"NEGOTIATE": {none: ofConnection}, "SESSION_SETUP": {records: "smb_login"}, "LOGOFF": {records: "smb_logoff"},
		"TREE_CONNECT": {records: "share_connect"}, "TREE_DISCONNECT": {records: "share_disconnect"},
		"CREATE": {records: "fs_open fs_create_file fs_create_directory fs_create_stream fs_write_data"}, "CLOSE": {records: "fs_delete"},
		"FLUSH": {none: wasRecorded}, "READ": {records: "fs_read_data"}, "WRITE": {records: "fs_write_data"}, "LOCK": {none: ofLocks},
		"IOCTL": {records: "fs_copy_chunk fs_write_data fs_write_metadata fs_read_metadata"}, "CANCEL": {none: ofConnection}, "ECHO": {none: ofConnection},
		"QUERY_DIRECTORY": {records: "fs_list_directory"}, "CHANGE_NOTIFY": {records: "smb2_notify_req"},
		"QUERY_INFO":   {records: "fs_read_metadata fs_read_user_metadata fs_fsstat"},
		"SET_INFO":     {records: "fs_write_metadata fs_rename fs_delete fs_create_hard_link fs_write_user_metadata"},
		"OPLOCK_BREAK": {none: ofLocks},
	},
	"ftp": {
		"USER": {none: ofConnection}, "PASS": {records: "ftp_login"}, "AUTH": {none: ofConnection}, "PBSZ": {none: ofConnection}, "PROT": {none: ofConnection},
		"CCC": {none: ofConnection}, "ACCT": {none: ofConnection}, "REIN": {none: notKept}, "QUIT": {none: ofConnection}, "NOOP": {none: ofConnection},
		"SYST": {none: ofServer}, "FEAT": {none: ofServer}, "OPTS": {none: ofConnection}, "HELP": {none: ofServer}, "CLNT": {none: ofConnection},
		"TYPE": {none: ofConnection}, "MODE": {none: ofConnection}, "STRU": {none: ofConnection}, "PASV": {none: ofConnection}, "EPSV": {none: ofConnection},
		"PORT": {none: ofConnection}, "EPRT": {none: ofConnection}, "REST": {none: ofConnection}, "ABOR": {none: ofConnection}, "ALLO": {none: ofConnection},
		"RETR": {records: "fs_open fs_read_data"}, "STOR": {records: "fs_create_file fs_write_data"}, "APPE": {records: "fs_open fs_create_file fs_write_data"},
		"STOU": {records: "fs_create_file fs_write_data"},
		"LIST": {records: "fs_list_directory"}, "NLST": {records: "fs_list_directory"}, "MLSD": {records: "fs_list_directory"}, "MLST": {records: "fs_read_metadata"},
		"STAT": {records: "fs_list_directory fs_read_metadata"}, "CWD": {none: ofCursor}, "XCWD": {none: ofCursor}, "CDUP": {none: ofCursor}, "XCUP": {none: ofCursor},
		"PWD": {none: ofConnection}, "XPWD": {none: ofConnection}, "MKD": {records: "fs_create_directory"}, "XMKD": {records: "fs_create_directory"},
		"RMD": {records: "fs_delete"}, "XRMD": {records: "fs_delete"}, "DELE": {records: "fs_delete"}, "RNFR": {records: "fs_read_metadata"}, "RNTO": {records: "fs_rename"},
		"SIZE": {records: "fs_read_metadata"}, "MDTM": {records: "fs_read_metadata"}, "MFMT": {records: "fs_write_metadata"},
		"SITE": {records: "fs_write_metadata fs_create_symlink"}, "AVBL": {records: "fs_fsstat"},
		"HASH": {records: "fs_read_data"}, "XCRC": {records: "fs_read_data"}, "XMD5": {records: "fs_read_data"}, "XSHA": {records: "fs_read_data"},
		"XSHA1": {records: "fs_read_data"}, "XSHA256": {records: "fs_read_data"}, "XSHA512": {records: "fs_read_data"},
	},
	"sftp": {
		"open": {records: "fs_open fs_create_file fs_write_data"}, "close": {none: wasRecorded}, "read": {records: "fs_read_data"}, "write": {records: "fs_write_data"},
		"lstat": {records: "fs_read_metadata"}, "stat": {records: "fs_read_metadata"}, "fstat": {records: "fs_read_metadata"},
		"setstat": {records: "fs_write_metadata"}, "fsetstat": {records: "fs_write_metadata"}, "lsetstat@openssh.com": {records: "fs_write_metadata"},
		"opendir": {records: "fs_read_metadata"}, "readdir": {records: "fs_list_directory"}, "remove": {records: "fs_delete"}, "rmdir": {records: "fs_delete"},
		"mkdir": {records: "fs_create_directory"}, "realpath": {none: ofCursor}, "rename": {records: "fs_rename"}, "posix-rename@openssh.com": {records: "fs_rename"},
		"readlink": {records: "fs_read_link"}, "symlink": {records: "fs_create_symlink"}, "hardlink@openssh.com": {records: "fs_create_hard_link"},
		"statvfs@openssh.com": {records: "fs_fsstat"}, "fstatvfs@openssh.com": {records: "fs_fsstat"}, "fsync@openssh.com": {none: wasRecorded},
		"copy-data": {records: "fs_copy_chunk"}, "limits@openssh.com": {none: ofServer}, "expand-path@openssh.com": {none: ofCursor},
		"home-directory": {none: ofServer}, "users-groups-by-id@openssh.com": {none: isPublic},
	},
	"ssh": {"login": {records: "ssh_login"}, "shell": {none: "it works through the REST API, whose records it leaves"}},
	"s3": {
		"ListBuckets":  {records: "s3_login"},
		"CreateBucket": {records: "s3_add_bucket"}, "DeleteBucket": {records: "s3_delete_bucket"}, "HeadBucket": {none: ofSettings},
		"ListObjects": {records: "fs_list_directory"}, "ListObjectVersions": {records: "fs_list_directory"}, "ListMultipartUploads": {none: unnamed},
		"GetBucketLocation": {none: ofSettings}, "GetBucketVersioning": {none: ofSettings}, "PutBucketVersioning": {records: "s3_modify_bucket"},
		"GetBucketPolicy": {records: "s3_get_bucket_policy"}, "PutBucketPolicy": {records: "s3_put_bucket_policy"}, "DeleteBucketPolicy": {records: "s3_put_bucket_policy"},
		"GetBucketPolicyStatus": {none: ofSettings}, "GetBucketCors": {none: ofSettings}, "PutBucketCors": {records: "s3_modify_bucket"}, "DeleteBucketCors": {records: "s3_modify_bucket"},
		"GetBucketTagging": {none: ofSettings}, "PutBucketTagging": {records: "s3_modify_bucket"}, "DeleteBucketTagging": {records: "s3_modify_bucket"},
		"GetBucketAcl": {none: ofSettings}, "PutBucketAcl": {records: "s3_modify_bucket"},
		"GetObjectLockConfiguration": {none: ofSettings}, "PutObjectLockConfiguration": {records: "s3_modify_bucket"},
		"GetLifecycleConfiguration": {none: notKept}, "GetBucketEncryption": {none: notKept}, "GetBucketReplication": {none: notKept}, "GetBucketWebsite": {none: notKept},
		"GetPublicAccessBlock": {none: notKept}, "GetBucketOwnershipControls": {none: notKept}, "GetBucketNotificationConfiguration": {none: notKept},
		"GetBucketLogging": {none: notKept}, "GetBucketAccelerateConfiguration": {none: notKept}, "GetBucketRequestPayment": {none: notKept},

		"PutObject": {records: "fs_create_file fs_create_directory fs_write_data fs_delete"}, "PostObject": {records: "fs_create_file fs_write_data"}, "CopyObject": {records: "fs_create_file fs_read_data fs_write_data"},
		"GetObject": {records: "fs_read_data"}, "HeadObject": {records: "fs_read_metadata"}, "GetObjectAttributes": {records: "fs_read_metadata"},
		"DeleteObject": {records: "fs_delete"}, "DeleteObjects": {records: "fs_delete"},
		"GetObjectAcl": {records: "fs_read_metadata"}, "PutObjectAcl": {records: "fs_write_metadata"},
		"GetObjectTagging": {records: "fs_read_user_metadata"}, "PutObjectTagging": {records: "fs_write_user_metadata"}, "DeleteObjectTagging": {records: "fs_write_user_metadata"},
		"GetObjectRetention": {records: "fs_read_metadata"}, "PutObjectRetention": {records: "fs_write_file_lock"},
		"GetObjectLegalHold": {records: "fs_read_metadata"}, "PutObjectLegalHold": {records: "fs_write_file_lock"},
		"CreateMultipartUpload": {none: unnamed}, "UploadPart": {none: unnamed}, "UploadPartCopy": {records: "fs_read_data"},
		"CompleteMultipartUpload": {records: "fs_create_file fs_write_data"}, "AbortMultipartUpload": {records: "s3_abort_upload"}, "ListParts": {none: unnamed},
	},
}

// s3Bucket are the operations of S3 that the file system is not told of, or only
// in part.
var s3Bucket = ofPrefix(auditTable["s3"], "s3_", "s3_login")

// ofPrefix picks the operations whose first record begins so.
func ofPrefix(table map[string]left, prefix, but string) map[string]string {
	out := map[string]string{}
	for op, l := range table {
		if r := l.first(); strings.HasPrefix(r, prefix) && r != but {
			out[op] = r
		}
	}
	return out
}
