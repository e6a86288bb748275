package peers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/netns"
)

// Peer is a running server of files in a namespace of its own.
type Peer struct {
	Net *netns.Namespace
	p   *netns.Process
}

// Pid is the server's process, which may have children.
func (p *Peer) Pid() int { return p.p.Pid() }

// StartVsftpd serves dir by FTP and explicit TLS on port 21 to anonymous users,
// who may do everything in dir/pub.
func StartVsftpd(tb testing.TB, dir string) *Peer {
	tb.Helper()
	harness.Require(tb, "ip", "vsftpd", "openssl")
	state := tb.TempDir()
	sh(tb, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=peer",
		"-keyout", filepath.Join(state, "key.pem"), "-out", filepath.Join(state, "cert.pem"))
	empty := filepath.Join(state, "empty")
	if err := os.Mkdir(empty, 0o755); err != nil {
		tb.Fatal(err)
	}
	openUp(tb, dir)
	pub := filepath.Join(dir, "pub")
	if err := os.MkdirAll(pub, 0o777); err != nil {
		tb.Fatal(err)
	}
	sh(tb, "chown", "daemon", pub) // a user whose home exists, which vsftpd wants
	conf := filepath.Join(state, "vsftpd.conf")
	text := fmt.Sprintf(`listen=YES
background=NO
anonymous_enable=YES
local_enable=NO
no_anon_password=YES
write_enable=YES
anon_upload_enable=YES
anon_mkdir_write_enable=YES
anon_other_write_enable=YES
anon_world_readable_only=NO
anon_umask=022
ftp_username=daemon
nopriv_user=nobody
anon_root=%s
secure_chroot_dir=%s
pasv_min_port=32768
pasv_max_port=60999
seccomp_sandbox=NO
isolate_network=NO
xferlog_enable=NO
ssl_enable=YES
allow_anon_ssl=YES
force_local_data_ssl=NO
force_local_logins_ssl=NO
require_ssl_reuse=NO
ssl_ciphers=HIGH
rsa_cert_file=%s
rsa_private_key_file=%s
`, dir, empty, filepath.Join(state, "cert.pem"), filepath.Join(state, "key.pem"))
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return start(tb, "21", exec.Command("vsftpd", conf))
}

// StartSSHD serves the machine's files by OpenSSH's sftp-server on port 22, to
// root with the key in the file pub.
func StartSSHD(tb testing.TB, pub string) *Peer {
	tb.Helper()
	const sshd, sftp = "/usr/sbin/sshd", "/usr/lib/openssh/sftp-server"
	harness.Require(tb, "ip", sshd, sftp, "ssh-keygen")
	state := tb.TempDir()
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		tb.Fatal(err)
	}
	host := filepath.Join(state, "host")
	sh(tb, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", host)
	conf := filepath.Join(state, "sshd_config")
	text := fmt.Sprintf("Port 22\nHostKey %s\nPidFile none\nAuthorizedKeysFile %s\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nSubsystem sftp %s\n", host, pub, sftp)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return start(tb, "22", exec.Command(sshd, "-D", "-e", "-f", conf))
}

func start(tb testing.TB, port string, cmd *exec.Cmd) *Peer {
	tb.Helper()
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	p := &Peer{Net: netns.New(tb)}
	var err error
	if p.p, err = p.Net.Start(cmd); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.p.Kill)
	if err := harness.Answers(tb.Context(), p.Net, p.p, "127.0.0.1:"+port, 20*time.Second); err != nil {
		p.p.Kill() // only then is its output complete
		tb.Fatalf("%s: %v\n%s", cmd.Path, err, &out)
	}
	return p
}

// openUp lets everybody pass through the folders above dir: test folders are
// private, and servers give up root.
func openUp(tb testing.TB, dir string) {
	tb.Helper()
	for d := dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			tb.Fatal(err)
		}
	}
}

func sh(tb testing.TB, name string, args ...string) {
	tb.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		tb.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}
