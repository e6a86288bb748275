package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// alias is a command of the reference command line under its own name.
type alias struct {
	// name, and behind a space which of its parts: a word that may stand anywhere.
	name string
	// to are the words of our command.
	to string
	// args are the options whose values become arguments, in order; those with a
	// slash are one argument under either name, and one with an & is a name in the
	// directory before it.
	args []string
	// flags are options with another name here; "" drops a switch that is always
	// on, one with = has that value, and one with | has the value that a
	// conversion of that name makes.
	flags map[string]string
}

// aliases are commands of the reference command line, so that people and
// scripts that know it get along. Everything of it that is not here works
// through the reference command line itself, whose API this is.
var aliases = []alias{
	{"who_am_i", "whoami", nil, nil}, {"version", "node version", nil, nil}, {"node_state_get", "node state", nil, nil},
	{"change_password", "change-password", nil, nil},
	{"fs_get_stats", "node df", nil, nil}, {"cluster_conf", "cluster show", nil, nil}, {"set_cluster_conf", "cluster rename", []string{"--cluster-name"}, nil},
	{"nodes_list", "cluster nodes", nil, nil},
	{"fs_read_dir", "fs ls", []string{"--path/--id"}, map[string]string{"--smb-pattern": "--pattern"}}, {"fs_file_get_attr", "fs stat", []string{"--path/--id"}, nil},
	{"fs_create_dir", "fs mkdir", []string{"--path/--id", "&--name"}, nil}, {"fs_create_file", "fs create", []string{"--path/--id", "&--name"}, nil},
	{"fs_create_link", "fs ln", []string{"--target", "--path/--id", "&--name"}, nil}, {"fs_rename", "fs mv", []string{"--old-path/-o", "--path/--id/--dir-path/--dir-id", "&--name"}, map[string]string{"--clobber": "--force"}},
	{"fs_punch_hole", "fs punch", []string{"--path/--id", "--offset", "--size"}, nil}, {"fs_get_notify_settings", "fs settings show", nil, nil},
	{"snapshot_get_status", "snapshot show", []string{"--id/-i"}, nil}, {"snapshot_list_statuses", "snapshot list", nil, nil},
	{"snapshot_get_policy_status", "snapshot policy show", []string{"--id/-i"}, nil}, {"snapshot_list_policy_statuses", "snapshot policy list", nil, nil},
	{"snapshot_diff", "snapshot diff", []string{"--older-snapshot/-o", "--newer-snapshot/-n"}, nil}, {"auth_clear_cache", "identity clear-cache", nil, nil},
	{"fs_security_get_key_usage", "snapshot key uses", []string{"--id"}, nil}, {"network_list_networks", "network list", []string{"--interface-id"}, nil},
	{"capacity_history_files_get", "analytics largest", []string{"--timestamp"}, nil}, {"dns_get_system_config", "dns show", nil, nil},
	{"fs_delete", "fs rm", []string{"--path/--id"}, nil}, {"fs_read", "fs cat", []string{"--path/--id"}, nil},
	{"fs_write", "fs write", []string{"--path/--id", "--file"}, nil}, {"fs_copy", "fs cp", nil, nil},
	{"fs_resolve_paths", "fs path", []string{"--ids"}, nil}, {"fs_get_acl", "fs acl show", []string{"--path/--id"}, nil},
	{"fs_set_acl", "fs acl set", []string{"--path/--id", "--file"}, nil}, {"fs_acl_explain_rights", "fs acl explain", []string{"--path/--id", "--user/-u"}, map[string]string{"--primary-group": "--group", "-p": "--group", "--groups": "--also|list", "-g": "--also|list"}},
	{"fs_acl_explain_posix_mode", "fs acl explain-mode", []string{"--path/--id"}, nil}, {"fs_acl_explain_chmod", "fs acl explain-chmod", []string{"--path/--id", "--mode"}, nil},
	{"fs_list_named_streams", "fs stream list", []string{"--path/--id"}, nil}, {"fs_read_dir_aggregates", "fs aggregates", []string{"--path/--id"}, nil},
	{"fs_notify", "fs watch", []string{"--path/--id"}, nil}, {"fs_get_permissions_settings", "fs settings show", nil, nil}, {"fs_get_atime_settings", "fs settings show", nil, nil},
	{"fs_file_samples", "fs sample", []string{"--path/--id"}, map[string]string{"--sample-by": "--by"}},
	{"fs_list_user_metadata", "fs metadata list", []string{"--path/--id"}, nil}, {"fs_set_user_metadata", "fs metadata set", []string{"--path/--id", "--key", "--value"}, nil},
	{"fs_get_user_metadata", "fs metadata get", []string{"--path/--id", "--key"}, nil}, {"fs_delete_user_metadata", "fs metadata rm", []string{"--path/--id", "--key"}, nil},
	{"fs_security_list_keys", "snapshot key list", nil, nil}, {"fs_security_get_key", "snapshot key show", []string{"--id"}, nil}, {"fs_security_delete_key", "snapshot key rm", []string{"--id"}, nil},
	{"tree_delete_create", "fs tree-delete", nil, map[string]string{"--force": "--yes"}}, {"tree_delete_list", "fs tree-delete-status", nil, nil},
	{"tree_delete_get", "fs tree-delete-status", nil, nil}, {"tree_delete_cancel", "fs tree-delete-cancel", nil, nil},
	{"snapshot_create_snapshot", "snapshot create", []string{"--path/--id"}, map[string]string{"-n": "--name", "--time-to-live": "--ttl", "-t": "--ttl", "--expiration": "--expires", "-e": "--expires"}}, {"snapshot_list_snapshots", "snapshot list", nil, nil},
	{"snapshot_get_snapshot", "snapshot show", []string{"--id/-i"}, nil}, {"snapshot_delete_snapshot", "snapshot delete", []string{"--id/-i"}, nil},
	{"snapshot_modify_snapshot", "snapshot modify", []string{"--id/-i"}, map[string]string{"--expiration": "--expires", "-e": "--expires"}},
	{"snapshot_lock_snapshot", "snapshot lock", []string{"--id/-i", "--lock-key/-k"}, nil},
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
	{"s3_modify_bucket", "s3 bucket modify", []string{"--name"}, map[string]string{"--enable-versioning": "--versioning=Enabled", "--suspend-versioning": "--versioning=Suspended", "--enable-object-lock": "--object-lock"}},
	{"s3_get_bucket_policy", "s3 policy show", []string{"--bucket"}, nil}, {"s3_delete_bucket_policy", "s3 policy delete", []string{"--bucket"}, nil},
	{"s3_set_bucket_policy", "s3 policy set", []string{"--bucket", "--file"}, nil},
	{"s3_list_uploads", "s3 upload list", []string{"--bucket"}, nil}, {"s3_abort_upload", "s3 upload abort", []string{"--bucket", "--upload-id"}, nil},
	{"snapshot_delete_policy", "snapshot policy rm", []string{"--id/-i"}, nil},
	{"quota_list_quotas", "quota list", nil, nil}, {"quota_get_quota", "quota show", []string{"--path/--id"}, nil},
	{"quota_create_quota", "quota set", []string{"--path/--id", "--limit"}, nil}, {"quota_update_quota", "quota set", []string{"--path/--id", "--limit"}, nil},
	{"quota_delete_quota", "quota rm", []string{"--path/--id"}, nil},
	{"nfs_list_exports", "nfs export list", nil, nil}, {"nfs_get_export", "nfs export show", []string{"--id/--export-path"}, nil},
	{"nfs_delete_export", "nfs export delete", []string{"--id/--export-path"}, nil}, {"nfs_get_settings", "nfs settings show", nil, nil},
	{"nfs_add_export", "nfs export add", []string{"--export-path", "--fs-path"}, map[string]string{"--create-fs-path": "--create-directory"}},
	{"smb_list_shares", "smb share list", nil, nil}, {"smb_list_share", "smb share show", []string{"--id/--name"}, nil},
	{"smb_delete_share", "smb share delete", []string{"--id/--name"}, nil}, {"smb_get_settings", "smb settings show", nil, nil},
	{"smb_add_share", "smb share add", []string{"--name", "--fs-path"}, map[string]string{"--create-fs-path": "--create-directory", "--access-based-enumeration-enabled": "--access-based-enumeration"}},
	{"smb_mod_share", "smb share modify", []string{"--id/--name"}, map[string]string{"--new-name": "--name", "--create-fs-path": "--create-directory", "--access-based-enumeration-enabled": "--access-based-enumeration"}},
	{"nfs_mod_export", "nfs export modify", []string{"--id/--export-path"}, map[string]string{"--new-export-path": "--export-path", "--create-fs-path": "--create-directory"}},
	{"smb_list_sessions", "smb session list", nil, nil}, {"smb_list_file_handles", "smb file list", nil, nil},
	{"ftp_get_status", "ftp show", nil, nil}, {"s3_get_settings", "s3 show", nil, nil}, {"s3_list_buckets", "s3 bucket list", nil, nil},
	{"s3_list_access_keys", "s3 access-key list", nil, nil},
	{"auth_list_users", "user list", nil, nil}, {"auth_list_user", "user show", []string{"--id/--name"}, nil}, {"auth_delete_user", "user rm", []string{"--id/--name"}, nil},
	{"auth_add_user", "user add", []string{"--name/-n"}, map[string]string{"--home-directory": "--home"}},
	{"auth_mod_user", "user modify", []string{"--id"}, map[string]string{"--home-directory": "--home"}}, {"auth_list_groups", "group list", nil, nil}, {"auth_list_group", "group show", []string{"--id/--name"}, nil},
	{"auth_add_group", "group add", []string{"--name/-n"}, nil}, {"auth_delete_group", "group rm", []string{"--id/--name"}, nil},
	{"auth_find_identity", "identity find", []string{"--id/--name/--uid/--sid"}, nil}, {"auth_expand_identity", "identity expand", []string{"--id/--name/--uid/--sid"}, nil},
	{"auth_list_roles", "role list", nil, nil}, {"auth_list_role", "role show", []string{"--role"}, nil}, {"auth_list_privileges", "role privileges", nil, nil},
	{"auth_delete_role", "role rm", []string{"--role"}, nil}, {"auth_assign_role", "role assign", []string{"--role", "--trustee"}, nil}, {"auth_unassign_role", "role unassign", []string{"--role", "--trustee"}, nil},
	{"auth_list_access_tokens", "access-token list", nil, nil},
	{"audit_get_syslog_config", "audit show", nil, nil}, {"audit_get_syslog_status", "audit show", nil, nil},
	{"time_get", "time show", nil, nil}, {"time_status", "time show", nil, nil}, {"time_list_timezones", "time zones", nil, nil},
	{"dns_get_lookup_overrides", "dns show", nil, nil}, {"dns_clear_cache", "dns clear-cache", nil, nil},
	{"dns_resolve_hostnames", "dns resolve", []string{"--hostnames/--hosts"}, nil}, {"dns_resolve_ips", "dns resolve", []string{"--ips"}, nil},
	{"ssl_modify_certificate", "ssl set-certificate", []string{"--certificate/-c", "--private-key/-k"}, nil}, {"ssl_get_ca_certificate", "ssl ca show", nil, nil},
	{"ssl_modify_ca_certificate", "ssl ca set", []string{"--certificate/-c"}, nil}, {"ssl_delete_ca_certificate", "ssl ca rm", nil, nil},
	{"web_ui_get_settings", "web show", nil, nil}, {"network_list_interfaces", "network interfaces", nil, nil}, {"network_list_connections", "network connections", nil, nil},
	{"current_activity_get", "analytics activity", nil, nil}, {"capacity_history_get", "analytics capacity", nil, nil}, {"time_series_get", "analytics series", nil, nil},
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

// aliasCommands makes hidden commands of the aliases.
func (a *app) aliasCommands(have []*cobra.Command) []*cobra.Command {
	taken := map[string]bool{}
	for _, c := range have {
		taken[c.Name()] = true
	}
	var out []*cobra.Command
	for i := range aliases {
		name, _, _ := strings.Cut(aliases[i].name, " ")
		if taken[name] {
			continue
		}
		taken[name] = true
		out = append(out, &cobra.Command{
			Use: name, Short: "The same as " + aliases[i].to, Hidden: true, DisableFlagParsing: true,
			RunE: func(c *cobra.Command, args []string) error {
				x, args, err := findAlias(name, args)
				if err != nil {
					return err
				}
				argv, err := x.translate(args)
				if err != nil {
					return err
				}
				root := c.Root()
				root.SetArgs(argv)
				return root.ExecuteContext(c.Context())
			},
		})
	}
	return out
}

// findAlias finds which part of a command is meant, and answers the arguments
// without the word that says so.
func findAlias(name string, args []string) (*alias, []string, error) {
	var parts []string
	for i := range aliases {
		x := &aliases[i]
		command, part, _ := strings.Cut(x.name, " ")
		if command != name {
			continue
		}
		if part == "" {
			return x, args, nil
		}
		// The word of a part is no value that an option would take here.
		if at := slices.Index(args, part); at >= 0 {
			return x, slices.Delete(slices.Clone(args), at, at+1), nil
		}
		parts = append(parts, part)
	}
	return nil, nil, fmt.Errorf("%s wants one of: %s", name, strings.Join(parts, ", "))
}

// translate makes the arguments of our command.
func (x *alias) translate(args []string) ([]string, error) {
	out := strings.Fields(x.to)
	values := make([][]string, len(x.args))
	var rest []string
	var window map[string]string
	for i := 0; i < len(args); i++ {
		name, value, joined := strings.Cut(args[i], "=")
		if !strings.HasPrefix(name, "-") {
			rest = append(rest, args[i])
			continue
		}
		if to, ok := x.flags[name]; ok {
			to, conversion, _ := strings.Cut(to, "|")
			switch {
			case conversion != "":
				given := []string{value}
				if !joined {
					given = nil
					for i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
						i++
						given = append(given, args[i])
					}
				}
				if len(given) == 0 {
					return nil, fmt.Errorf("%s: %s wants a value; the same is: manifold %s", x.name, name, x.to)
				}
				v, err := conversions[conversion](given)
				if err != nil {
					return nil, fmt.Errorf("%s: %s: %w", x.name, name, err)
				}
				switch conversion {
				case "from", "to":
					if window == nil {
						window = map[string]string{"from": "00:00", "to": "23:59"}
					}
					window[conversion] = v
				default:
					if v != "" || conversion == "words" {
						rest = append(rest, to+"="+v)
					}
				}
			case strings.Contains(to, "="):
				rest = append(rest, to)
			case to != "":
				rest = append(rest, strings.Replace(args[i], name, to, 1))
			}
			continue
		}
		at := x.position(name)
		switch {
		case at < 0:
			rest = append(rest, args[i])
			continue
		case joined:
			values[at] = []string{value}
			continue
		}
		// A list goes up to the next option.
		for i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
			i++
			values[at] = append(values[at], args[i])
			if at < len(x.args)-1 {
				break
			}
		}
		if values[at] == nil {
			return nil, fmt.Errorf("%s: %s wants a value; the same is: manifold %s", x.name, name, x.to)
		}
	}
	if window != nil {
		rest = append(rest, "--window="+window["from"]+"-"+window["to"])
	}
	for at, v := range values {
		if strings.HasPrefix(x.args[at], "&") {
			if v == nil || values[at-1] == nil {
				return nil, fmt.Errorf("%s: %s and %s belong together; the same is: manifold %s", x.name, x.args[at-1], x.args[at][1:], x.to)
			}
			out[len(out)-1] = strings.TrimSuffix(out[len(out)-1], "/") + "/" + v[0]
			continue
		}
		if v == nil && at < len(values)-1 && values[at+1] != nil {
			return nil, fmt.Errorf("%s: %s is missing; the same is: manifold %s", x.name, x.args[at], x.to)
		}
		out = append(out, v...)
	}
	return append(out, rest...), nil
}

// position of an option among the arguments, -1 if it is none.
func (x *alias) position(option string) int {
	for i, names := range x.args {
		for n := range strings.SplitSeq(strings.TrimPrefix(names, "&"), "/") {
			if n == option {
				return i
			}
		}
	}
	return -1
}
