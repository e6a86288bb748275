package peers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"manifold/e2e/harness"
)

// SambaPassword is root's at a Samba that StartSamba has started.
const SambaPassword = "Peer-Pass-1"

// StartSamba serves dir as the share Files on port 445, to root, with streams,
// attributes and descriptors kept as they are with us. It makes data durable when
// a client asks for that, and with always after every write.
func StartSamba(tb testing.TB, dir string, always bool) *Peer {
	tb.Helper()
	harness.Require(tb, "ip", "smbd", "smbpasswd")
	state := tb.TempDir()
	conf := filepath.Join(state, "smb.conf")
	sync := "no"
	if always {
		sync = "yes"
	}
	text := fmt.Sprintf(`[global]
server role = standalone server
passdb backend = tdbsam:%[1]s/passdb.tdb
private dir = %[1]s
lock directory = %[1]s
state directory = %[1]s
cache directory = %[1]s
pid directory = %[1]s
ncalrpc dir = %[1]s/ncalrpc
winbindd socket directory = %[1]s/winbindd
log file = %[1]s/log
disable netbios = yes
disable spoolss = yes
load printers = no
printcap name = /dev/null
invalid users =
ea support = yes
store dos attributes = yes
map archive = no
vfs objects = acl_xattr streams_xattr
acl_xattr:ignore system acls = yes
acl_xattr:default acl style = windows
[Files]
path = %[2]s
read only = no
strict sync = yes
sync always = %[3]s
`, state, dir, sync)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	add := exec.Command("smbpasswd", "-c", conf, "-s", "-a", "root")
	add.Stdin = strings.NewReader(SambaPassword + "\n" + SambaPassword + "\n")
	if out, err := add.CombinedOutput(); err != nil {
		tb.Fatalf("smbpasswd: %v\n%s", err, out)
	}
	return start(tb, "445", exec.Command("smbd", "-F", "--no-process-group", "-s", conf))
}
