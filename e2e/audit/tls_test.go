package audit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"manifold/e2e/harness"
)

// certificate makes one for 127.0.0.1 that is its own authority.
func certificate(t *testing.T) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "syslog"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	sec, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: sec})
}

// Records go over TLS to a server that proves its name, and to no other; JSON
// shows what was before and after.
func TestTLS(t *testing.T) {
	s := harness.StartServer(t)
	dir := t.TempDir()
	cert, key := certificate(t)
	for name, b := range map[string][]byte{"cert.pem": cert, "key.pem": key} {
		if err := os.WriteFile(dir+"/"+name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	logd := newRsyslog(t, s.Net, dir,
		fmt.Sprintf(` defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile=%[1]q defaultNetstreamDriverCertFile=%[1]q defaultNetstreamDriverKeyFile=%[2]q`, dir+"/cert.pem", dir+"/key.pem"),
		` StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="anon"`)
	logd.start()
	rest := configure(t, s, map[string]any{"tls_enabled": true, "local_enabled": true, "format": "json"})
	waitStatus(t, rest, "AUDIT_LOG_DISCONNECTED", "certificate") // it is not trusted
	rest.Must(t, "PUT", "/v2/cluster/settings/ssl/ca-certificate", map[string]string{"ca_certificate": string(cert)}, nil)
	waitStatus(t, rest, "AUDIT_LOG_CONNECTED")
	r := &run{t: t, s: s}
	r.connect()
	for i := range 17 { // one of each kind
		r.one(i)
	}
	rs := logd.wait("fs_write_metadata")
	var last struct {
		User    map[string]string `json:"user_id"`
		Details struct {
			Path          string
			Before, After struct{ Mode string }
		}
	}
	for i, x := range rs {
		if x.seq != uint64(i+1) {
			t.Fatalf("%d came where %d was due", x.seq, i+1)
		}
		if strings.Contains(x.text, "fs_write_metadata") {
			if err := json.Unmarshal([]byte(x.text), &last); err != nil {
				t.Fatal(err)
			}
		}
	}
	if d := last.Details; last.User["name"] != "0" || d.Before.Mode == d.After.Mode || d.After.Mode != "0640" {
		t.Errorf("%+v", last)
	}
	b, err := os.ReadFile(s.Data + "/audit/audit.log")
	if err != nil || !strings.Contains(string(b), "fs_create_directory") {
		t.Errorf("%v: %s", err, b)
	}
}
