package audit

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/netns"
	"manifold/e2e/nfsclient"
)

// Clients of every protocol leave records of what they do, of what they are
// refused, and of how they came and went.
func TestEveryProtocol(t *testing.T) {
	harness.Require(t, "smbclient", "curl", "sshpass", "sftp")
	s := harness.StartServer(t)
	dir := t.TempDir()
	conf := "[global]\n private dir = " + dir + "\n lock directory = " + dir + "\n"
	if err := os.WriteFile(filepath.Join(dir, "smb.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "up"), []byte("some data"), 0o600); err != nil {
		t.Fatal(err)
	}
	rest := s.Login(t)
	rest.Must(t, "PUT", "/v1/audit/syslog/config", map[string]any{"enabled": false, "server_address": "", "server_port": 514, "local_enabled": true}, nil)
	rest.Must(t, "PATCH", "/v0/ftp/settings", map[string]any{"enabled": true}, nil)
	rest.Must(t, "PATCH", "/v1/s3/settings", map[string]any{"enabled": true}, nil)
	var key struct {
		ID     string `json:"access_key_id"`
		Secret string `json:"secret_access_key"`
	}
	rest.Must(t, "POST", "/v1/s3/access-keys/", map[string]any{"user": map[string]string{"name": "admin"}}, &key)
	if st, err := rest.Try(t.Context(), "POST", "/v1/session/login", map[string]string{"username": "admin", "password": "wrong"}, nil); st != 401 {
		t.Fatalf("a wrong password: %d %v", st, err)
	}

	c := s.NFS(t, nfsclient.Cred{})
	ctx := t.Context()
	root, err := c.Mount(ctx, "/")
	if err == nil {
		_, err = c.FSStat(ctx, root)
	}
	if err == nil {
		err = c.Unmount(ctx, "/")
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Mount(ctx, "/none"); err == nil {
		t.Fatal("an export that is not there was mounted")
	}

	run := func(ok bool, name string, args ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		cmd := exec.Command(name, args...)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr, cmd.Dir = &out, &out, dir
		if err := s.Net.Run(ctx, cmd); !netns.Ran(err) || (err == nil) != ok {
			t.Errorf("%s %q: %v\n%s", name, args, err, &out)
		}
	}
	smb := func(ok bool, password, share, commands string) {
		t.Helper()
		run(ok, "smbclient", "--configfile=smb.conf", "--user=admin%"+password, "//"+netns.Server+"/"+share, "-c", commands)
	}
	smb(true, harness.Password, "Files", "put up bysmb; get bysmb down; ls; rename bysmb moved; rm moved")
	smb(false, harness.Password, "None", "ls")
	smb(false, "wrong", "Files", "ls")
	ftp := func(ok bool, password string, args ...string) {
		t.Helper()
		run(ok, "curl", append([]string{"-sS", "-k", "--ssl-reqd", "--max-time", "60", "-u", "admin:" + password}, args...)...)
	}
	ftp(true, harness.Password, "-T", "up", "ftp://"+netns.Server+"/byftp")
	ftp(true, harness.Password, "-Q", "-DELE byftp", "ftp://"+netns.Server+"/")
	ftp(false, "wrong", "ftp://"+netns.Server+"/")
	ssh := func(ok bool, password, batch string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "batch"), []byte(batch), 0o600); err != nil {
			t.Fatal(err)
		}
		// Batch mode would not ask for a password, so the batch comes last.
		run(ok, "sshpass", "-p", password, "sftp", "-F", "none", "-o", "StrictHostKeyChecking=accept-new", "-o", "UserKnownHostsFile="+filepath.Join(dir, "hosts"),
			"-o", "PreferredAuthentications=password", "-o", "NumberOfPasswordPrompts=1", "-o", "BatchMode=no", "-b", "batch", "admin@"+netns.Server)
	}
	ssh(true, harness.Password, "put up bysftp\nrename bysftp bysftp2\nrm bysftp2\n")
	ssh(false, "wrong", "ls\n")
	s3 := func(ok bool, id, secret, method, path string, more ...string) {
		t.Helper()
		run(ok, "curl", append([]string{"-sS", "-k", "-f", "--max-time", "60", "--aws-sigv4", "aws:amz:us-east-1:s3", "-u", id + ":" + secret,
			"-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "-X", method, "https://" + netns.Server + ":9000" + path}, more...)...)
	}
	s3(true, key.ID, key.Secret, "PUT", "/bucket")
	s3(true, key.ID, key.Secret, "PUT", "/bucket/object", "--data-binary", "data")
	s3(true, key.ID, key.Secret, "GET", "/bucket/object")
	s3(true, key.ID, key.Secret, "DELETE", "/bucket/object")
	s3(true, key.ID, key.Secret, "DELETE", "/bucket")
	s3(false, key.ID, "wrong", "GET", "/")

	for _, want := range []string{
		"api,audit_modify_syslog_config,ok", "api,ftp_modify_settings,ok", "api,s3_modify_settings,ok", "api,s3_create_key,ok", "api,rest_login,cred",
		"nfsv3,nfs_mount,ok", "nfsv3,nfs_mount,fs_no_such_entry", "nfsv3,fs_fsstat,ok", "nfsv3,nfs_umount,ok",
		"smb,smb_login,ok", "smb,smb_login,cred", "smb,share_connect,ok", "smb,share_connect,fs_no_such_entry", "smb,share_disconnect,ok", "smb,smb_logoff,ok",
		"smb,fs_create_file,ok", "smb,fs_write_data,ok", "smb,fs_read_data,ok", "smb,fs_list_directory,ok", "smb,fs_rename,ok", "smb,fs_delete,ok",
		"ftp,ftp_login,ok", "ftp,ftp_login,cred", "ftp,fs_create_file,ok", "ftp,fs_write_data,ok", "ftp,fs_delete,ok",
		"ssh,ssh_login,ok", "ssh,ssh_login,cred", "sftp,fs_create_file,ok", "sftp,fs_rename,ok", "sftp,fs_delete,ok",
		"s3,s3_login,ok", "s3,s3_login,cred", "s3,s3_add_bucket,ok", "s3,fs_create_file,ok", "s3,fs_read_data,ok", "s3,fs_delete,ok", "s3,s3_delete_bucket,ok",
	} {
		if !harness.Within(10*time.Second, func() bool {
			b, _ := os.ReadFile(s.Data + "/audit/audit.log")
			return bytes.Contains(b, []byte(`",`+want+","))
		}) {
			t.Errorf("there is no record %s", want)
		}
	}
	b, err := os.ReadFile(s.Data + "/audit/audit.log")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range strings.Split(string(b), "\n") {
		if strings.Contains(l, harness.Password) || strings.Contains(l, key.Secret) {
			t.Errorf("a secret is in the log: %s", l)
		}
		if strings.Contains(l, `"system",smb,`) || strings.Contains(l, `"system",s3,`) {
			t.Errorf("what a client did is recorded as the system's: %s", l)
		}
	}
	if t.Failed() {
		t.Logf("%s", b)
	}
	s.Stop(t)
}
