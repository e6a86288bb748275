package control

import "slices"

// Privilege names one administrator's right as the REST API spells it.
type Privilege string

// Privileges that operations ask for.
const (
	Anyone Privilege = "" // whoever is logged in

	ChecksummingRead Privilege = "PRIVILEGE_CHECKSUMMING_READ"
	ClusterRead      Privilege = "PRIVILEGE_CLUSTER_READ"
	ClusterWrite     Privilege = "PRIVILEGE_CLUSTER_WRITE"
	FileFullAccess   Privilege = "PRIVILEGE_FILE_FULL_ACCESS"
	FileReadAccess   Privilege = "PRIVILEGE_FILE_READ_ACCESS"
	FSAttributesRead Privilege = "PRIVILEGE_FS_ATTRIBUTES_READ"
	FSFileLockWrite  Privilege = "PRIVILEGE_FS_FILE_LOCK_WRITE"
	FSLockRead       Privilege = "PRIVILEGE_FS_LOCK_READ"
	FSLockWrite      Privilege = "PRIVILEGE_FS_LOCK_WRITE"
	MetricsRead      Privilege = "PRIVILEGE_METRICS_READ"
	NetworkRead      Privilege = "PRIVILEGE_NETWORK_READ"
	NFSExportRead    Privilege = "PRIVILEGE_NFS_EXPORT_READ"
	NFSExportWrite   Privilege = "PRIVILEGE_NFS_EXPORT_WRITE"
	NFSSettingsRead  Privilege = "PRIVILEGE_NFS_SETTINGS_READ"
	NFSSettingsWrite Privilege = "PRIVILEGE_NFS_SETTINGS_WRITE"
	QuotaRead        Privilege = "PRIVILEGE_QUOTA_READ"
	QuotaWrite       Privilege = "PRIVILEGE_QUOTA_WRITE"
	SnapshotRead     Privilege = "PRIVILEGE_SNAPSHOT_READ"
	SnapshotWrite    Privilege = "PRIVILEGE_SNAPSHOT_WRITE"
	SnapshotDiffRead Privilege = "PRIVILEGE_SNAPSHOT_DIFFERENCE_READ"
	TreeDeleteRead   Privilege = "PRIVILEGE_FS_DELETE_TREE_READ"
	TreeDeleteWrite  Privilege = "PRIVILEGE_FS_DELETE_TREE_WRITE"
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
