// Package ports is the ledger of every socket of the product: each inbound and
// outbound port is one row of [Table], and nothing else in the server may open
// a socket.
//
// Invariants: a row is declared once and everything else (documentation,
// firewall rules, GET /v1/ports, conflict reports) is derived from it; a port
// that cannot be bound is reported, never skipped silently.
//
// The package must not know any room; rooms name their port by its [ID].
package ports

// ID names a port for ever: in flags, documents and listings.
type ID string

// Ports that code refers to.
const (
	CIFS        ID = "smb"
	FTP         ID = "ftp"
	FTPPassive  ID = "ftp-passive"
	FTPS        ID = "ftps"
	NFS         ID = "nfs"
	NodeToNode  ID = "cluster"
	Portal      ID = "portal"
	Postgres    ID = "postgres"
	REST        ID = "rest"
	RPCBind     ID = "rpcbind"
	Replication ID = "replication"
	S3          ID = "s3"
	SSH         ID = "ssh"
	Web         ID = "web"
	WebTLS      ID = "web-tls"

	DNSOut     ID = "dns"
	NTPOut     ID = "ntp"
	FTPActive  ID = "ftp-active"
	RPCBindOut ID = "rpcbind-client"
	NLMOut     ID = "nlm-callback"
	BenchOut   ID = "bench"
	SyslogOut  ID = "syslog"
)

// Direction of the traffic that a row describes.
type Direction string

// Directions.
const (
	In         Direction = "in"          // clients connect to us
	Out        Direction = "out"         // we connect to a service
	Node       Direction = "node"        // between nodes of one cluster, both ways
	PeerChosen Direction = "peer-chosen" // we connect to a port that the peer names
)

// State of a port on a fresh system.
type State string

// States.
const (
	On      State = "on"      // serves from the start
	Off     State = "off"     // built; an administrator switches it on
	Planned State = "planned" // not built: nothing listens, nothing dials
)

// Port is one row of the table.
type Port struct {
	ID ID `json:"id"`
	// Low and High are the port number or range, both 0 where the peer chooses.
	Low  uint16 `json:"port_low"`
	High uint16 `json:"port_high"`
	// Transports: "tcp", "udp".
	Transports []string  `json:"transports"`
	Direction  Direction `json:"direction"`
	// Plane: data, control, cluster or infrastructure.
	Plane string `json:"plane"`
	// Room is the package that owns the traffic.
	Room string `json:"room"`
	// Setting that moves it, "" if nothing does.
	Setting string `json:"setting"`
	State   State  `json:"state"`
	// TLS: none, always, starttls or optional.
	TLS     string `json:"tls"`
	Purpose string `json:"purpose"`
}

var (
	tcp    = []string{"tcp"}
	udp    = []string{"udp"}
	tcpUDP = []string{"tcp", "udp"}
)

// Table lists every port, sorted by direction and then by number and id.
func Table() []Port {
	return []Port{
		{FTP, 21, 21, tcp, In, "data", "wire/ftp", "--port ftp=N", Off, "starttls", "FTP and explicit FTPS control connection."},
		{SSH, 22, 22, tcp, In, "control", "wire/ssh", "--port ssh=N", On, "none", "SSH: administrator shell and SFTP."},
		{Web, 80, 80, tcp, In, "control", "web", "--port web=N", Planned, "none", "Web console, plain HTTP, sends browsers to HTTPS."},
		{RPCBind, 111, 111, tcpUDP, In, "data", "wire/nfs3", "--port rpcbind=N", On, "none", "rpcbind v2-4, by which NFSv3 clients find NFS and MOUNT."},
		{WebTLS, 443, 443, tcp, In, "control", "web", "--port web-tls=N", Planned, "always", "Web console and SAML endpoints."},
		{CIFS, 445, 445, tcp, In, "data", "wire/smb", "--port smb=N", On, "none", "SMB 2 and 3; its own signing and encryption."},
		{FTPS, 990, 990, tcp, In, "data", "wire/ftp", "--port ftps=N", Off, "always", "FTP with implicit TLS, while FTP is on."},
		{NFS, 2049, 2049, tcpUDP, In, "data", "wire/nfs3", "--port nfs=N", On, "none", "NFS, MOUNT, locks and status monitor on one port; UDP serves MOUNT and the monitor only."},
		{Replication, 3712, 3712, tcp, In, "data", "replication", "--port replication=N", Planned, "always", "Replication from other clusters."},
		{Portal, 3713, 3713, tcp, In, "data", "replication", "--port portal=N", Planned, "always", "Global-namespace portals of other clusters."},
		{REST, 8000, 8000, tcp, In, "control", "control/rest", "--port rest=N", On, "always", "REST API and metrics."},
		{S3, 9000, 9000, tcp, In, "data", "wire/s3", "--port s3=N", Off, "optional", "S3; plain HTTP only where it was allowed."},
		{FTPPassive, 32768, 60999, tcp, In, "data", "wire/ftp", "", Off, "starttls", "FTP passive data connections, one port per transfer."},

		{NodeToNode, 3714, 3714, tcp, Node, "cluster", "cluster", "--port cluster=N", Planned, "always", "Membership, forwarded calls and leases between nodes."},
		{"discovery", 3715, 3715, udp, Node, "cluster", "cluster", "--port discovery=N", Planned, "none", "Unconfigured nodes finding each other on the local network."},

		{DNSOut, 53, 53, tcpUDP, Out, "infrastructure", "identity", "DNS servers", On, "none", "Name resolution: reverse lookup of NFS clients, directory servers, targets."},
		{"kerberos", 88, 88, tcpUDP, Out, "infrastructure", "identity/krb5", "", Planned, "none", "Kerberos KDC."},
		{RPCBindOut, 111, 111, tcpUDP, Out, "data", "wire/nfs3", "", On, "none", "rpcbind of this machine, to register with it; of NFSv3 clients, before lock callbacks and reboot notices."},
		{NTPOut, 123, 123, udp, Out, "infrastructure", "node", "NTP servers", On, "none", "Comparison of the clock with time servers, once some are named."},
		{"dcerpc-epm", 135, 135, tcp, Out, "infrastructure", "identity/ad", "", Planned, "none", "DCE/RPC endpoint mapper of domain controllers."},
		{"ldap", 389, 389, tcpUDP, Out, "infrastructure", "identity/ldap", "LDAP URI", Planned, "starttls", "LDAP of Active Directory and stand-alone servers; UDP pings domain controllers."},
		{"object-store", 443, 443, tcp, Out, "data", "data/object", "object store URI", Planned, "always", "S3-protocol store that holds a cluster's data."},
		{"shift", 443, 443, tcp, Out, "data", "replication", "relationship's port", Planned, "always", "Copy to and from S3 buckets."},
		{"kpasswd", 464, 464, tcpUDP, Out, "infrastructure", "identity/krb5", "", Planned, "none", "Kerberos password change of the machine account."},
		{SyslogOut, 514, 514, tcp, Out, "control", "control/audit", "audit server port", Off, "optional", "Audit log to a syslog server."},
		{"ldaps", 636, 636, tcp, Out, "infrastructure", "identity/ldap", "LDAP URI", Planned, "always", "LDAP over TLS."},
		{"global-catalog", 3268, 3269, tcp, Out, "infrastructure", "identity/ad", "", Planned, "optional", "Active Directory global catalogue."},
		{"replication-out", 3712, 3712, tcp, Out, "data", "replication", "relationship's port", Planned, "always", "Replication to other clusters."},
		{"portal-out", 3713, 3713, tcp, Out, "data", "replication", "portal's port", Planned, "always", "Global-namespace portals to other clusters."},
		{Postgres, 5432, 5432, tcp, Out, "data", "kv/pgkv", "connection string", Off, "optional", "PostgreSQL-protocol database that holds a cluster's metadata."},
		{"kmip", 5696, 5696, tcp, Out, "control", "data", "KMS configuration", Planned, "always", "KMIP key manager for encryption at rest."},

		{BenchOut, 0, 0, tcp, PeerChosen, "infrastructure", "node", "", On, "none", "manifold bench, over loopback, to the server that it has started itself, and to itself for a plain copy."},
		{"dcerpc", 0, 0, tcp, PeerChosen, "infrastructure", "identity/ad", "", Planned, "none", "Netlogon and LSA of domain controllers, at the port the endpoint mapper answers."},
		{FTPActive, 0, 0, tcp, PeerChosen, "data", "wire/ftp", "", Off, "starttls", "FTP active data connections to the client's port."},
		{NLMOut, 0, 0, tcp, PeerChosen, "data", "wire/nfs3", "", On, "none", "NLM grants and NSM notices, at the port the client's rpcbind answers."},
	}
}

// Lookup finds a row.
func Lookup(id ID) (Port, bool) {
	for _, p := range Table() {
		if p.ID == id {
			return p, true
		}
	}
	return Port{}, false
}
