package control

import (
	"slices"
	"strings"

	"manifold/internal/config"
)

// Privilege names one administrator's right as the REST API spells it.
type Privilege string

// Privileges that operations ask for.
const (
	Anyone Privilege = "" // whoever is logged in

	AccessTokensRead   Privilege = "PRIVILEGE_ACCESS_TOKENS_READ"
	AccessTokensWrite  Privilege = "PRIVILEGE_ACCESS_TOKENS_WRITE"
	AnalyticsRead      Privilege = "PRIVILEGE_ANALYTICS_READ"
	AuditRead          Privilege = "PRIVILEGE_AUDIT_READ"
	AuditWrite         Privilege = "PRIVILEGE_AUDIT_WRITE"
	AuthCacheWrite     Privilege = "PRIVILEGE_AUTH_CACHE_WRITE"
	ChecksummingRead   Privilege = "PRIVILEGE_CHECKSUMMING_READ"
	ClusterRead        Privilege = "PRIVILEGE_CLUSTER_READ"
	ClusterWrite       Privilege = "PRIVILEGE_CLUSTER_WRITE"
	DNSRead            Privilege = "PRIVILEGE_DNS_READ"
	DNSUse             Privilege = "PRIVILEGE_DNS_USE"
	DNSWrite           Privilege = "PRIVILEGE_DNS_WRITE"
	FileFullAccess     Privilege = "PRIVILEGE_FILE_FULL_ACCESS"
	FileReadAccess     Privilege = "PRIVILEGE_FILE_READ_ACCESS"
	FSAttributesRead   Privilege = "PRIVILEGE_FS_ATTRIBUTES_READ"
	FSFileLockWrite    Privilege = "PRIVILEGE_FS_FILE_LOCK_WRITE"
	FSKeysRead         Privilege = "PRIVILEGE_FS_KEY_MANAGEMENT_READ"
	FSKeysWrite        Privilege = "PRIVILEGE_FS_KEY_MANAGEMENT_WRITE"
	FSLockRead         Privilege = "PRIVILEGE_FS_LOCK_READ"
	FSLockWrite        Privilege = "PRIVILEGE_FS_LOCK_WRITE"
	FSSettingsRead     Privilege = "PRIVILEGE_FS_SETTINGS_READ"
	FSSettingsWrite    Privilege = "PRIVILEGE_FS_SETTINGS_WRITE"
	FTPRead            Privilege = "PRIVILEGE_FTP_READ"
	FTPWrite           Privilege = "PRIVILEGE_FTP_WRITE"
	GroupRead          Privilege = "PRIVILEGE_LOCAL_GROUP_READ"
	GroupWrite         Privilege = "PRIVILEGE_LOCAL_GROUP_WRITE"
	IdentityRead       Privilege = "PRIVILEGE_IDENTITY_READ"
	IdentityWrite      Privilege = "PRIVILEGE_IDENTITY_WRITE"
	MetricsRead        Privilege = "PRIVILEGE_METRICS_READ"
	NetworkRead        Privilege = "PRIVILEGE_NETWORK_READ"
	NFSExportRead      Privilege = "PRIVILEGE_NFS_EXPORT_READ"
	NFSExportWrite     Privilege = "PRIVILEGE_NFS_EXPORT_WRITE"
	NFSSettingsRead    Privilege = "PRIVILEGE_NFS_SETTINGS_READ"
	NFSSettingsWrite   Privilege = "PRIVILEGE_NFS_SETTINGS_WRITE"
	SMBFileHandleRead  Privilege = "PRIVILEGE_SMB_FILE_HANDLE_READ"
	SMBFileHandleWrite Privilege = "PRIVILEGE_SMB_FILE_HANDLE_WRITE"
	SMBSessionRead     Privilege = "PRIVILEGE_SMB_SESSION_READ"
	SMBSessionWrite    Privilege = "PRIVILEGE_SMB_SESSION_WRITE"
	SMBShareRead       Privilege = "PRIVILEGE_SMB_SHARE_READ"
	SMBShareWrite      Privilege = "PRIVILEGE_SMB_SHARE_WRITE"
	PolicyRead         Privilege = "PRIVILEGE_SNAPSHOT_POLICY_READ"
	PolicyWrite        Privilege = "PRIVILEGE_SNAPSHOT_POLICY_WRITE"
	QuotaRead          Privilege = "PRIVILEGE_QUOTA_READ"
	QuotaWrite         Privilege = "PRIVILEGE_QUOTA_WRITE"
	RoleRead           Privilege = "PRIVILEGE_ROLE_READ"
	RoleWrite          Privilege = "PRIVILEGE_ROLE_WRITE"
	SnapshotDiffRead   Privilege = "PRIVILEGE_SNAPSHOT_DIFFERENCE_READ"
	SnapshotLock       Privilege = "PRIVILEGE_SNAPSHOT_LOCK"
	SnapshotRead       Privilege = "PRIVILEGE_SNAPSHOT_READ"
	SnapshotUsedRead   Privilege = "PRIVILEGE_SNAPSHOT_CALCULATE_USED_CAPACITY_READ"
	SnapshotWrite      Privilege = "PRIVILEGE_SNAPSHOT_WRITE"
	TimeRead           Privilege = "PRIVILEGE_TIME_READ"
	S3BucketsRead      Privilege = "PRIVILEGE_S3_BUCKETS_READ"
	S3BucketsWrite     Privilege = "PRIVILEGE_S3_BUCKETS_WRITE"
	S3CredentialsRead  Privilege = "PRIVILEGE_S3_CREDENTIALS_READ"
	S3CredentialsWrite Privilege = "PRIVILEGE_S3_CREDENTIALS_WRITE"
	S3SettingsRead     Privilege = "PRIVILEGE_S3_SETTINGS_READ"
	S3SettingsWrite    Privilege = "PRIVILEGE_S3_SETTINGS_WRITE"
	S3UploadsRead      Privilege = "PRIVILEGE_S3_UPLOADS_READ"
	S3UploadsWrite     Privilege = "PRIVILEGE_S3_UPLOADS_WRITE"
	TimeWrite          Privilege = "PRIVILEGE_TIME_WRITE"
	TreeDeleteRead     Privilege = "PRIVILEGE_FS_DELETE_TREE_READ"
	TreeDeleteWrite    Privilege = "PRIVILEGE_FS_DELETE_TREE_WRITE"
	UserRead           Privilege = "PRIVILEGE_LOCAL_USER_READ"
	UserWrite          Privilege = "PRIVILEGE_LOCAL_USER_WRITE"
	WebUIWrite         Privilege = "PRIVILEGE_WEB_UI_SETTINGS_WRITE"
)

// everyPrivilege by area; a suffix of 'R', 'W' or 'U' stands for _READ, _WRITE
// and _USE, none for the bare name.
var everyPrivilege = []struct{ area, suffixes string }{
	{"ACCESS_TOKENS", "RW"}, {"AD", "RWU"}, {"ANALYTICS", "R"}, {"AUDIT", "RW"}, {"AUTH_CACHE", "RW"},
	{"CAPACITY", "RW"}, {"CHECKSUMMING", "R"}, {"CLUSTER", "RW"}, {"DEBUG", ""}, {"DNS", "RWU"},
	{"ENCRYPTION", "RW"}, {"FILE_FULL_ACCESS", ""}, {"FILE_READ_ACCESS", ""}, {"FS_ATTRIBUTES", "R"},
	{"FS_DELETE_TREE", "RW"}, {"FS_FILE_LOCK", "W"}, {"FS_KEY_MANAGEMENT", "RW"}, {"FS_LOCK", "RW"},
	{"FS_SETTINGS", "RW"}, {"FTP", "RW"}, {"IDENTITY", "RW"}, {"IDENTITY_CONFIG", "RW"},
	{"IDENTITY_MAPPING", "RW"}, {"KERBEROS_KEYTAB", "RW"}, {"KERBEROS_SETTINGS", "RW"}, {"KV", "R"},
	{"LDAP", "RWU"}, {"LICENSE", "R"}, {"LOCAL_GROUP", "RW"}, {"LOCAL_USER", "RW"}, {"METRICS", "R"},
	{"METRICS_CONFIG", "RW"}, {"NETWORK", "RW"}, {"NETWORK_IP_ALLOCATION", "R"}, {"NFS_EXPORT", "RW"},
	{"NFS_SETTINGS", "RW"}, {"OBJECT_STORAGE_URIS", "RW"}, {"PORTAL_GLOBAL", "R"}, {"PORTAL_HUB", "RW"},
	{"PORTAL_SPOKE", "RW"}, {"PORTAL_SPOKE_EVICT", ""}, {"POWER_CYCLE", ""}, {"QUOTA", "RW"}, {"REBOOT", "RU"},
	{"RECONCILER", "R"}, {"REPLICATION_OBJECT", "RW"}, {"REPLICATION_REVERSE_RELATIONSHIP", ""},
	{"REPLICATION_SOURCE", "RW"}, {"REPLICATION_TARGET", "RW"}, {"ROLE", "RW"}, {"S3_BUCKETS", "RW"},
	{"S3_CREDENTIALS", "RW"}, {"S3_SETTINGS", "RW"}, {"S3_UPLOADS", "RW"}, {"SAML_SETTINGS", "RW"},
	{"SERVICE_PUBLIC_KEYS", "RW"}, {"SMB_FILE_HANDLE", "RW"}, {"SMB_SESSION", "RW"}, {"SMB_SHARE", "RW"},
	{"SNAPSHOT", "RW"}, {"SNAPSHOT_CALCULATE_USED_CAPACITY", "R"}, {"SNAPSHOT_DIFFERENCE", "R"},
	{"SNAPSHOT_LOCK", ""}, {"SNAPSHOT_POLICY", "RW"}, {"SUPPORT", "RW"}, {"TENANT", "RW"}, {"TEST_ONLY", ""},
	{"TIME", "RW"}, {"UNCONFIGURED_NODE", "R"}, {"UPGRADE", "RW"}, {"WEB_UI_SETTINGS", "W"},
}

// AllPrivileges lists every privilege, sorted. A member of Administrators has all.
func AllPrivileges() []Privilege {
	var out []Privilege
	for _, p := range everyPrivilege {
		name := "PRIVILEGE_" + p.area
		if p.suffixes == "" {
			out = append(out, Privilege(name))
		}
		for _, s := range p.suffixes {
			out = append(out, Privilege(name+map[rune]string{'R': "_READ", 'W': "_WRITE", 'U': "_USE"}[s]))
		}
	}
	slices.Sort(out)
	return out
}

// RolePrivileges are those of a role: a built-in one has what this version
// gives it, another what was stored, as far as this version knows it.
func RolePrivileges(r *config.Record[config.Role]) []Privilege {
	var out []Privilege
	switch r.ID {
	case config.RoleAdministrators:
		return AllPrivileges()
	case config.RoleDataAdministrators:
		return slices.Clone(dataAdministrators)
	case config.RoleObservers:
		for _, p := range AllPrivileges() {
			if strings.HasSuffix(string(p), "_READ") && !slices.Contains(notObserved, p) {
				out = append(out, p)
			}
		}
		return out
	}
	for _, p := range r.Value.Privileges {
		out = append(out, Privilege(p))
	}
	return out
}

// RoleDescription is what a role is for.
func RoleDescription(r *config.Record[config.Role]) string {
	switch r.ID {
	case config.RoleAdministrators:
		return "Full access to everything"
	case config.RoleDataAdministrators:
		return "All files, and what is needed to share and protect them"
	case config.RoleObservers:
		return "Read access to everything but debugging and authentication settings"
	}
	return r.Value.Description
}

var dataAdministrators = []Privilege{
	AnalyticsRead, FileFullAccess, FSAttributesRead, TreeDeleteRead, TreeDeleteWrite, FSLockRead, FSLockWrite,
	IdentityRead, GroupRead, UserRead, NFSExportRead, NFSExportWrite, NFSSettingsRead, NFSSettingsWrite,
	QuotaRead, QuotaWrite,
	SMBFileHandleRead, SMBFileHandleWrite, SMBSessionRead, SMBSessionWrite, SMBShareRead, SMBShareWrite,
	SnapshotUsedRead, SnapshotDiffRead, SnapshotRead, SnapshotWrite, PolicyRead, PolicyWrite,
}

// notObserved are the settings of authentication.
var notObserved = []Privilege{
	AccessTokensRead, "PRIVILEGE_AD_READ", "PRIVILEGE_IDENTITY_CONFIG_READ", "PRIVILEGE_KERBEROS_KEYTAB_READ",
	"PRIVILEGE_KERBEROS_SETTINGS_READ", "PRIVILEGE_LDAP_READ", "PRIVILEGE_SAML_SETTINGS_READ",
}

// Describe says in words what a privilege allows.
func (p Privilege) Describe() string {
	name := strings.TrimPrefix(string(p), "PRIVILEGE_")
	if text, ok := special[p]; ok {
		return text
	}
	for _, s := range []struct{ suffix, verb string }{{"_READ", "See "}, {"_WRITE", "Change "}, {"_USE", "Use "}} {
		if area, ok := strings.CutSuffix(name, s.suffix); ok {
			return s.verb + "what concerns: " + strings.ToLower(strings.ReplaceAll(area, "_", " "))
		}
	}
	return "Act on: " + strings.ToLower(strings.ReplaceAll(name, "_", " "))
}

var special = map[Privilege]string{
	FileFullAccess:  "Read, change and own every file, whatever its permissions, in every protocol",
	FileReadAccess:  "Read every file and directory, whatever its permissions, in every protocol",
	FSFileLockWrite: "Set retention periods and legal holds on files",
	TreeDeleteWrite: "Delete whole directory trees whatever the permissions below",
	RoleWrite:       "Change roles: amounts to every privilege",
	UserWrite:       "Change local users and their passwords: amounts to acting as any of them",
	SnapshotLock:    "Lock snapshots with a key",
}
