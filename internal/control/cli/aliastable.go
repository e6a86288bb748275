package cli

import "maps"

// aliases are commands of the reference command line, so that people and
// scripts that know it get along. Everything of it that is not here works
// through the reference command line itself, whose API this is.
var aliases = []alias{
	{"who_am_i", "whoami", nil, nil}, {"version", "node version", nil, nil}, {"node_state_get", "node state", nil, nil},
	{"change_password", "change-password", nil, nil},
	{"fs_get_stats", "node df", nil, nil}, {"cluster_conf", "cluster show", nil, nil}, {"set_cluster_conf", "cluster rename", []string{"--cluster-name"}, nil},
	{"nodes_list", "cluster nodes", []string{"--node"}, nil},
	{"fs_read_dir", "fs ls", []string{"--path/--id"}, map[string]string{"--smb-pattern": "--pattern", "--page-size": "|drop"}}, {"fs_file_get_attr", "fs stat", []string{"--path/--id"}, map[string]string{"--retrieve-file-lock": "--lock"}},
	{"fs_create_dir", "fs mkdir", []string{"--path/--id", "&--name"}, nil}, {"fs_create_file", "fs create", []string{"--path/--id", "&--name"}, nil},
	{"fs_create_link", "fs ln", []string{"--target", "--path/--id", "&--name"}, nil}, {"fs_rename", "fs mv", []string{"--old-path/-o", "--path/--id/--dir-path/--dir-id", "&--name"}, map[string]string{"--clobber": "--force"}},
	{"fs_punch_hole", "fs punch", []string{"--path/--id", "--offset", "--size"}, nil}, {"fs_get_notify_settings", "fs settings show", nil, nil},
	{"snapshot_get_status", "snapshot show", []string{"--id/-i"}, nil}, {"snapshot_list_statuses", "snapshot list", nil, map[string]string{"--exclude-in-delete": ""}},
	{"snapshot_get_policy_status", "snapshot policy show", []string{"--id/-i"}, nil}, {"snapshot_list_policy_statuses", "snapshot policy list", nil, nil},
	{"snapshot_diff", "snapshot diff", []string{"--older-snapshot/-o", "--newer-snapshot/-n"}, map[string]string{"--page-size": "|drop"}}, {"auth_clear_cache", "identity clear-cache", nil, nil},
	{"fs_security_get_key_usage", "snapshot key uses", []string{"--key/-k/--id"}, nil}, {"network_list_networks", "network list", []string{"--interface-id"}, nil},
	{"capacity_history_files_get", "analytics largest", []string{"--timestamp"}, nil}, {"dns_get_system_config", "dns show", nil, nil},
	{"fs_delete", "fs rm", []string{"--path/--id"}, nil},
	{"fs_read --file", "fs download", []string{"--path/--id", "--file"}, nil}, {"fs_read", "fs cat", []string{"--path/--id"}, map[string]string{"--stdout": ""}},
	{"fs_write", "fs write", []string{"--path/--id", "--file"}, map[string]string{"--stdin": ""}},
	{"fs_copy", "fs cp", nil, map[string]string{"--overwrite": "--force", "--source-snapshot": "--snapshot", "--quiet": "", "-q": ""}},
	{"fs_resolve_paths", "fs path", []string{"--ids"}, nil}, {"fs_get_acl", "fs acl show", []string{"--path/--id"}, nil},
	{"fs_set_acl", "fs acl set", []string{"--path/--id", "--file"}, nil}, {"fs_acl_explain_rights", "fs acl explain", []string{"--path/--id", "--user/-u"}, map[string]string{"--primary-group": "--group", "-p": "--group", "--groups": "--also|list", "-g": "--also|list", "--verbose": "", "-v": ""}},
	{"fs_acl_explain_posix_mode", "fs acl explain-mode", []string{"--path/--id"}, verbose}, {"fs_acl_explain_chmod", "fs acl explain-chmod", []string{"--path/--id", "--mode"}, verbose},
	{"fs_list_named_streams", "fs stream list", []string{"--path/--id"}, nil}, {"fs_read_dir_aggregates", "fs aggregates", []string{"--path/--id"}, nil},
	{"fs_notify", "fs watch", []string{"--path/--id/--file"}, map[string]string{"--filter": "--type|list"}}, {"fs_get_permissions_settings", "fs settings show", nil, nil}, {"fs_get_atime_settings", "fs settings show", nil, nil},
	{"fs_file_samples", "fs sample", []string{"--path/--id"}, map[string]string{"--sample-by": "--by"}},
	{"fs_list_user_metadata", "fs metadata list", []string{"--path/--id"}, s3Space}, {"fs_set_user_metadata", "fs metadata set", []string{"--path/--id", "--key", "--value"}, s3Space},
	{"fs_get_user_metadata", "fs metadata get", []string{"--path/--id", "--key"}, s3Space}, {"fs_delete_user_metadata", "fs metadata rm", []string{"--path/--id", "--key"}, s3Space},
	{"fs_security_list_keys", "snapshot key list", nil, nil}, {"fs_security_get_key", "snapshot key show", []string{"--key/-k/--id"}, nil}, {"fs_security_delete_key", "snapshot key rm", []string{"--key/-k/--id"}, nil},
	{"tree_delete_create", "fs tree-delete", nil, map[string]string{"--force": "--yes", "-f": "--yes"}}, {"tree_delete_list", "fs tree-delete-status", nil, nil},
	{"tree_delete_get", "fs tree-delete-status", nil, nil}, {"tree_delete_cancel", "fs tree-delete-cancel", nil, nil},
	{"snapshot_create_snapshot", "snapshot create", []string{"--path/--id/--source-file-id"}, map[string]string{"-n": "--name", "--time-to-live": "--ttl", "-t": "--ttl", "--expiration": "--expires", "-e": "--expires"}}, {"snapshot_list_snapshots", "snapshot list", nil, map[string]string{"--exclude-in-delete": ""}},
	{"snapshot_get_snapshot", "snapshot show", []string{"--id/-i"}, nil}, {"snapshot_delete_snapshot", "snapshot delete", []string{"--id/-i"}, nil},
	{"snapshot_modify_snapshot", "snapshot modify", []string{"--id/-i"}, map[string]string{"--expiration": "--expires", "-e": "--expires", "--force": "", "-f": ""}},
	{"snapshot_lock_snapshot", "snapshot lock", []string{"--id/-i", "--lock-key/-k"}, map[string]string{"--force": "", "-f": ""}},
	{"snapshot_list_policies", "snapshot policy list", nil, nil}, {"snapshot_get_policy", "snapshot policy show", []string{"--id/-i"}, nil},
	{"snapshot_create_policy hourly_or_less", "snapshot policy add", []string{"--name/-n", "--path/--file-id"}, policyFlagNames},
	{"snapshot_create_policy daily", "snapshot policy add", []string{"--name/-n", "--path/--file-id"}, policyFlagNames},
	{"snapshot_create_policy monthly", "snapshot policy add", []string{"--name/-n", "--path/--file-id"}, monthlyFlagNames},
	{"snapshot_modify_policy modify_non_schedule_fields", "snapshot policy modify", []string{"--id/-i"}, renamed(policyFlagNames)},
	{"snapshot_modify_policy change_to_hourly_or_less", "snapshot policy modify", []string{"--id/-i"}, renamed(policyFlagNames)},
	{"snapshot_modify_policy change_to_daily", "snapshot policy modify", []string{"--id/-i"}, renamed(policyFlagNames)},
	{"snapshot_modify_policy change_to_monthly", "snapshot policy modify", []string{"--id/-i"}, renamed(monthlyFlagNames)},
	{"fs_modify_acl add_entry", "fs acl add", []string{"--path/--id"}, map[string]string{
		"--trustee": "--who", "-t": "--who", "-y": "--type", "--rights": "--rights|rights", "-r": "--rights|rights", "--flags": "--flags|words", "-f": "--flags|words", "--insert-after": "--after"}},
	{"fs_modify_acl remove_entry", "fs acl rm", []string{"--path/--id"}, map[string]string{
		"--trustee": "--who", "-t": "--who", "-y": "--type", "--rights": "--rights|rights", "-r": "--rights|rights", "--flags": "--flags|words", "-f": "--flags|words",
		"-p": "--position", "--all-matching": "--all", "-a": "--all", "-d": "--dry-run"}},
	{"fs_modify_acl modify_entry", "fs acl modify", []string{"--path/--id"}, map[string]string{
		"--old-trustee": "--old-who", "--old-rights": "--old-rights|rights", "--old-flags": "--old-flags|words",
		"--new-trustee": "--who", "--new-type": "--type", "--new-rights": "--rights|rights", "--new-flags": "--flags|words",
		"-p": "--position", "--all-matching": "--all", "-a": "--all", "-d": "--dry-run"}},
	{"fs_modify_acl set_posix_special_permissions", "fs acl special", []string{"--path/--id"}, map[string]string{"--permissions": "--bits|words", "-p": "--bits|words"}},
	{"s3_add_bucket", "s3 bucket add", []string{"--name", "--fs-path"}, map[string]string{"--create-fs-path": "--create-directory", "--enable-object-lock": "--object-lock"}},
	{"s3_delete_bucket", "s3 bucket delete", []string{"--name"}, map[string]string{"--delete-root-dir": "--directory"}},
	{"s3_modify_bucket", "s3 bucket modify", []string{"--name"}, map[string]string{"--enable-versioning": "--versioning=Enabled", "--suspend-versioning": "--versioning=Suspended", "--enable-object-lock": "--object-lock",
		"--enable-object-lock-without-retention": "--object-lock", "--enable-object-lock-with-retention-days": "--default-retention|+days", "--enable-object-lock-with-retention-years": "--default-retention|+years"}},
	{"s3_get_bucket_policy", "s3 policy show", []string{"--bucket"}, nil}, {"s3_delete_bucket_policy", "s3 policy delete", []string{"--bucket"}, nil},
	{"s3_set_bucket_policy", "s3 policy set", []string{"--bucket", "--file"}, nil},
	{"s3_list_uploads", "s3 upload list", []string{"--bucket"}, nil}, {"s3_abort_upload", "s3 upload abort", []string{"--bucket", "--upload-id"}, nil},
	{"snapshot_delete_policy", "snapshot policy rm", []string{"--id/-i"}, nil},
	{"quota_list_quotas", "quota list", nil, map[string]string{"--page-size": "|drop"}}, {"quota_get_quota", "quota show", []string{"--path/--id"}, nil},
	{"quota_create_quota", "quota set", []string{"--path/--id", "--limit"}, nil}, {"quota_update_quota", "quota set", []string{"--path/--id", "--limit"}, nil},
	{"quota_delete_quota", "quota rm", []string{"--path/--id"}, nil},
	{"nfs_list_exports", "nfs export list", nil, nil}, {"nfs_get_export", "nfs export show", []string{"--id/--export-id/--export-path"}, nil},
	{"nfs_delete_export", "nfs export delete", []string{"--id/--export-id/--export-path"}, nil}, {"nfs_get_settings", "nfs settings show", nil, nil},
	{"nfs_add_export", "nfs export add", []string{"--export-path", "--fs-path"}, exportFlagNames("")},
	{"smb_list_shares", "smb share list", nil, map[string]string{"--populate-trustee-names": ""}}, {"smb_list_share", "smb share show", []string{"--id/--name"}, nil},
	{"smb_delete_share", "smb share delete", []string{"--id/--name"}, nil}, {"smb_get_settings", "smb settings show", nil, nil},
	{"smb_add_share", "smb share add", []string{"--name", "--fs-path"}, shareFlagNames("")},
	{"smb_mod_share", "smb share modify", []string{"--id/--name"}, shareFlagNames("--name")},
	{"nfs_mod_export", "nfs export modify", []string{"--id/--export-id/--export-path"}, exportFlagNames("--export-path")},
	{"smb_list_sessions", "smb session list", nil, map[string]string{"--page-size": "|drop"}}, {"smb_list_file_handles", "smb file list", nil, map[string]string{"--page-size": "|drop", "--resolve-paths": "", "-p": ""}},
	{"ftp_get_status", "ftp show", nil, nil}, {"s3_get_settings", "s3 show", nil, nil}, {"s3_list_buckets", "s3 bucket list", nil, nil},
	{"s3_list_access_keys", "s3 access-key list", nil, nil},
	{"auth_list_users", "user list", nil, nil}, {"auth_list_user", "user show", []string{"--id/--name"}, nil}, {"auth_delete_user", "user rm", []string{"--id/--name"}, nil},
	{"auth_add_user", "user add", []string{"--name/-n"}, map[string]string{"--home-directory": "--home", "-p": "--password"}},
	{"auth_mod_user", "user modify", []string{"--id"}, map[string]string{"--home-directory": "--home"}}, {"auth_list_groups", "group list", nil, nil}, {"auth_list_group", "group show", []string{"--id/--name"}, nil},
	{"auth_add_group", "group add", []string{"--name/-n"}, nil}, {"auth_delete_group", "group rm", []string{"--id/--name"}, nil},
	{"auth_find_identity", "identity find", []string{"*"}, identityFlagNames}, {"auth_expand_identity", "identity expand", []string{"*"}, identityFlagNames},
	{"auth_list_roles", "role list", nil, nil}, {"auth_list_role", "role show", []string{"--role/-r"}, nil}, {"auth_list_privileges --role", "role show", []string{"--role/-r"}, verbose}, {"auth_list_privileges -r", "role show", []string{"--role/-r"}, verbose}, {"auth_list_privileges", "role privileges", nil, verbose},
	{"auth_delete_role", "role rm", []string{"--role/-r"}, nil}, {"auth_assign_role", "role assign", []string{"--role/-r", "--trustee/-t"}, nil}, {"auth_unassign_role", "role unassign", []string{"--role/-r", "--trustee/-t"}, nil},
	{"auth_list_access_tokens", "access-token list", nil, nil},
	{"audit_get_syslog_config", "audit show", nil, nil}, {"audit_get_syslog_status", "audit show", nil, nil},
	{"time_get", "time show", nil, nil}, {"time_status", "time show", nil, nil}, {"time_list_timezones", "time zones", nil, nil},
	{"dns_get_lookup_overrides", "dns show", nil, nil}, {"dns_clear_cache", "dns clear-cache", nil, nil},
	{"dns_resolve_hostnames", "dns resolve", []string{"--hostnames/--hosts"}, nil}, {"dns_resolve_ips", "dns resolve", []string{"--ips"}, nil},
	{"ssl_modify_certificate", "ssl set-certificate", []string{"--certificate/-c", "--private-key/-k"}, nil}, {"ssl_get_ca_certificate", "ssl ca show", nil, nil},
	{"ssl_modify_ca_certificate", "ssl ca set", []string{"--certificate/-c"}, nil}, {"ssl_delete_ca_certificate", "ssl ca rm", nil, nil},
	{"web_ui_get_settings", "web show", nil, map[string]string{"--inactivity-timeout": "", "--login-banner": ""}}, {"network_list_interfaces", "network interfaces", nil, nil}, {"network_list_connections", "network connections", nil, nil},
	{"current_activity_get", "analytics activity", nil, map[string]string{"-t": "--type"}}, {"capacity_history_get", "analytics capacity", nil, nil}, {"time_series_get", "analytics series", nil, nil},
	{"audit_set_syslog_config --disable", "audit off", nil, nil}, {"audit_set_syslog_config -d", "audit off", nil, nil}, {"audit_set_syslog_config --local-enable", "audit local", nil, nil},
	{"audit_set_syslog_config --local-disable", "audit local --off", nil, nil},
	{"audit_set_syslog_config", "audit send", []string{"--server-address/-s"}, map[string]string{"--enable": "", "-e": "", "-p": "--server-port", "--csv": "--format=csv", "--json": "--format=json"}},
	{"auth_create_access_token", "access-token create", []string{"*"}, map[string]string{"--expiration-time": "--expires|one"}},
	{"auth_delete_access_token", "access-token rm", nil, nil}, {"auth_get_access_token", "access-token show", nil, nil},
	{"auth_modify_access_token --enable", "access-token enable", nil, nil}, {"auth_modify_access_token --disable", "access-token disable", nil, nil},
	{"auth_modify_access_token", "access-token modify", []string{"*"}, map[string]string{"--expiration-time": "--expires|one"}},
	{"auth_create_role", "role add", []string{"--role/-r"}, map[string]string{"-d": "--description"}},
	{"auth_modify_role", "role modify", []string{"--role/-r"}, map[string]string{"-d": "--description", "-G": "--grant|list", "-R": "--revoke|list"}},
	{"auth_mod_group", "group modify", []string{"--id"}, nil}, {"auth_set_password", "user set-password", []string{"--id"}, map[string]string{"-p": "--password"}},
	{"dns_modify_system_config", "dns modify", nil, map[string]string{"--dns-servers": "--server|list", "--clear-dns-servers": "--server=", "--dns-search-domains": "--search|list", "--clear-dns-search-domains": "--search="}},
	{"dns_set_lookup_overrides", "dns override load", []string{"--file"}, map[string]string{"--stdin": ""}},
	{"fs_create_symlink", "fs ln --symbolic", []string{"--target", "--path/--id", "&--name"}, nil},
	{"fs_file_modify_lock", "fs lock", []string{"--path/--id"}, map[string]string{"--enable-legal-hold": "--legal-hold=on", "--disable-legal-hold": "--legal-hold=off",
		"--retention-period": "--until", "--retention-days": "--until|in days", "--retention-years": "--until|in years"}},
	{"fs_file_set_lock", "fs lock", []string{"--path/--id"}, map[string]string{"--legal-hold": "--legal-hold=on",
		"--retention-period": "--until", "--days": "--until|in days", "--years": "--until|in years"}},
	{"fs_file_set_attr", "fs set", []string{"--path/--id"}, map[string]string{"--owner-local": "--owner", "--owner-uid": "--owner", "--group-local": "--group", "--group-gid": "--group"}},
	{"fs_file_set_smb_attrs", "fs set", []string{"--path/--id"}, map[string]string{"--archive": "--archive|bool", "--compressed": "--compressed|bool", "--hidden": "--hidden|bool",
		"--not-content-indexed": "--not-content-indexed|bool", "--read-only": "--read-only|bool", "--system": "--system|bool", "--temporary": "--temporary|bool", "--offline": "--offline|bool"}},
	{"fs_list_lock_waiters_by_client", "nfs lock list", nil, lockFlagNames}, {"fs_list_lock_waiters_by_file", "nfs lock list", nil, lockFlagNames},
	{"fs_list_locks share-mode", "smb lock share-modes", nil, map[string]string{"--path": "--file", "--id": "--file", "--ip": "--address", "--protocol": "|drop", "--lock-type": "", "--no-resolve": "", "--sort": "|drop"}},
	{"fs_list_locks smb", "smb lock list", nil, map[string]string{"--path": "--file", "--id": "--file", "--ip": "--address", "--protocol": "", "--lock-type": "|drop", "--no-resolve": "", "--sort": "|drop"}},
	{"fs_list_locks nlm", "nfs lock list", nil, map[string]string{"--path": "--file", "--id": "--file", "--ip": "--address", "--hostname": "--client", "--protocol": "", "--lock-type": "|drop", "--no-resolve": "", "--sort": "|drop"}},
	{"fs_release_nlm_lock", "nfs lock release", nil, map[string]string{"--path": "--file", "--id": "--file", "--owner-id": "--owner", "--force": ""}},
	{"fs_release_nlm_locks_by_client", "nfs lock release", nil, map[string]string{"--name": "--client", "--force": ""}},
	{"fs_remove_stream", "fs stream rm", []string{"--path/--id", "--stream-id/--stream-name"}, nil},
	{"fs_security_add_key", "snapshot key add", []string{"--name", "--private-key-file"}, nil},
	{"fs_security_modify_key", "snapshot key modify", []string{"--key/-k"}, map[string]string{"--new-name": "--name", "--enable": "--disabled=false", "--disable": "--disabled=true"}},
	{"fs_security_replace_key", "snapshot key replace", []string{"--key/-k", "--old-private-key-file", "--replacement-private-key-file"}, nil},
	{"fs_set_atime_settings --granularity", "fs settings modify", nil, map[string]string{"--granularity": "--atime|dashes", "--enable": ""}},
	{"fs_set_atime_settings -g", "fs settings modify", nil, map[string]string{"-g": "--atime|dashes", "--enable": "", "-e": ""}},
	{"fs_set_atime_settings", "fs settings modify", nil, map[string]string{"--enable": "--atime=hour", "-e": "--atime=hour", "--disable": "--atime=off", "-d": "--atime=off"}},
	{"fs_set_notify_settings", "fs settings modify", nil, map[string]string{"--recursive-mode": "--notify|dashes"}},
	{"fs_set_permissions_settings NATIVE", "fs settings modify --permissions=native", nil, nil},
	{"fs_set_permissions_settings CROSS_PROTOCOL", "fs settings modify --permissions=cross-protocol", nil, nil},
	{"ftp_modify_settings", "ftp modify", nil, map[string]string{"--enabled": "--enabled|bool", "--check-remote-host": "--check-remote-host|bool", "--log-operations": "--log-operations|bool",
		"--chroot-users": "--chroot-users|bool", "--allow-unencrypted-connections": "--allow-unencrypted|bool", "--expand-wildcards": "--expand-wildcards|bool",
		"--anonymous-user-as-local-user": "--anonymous-user", "--anonymous-user-none": "--anonymous-user="}},
	{"identity_attributes_get", "identity home", nil, nil}, {"identity_attributes_set", "identity home", []string{"*", "--home-directory"}, nil},
	{"metrics_get", "raw GET /v2/metrics/endpoints/default/data", nil, nil}, {"snapshot_get_total_used_capacity", "raw GET /v1/snapshots/total-used-capacity", nil, nil}, {"checksumming_get_status", "raw GET /v1/checksumming/status", nil, nil},
	{"network_get_interface", "network interfaces", nil, map[string]string{"--interface-id": "|drop"}},
	{"network_get_network", "network list", []string{"--interface-id"}, map[string]string{"--network-id": "|drop"}},
	{"network_poll", "network status", []string{"--interface-id"}, map[string]string{"--node-id": "|drop"}},
	{"nfs_modify_settings", "nfs settings modify", nil, map[string]string{"--enable-v4": "--v4=true", "--disable-v4": "--v4=false", "--enable-krb5": "--krb5=true", "--disable-krb5": "--krb5=false",
		"--enable-krb5p": "--krb5p=true", "--disable-krb5p": "--krb5p=false", "--enable-krb5i": "--krb5i=true", "--disable-krb5i": "--krb5i=false",
		"--enable-auth-sys": "--auth-sys=true", "--disable-auth-sys": "--auth-sys=false"}},
	{"nfs_mod_export_host_access add_entry", "nfs export rule add", []string{"--id/--export-id/--export-path"}, hostAccessFlagNames(map[string]string{"--insert-after": "--after", "-a": "--after"})},
	{"nfs_mod_export_host_access modify_entry", "nfs export rule modify", []string{"--id/--export-id/--export-path", "--position/-p"}, hostAccessFlagNames(nil)},
	{"nfs_mod_export_host_access remove_entry", "nfs export rule rm", []string{"--id/--export-id/--export-path", "--position/-p"}, nil},
	{"s3_bucket_policy_explain_access", "s3 policy explain", []string{"--bucket", "*"}, map[string]string{"--anonymous": "", "--auth-id": "|auth_id:"}},
	{"s3_create_access_key", "s3 access-key create", []string{"*"}, map[string]string{"--auth-id": "|auth_id:"}}, {"s3_delete_access_key", "s3 access-key rm", []string{"--id"}, nil},
	{"s3_get_bucket", "s3 bucket show", []string{"--name"}, nil},
	{"s3_modify_bucket_policy append_statement", "s3 policy statement add", []string{"--bucket"}, map[string]string{"--type": "--effect", "--principals": "--principal", "--actions": "--action"}},
	{"s3_modify_bucket_policy modify_statement", "s3 policy statement modify", []string{"--bucket", "--index"}, map[string]string{"--type": "--effect", "--new-principals": "--principal", "--new-actions": "--action"}},
	{"s3_modify_bucket_policy delete_statement", "s3 policy statement rm", []string{"--bucket", "--index"}, nil},
	{"s3_modify_settings", "s3 modify", nil, map[string]string{"--enable": "--enabled=true", "-e": "--enabled=true", "--disable": "--enabled=false", "-d": "--enabled=false",
		"--multipart-upload-expiry-interval": "--upload-expiry", "--insecure": "--secure=false"}},
	{"smb_close_file_handle", "smb file close", []string{"--location"}, nil}, {"smb_close_sessions", "smb session close", []string{"--location"}, nil},
	{"smb_mod_share_permissions add_entry", "smb share permission add", []string{"--id/--name"}, permissionFlagNames(nil)},
	{"smb_mod_share_permissions remove_entry", "smb share permission rm", []string{"--id/--name"}, permissionFlagNames(map[string]string{"-p": "--position", "--all-matching": "--all", "-a": "--all"})},
	{"smb_mod_share_permissions modify_entry", "smb share permission modify", []string{"--id/--name"}, map[string]string{"--old-trustee": "--old-who", "--old-rights": "--old-rights|words",
		"--new-trustee": "--who", "--new-type": "--type", "--new-rights": "--rights|words", "-p": "--position", "--all-matching": "--all", "-a": "--all", "-d": "--dry-run"}},
	{"smb_mod_share_permissions replace", "smb share modify", []string{"--id/--name"}, shareFlagNames("")},
	{"smb_modify_settings", "smb settings modify", nil, map[string]string{"-e": "--encryption|dashes", "--encryption-mode": "--encryption|dashes", "-d": "--dialects|dialects", "--supported-dialects": "--dialects|dialects",
		"--hide-shares-from-unauthorized-hosts": "--hide-from-hosts|bool", "--hide-shares-from-unauthorized-users": "--hide-from-users|bool",
		"--snapshot-directory-mode": "--snapshot-directories", "--bypass-traverse-checking": "--bypass-traverse-check|bool", "--signing-required": "--signing-required|bool"}},
	{"snapshot_file_diff", "snapshot file-diff", []string{"--older-snapshot/-o", "--newer-snapshot/-n", "--path/--file-id"}, map[string]string{"--page-size": "|drop"}},
	{"snapshot_get_capacity_used_per_snapshot", "snapshot capacity", []string{"--id/-i"}, nil}, {"snapshot_calculate_used_capacity", "snapshot capacity", []string{"--ids/-i"}, nil},
	{"snapshot_unlock_snapshot", "snapshot unlock", []string{"--id/-i", "--private-key-file/-k"}, nil},
	{"ssl_get_ciphers", "ssl ciphers show", nil, nil}, {"ssl_modify_ciphers", "ssl ciphers set", nil, map[string]string{"--tls12": "--tls12|list", "--tls13": "--tls13|list"}},
	{"time_set", "time modify", nil, map[string]string{"--set-use-ad": "--use-ad=true", "--unset-use-ad": "--use-ad=false", "--ntp-servers": "--server|list"}},
	{"tree_delete_restart", "fs tree-delete-restart", nil, nil},
	{"web_ui_modify_settings", "web modify", nil, map[string]string{"--inactivity-timeout": "--inactivity-timeout|+m", "--login-banner": "--login-banner-file", "--disable-inactivity-timeout": "--inactivity-timeout=never", "--disable-login-banner": "--login-banner="}},
}

// renamed adds the new name that a modification gives.
func renamed(flags map[string]string) map[string]string {
	flags = maps.Clone(flags)
	flags["-n"] = "--name"
	return flags
}

// policyFlagNames are those of snapshot policies.
var policyFlagNames = map[string]string{
	"--time-to-live": "--ttl", "-t": "--ttl", "--enabled": "--disabled=false", "-z": "--timezone", "-a": "--at",
	"--days-of-week": "--on|days", "-d": "--on|days", "--period": "--every|period", "-p": "--every|period",
	"--start-time": "--window|from", "-s": "--window|from", "--end-time": "--window|to", "-e": "--window|to",
}

// monthlyFlagNames are those of a policy by the month, where -d is another day.
var monthlyFlagNames = map[string]string{
	"--time-to-live": "--ttl", "-t": "--ttl", "--enabled": "--disabled=false", "-z": "--timezone", "-a": "--at",
	"-d": "--day-of-month", "--last-day-of-month": "--day-of-month=last", "-l": "--day-of-month=last",
}

var (
	verbose = map[string]string{"--verbose": "", "-v": ""}
	s3Space = map[string]string{"--s3": "--space=s3"}

	// identityFlagNames name an identity.
	identityFlagNames = map[string]string{"--id": "|auth_id:", "--auth-id": "|auth_id:", "--uid": "|uid:", "--gid": "|gid:", "--sid": "|sid:", "--name": "|one"}

	lockFlagNames = map[string]string{"--protocol": "|drop", "--lock-type": "|drop", "--name": "--client", "--path": "--file", "--id": "--file"}
)

// exportFlagNames are those of exports; path is our option for a new name.
func exportFlagNames(path string) map[string]string {
	flags := map[string]string{"--create-fs-path": "--create-directory", "--no-restrictions": "--host-rule=*", "--fields-to-present-as-32-bit": "--show-32-bit|but none"}
	if path != "" {
		flags["--new-export-path"] = path
	}
	return flags
}

// hostAccessFlagNames are those of rules of exports.
func hostAccessFlagNames(more map[string]string) map[string]string {
	flags := map[string]string{"--hosts": "--host-rule|list", "-o": "--host-rule|list", "--insecure": "--privileged-port=false", "--secure": "--privileged-port", "--rw": "--read-only=false", "--ro": "--read-only",
		"--no-root-squash": "--squash=none", "--root-squash": "--squash=root", "--all-squash": "--squash=all", "--anon-local": "--map-user", "--anon-uid": "--map-user", "--anon-gid": "--map-group"}
	maps.Copy(flags, more)
	return flags
}

// shareFlagNames are those of shares; name is our option for a new name.
func shareFlagNames(name string) map[string]string {
	flags := map[string]string{"--create-fs-path": "--create-directory", "--access-based-enumeration-enabled": "--access-based-enumeration|bool", "--require-encryption": "--require-encryption|bool",
		"--default-file-create-mode": "--file-mode", "--default-directory-create-mode": "--directory-mode",
		"--no-access": "--grant=", "--read-only": "--grant-read=world:Everyone", "--all-access": "--grant=world:Everyone",
		"--grant-read-access": "--grant-read|list", "--grant-read-write-access": "--grant-write|list", "--grant-all-access": "--grant|list", "--deny-access": "--deny|list",
		"--full-control-hosts": "--host|list", "--read-only-hosts": "--read-only-host|list", "--deny-hosts": "--deny-host|list", "--deny-all-hosts": "--deny-host=*"}
	if name != "" {
		flags["--new-name"] = name
	}
	return flags
}

// permissionFlagNames are those of permissions of shares.
func permissionFlagNames(more map[string]string) map[string]string {
	flags := map[string]string{"--trustee": "--who", "-t": "--who", "-y": "--type", "--rights": "--rights|words", "-r": "--rights|words", "-d": "--dry-run"}
	maps.Copy(flags, more)
	return flags
}
