// Package control is the contract of the operator's room: the small interfaces
// through which the verbs of an administrator reach users, sessions, exports,
// settings and metrics, and the privileges that guard them.
//
// Invariants: every interface has few methods and is satisfied by the
// composition root; whoever calls one has checked the caller's privilege.
//
// The package holds no logic and must not know HTTP or any command line.
package control

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"time"

	"manifold/internal/config"
	"manifold/internal/fs"
	"manifold/internal/identity"
)

// Authenticator proves who somebody is.
type Authenticator interface {
	// Authenticate answers the user of that name and password, or
	// config.ErrCredentials, in the same time whether the user exists or not.
	Authenticate(ctx context.Context, name, password string) (config.Record[config.User], error)
	// ChangePassword sets a user's own password, given the present one.
	ChangePassword(ctx context.Context, user uint64, old, new string) error
	HasPassword(ctx context.Context, user uint64) (bool, error)
}

// Sessions gives out bearer tokens and recognises them.
type Sessions interface {
	// NewSession answers a token good for config.SessionLife. The privileges
	// are those of this moment and stay with it.
	NewSession(ctx context.Context, user uint64, privileges []string) (string, config.Session, error)
	EndSession(ctx context.Context, token string) error
	// Bearer answers who a session or access token stands for, or config.ErrCredentials.
	Bearer(ctx context.Context, token string) (config.Bearer, error)
}

// Principals answers local users and groups.
type Principals interface {
	User(ctx context.Context, id uint64) (config.Record[config.User], error)
	UserByName(ctx context.Context, name string) (config.Record[config.User], error)
	Group(ctx context.Context, id uint64) (config.Record[config.Group], error)
	GroupByName(ctx context.Context, name string) (config.Record[config.Group], error)
	GroupsOf(ctx context.Context, user uint64) ([]config.Record[config.Group], error)
	UserByUID(ctx context.Context, uid uint32) (config.Record[config.User], error)
	GroupByGID(ctx context.Context, gid uint32) (config.Record[config.Group], error)
}

// News tells that stored records have changed.
type News interface {
	// Changed answers a channel that is closed at the next change.
	Changed() <-chan struct{}
}

// Accounts changes local users, groups and memberships. Revisions are those
// last seen, 0 for any. A change is in force when its call returns.
type Accounts interface {
	Users(ctx context.Context, after uint64, limit int) ([]config.Record[config.User], error)
	AddUser(ctx context.Context, u config.User, password string) (config.Record[config.User], error)
	ModifyUser(ctx context.Context, id, revision uint64, u config.User) (config.Record[config.User], error)
	DeleteUser(ctx context.Context, id, revision uint64) error
	// SetPassword is an administrator's reset: it ends the user's sessions.
	SetPassword(ctx context.Context, user uint64, password string) error

	Groups(ctx context.Context, after uint64, limit int) ([]config.Record[config.Group], error)
	AddGroup(ctx context.Context, g config.Group) (config.Record[config.Group], error)
	ModifyGroup(ctx context.Context, id, revision uint64, g config.Group) (config.Record[config.Group], error)
	DeleteGroup(ctx context.Context, id, revision uint64) error

	Members(ctx context.Context, group uint64) ([]config.Record[config.User], error)
	AddMember(ctx context.Context, group, user uint64) error
	RemoveMember(ctx context.Context, group, user uint64) error
}

// Roles gives privileges to users and groups. Roles go by name, in any case.
type Roles interface {
	Roles(ctx context.Context) ([]config.Record[config.Role], error)
	RoleByName(ctx context.Context, name string) (config.Record[config.Role], error)
	AddRole(ctx context.Context, r config.Role) (config.Record[config.Role], error)
	ModifyRole(ctx context.Context, name string, revision uint64, description string, privileges []string) (config.Record[config.Role], error)
	DeleteRole(ctx context.Context, name string, revision uint64) error
	AddRoleMember(ctx context.Context, name string, member identity.AuthID) error
	RemoveRoleMember(ctx context.Context, name string, member identity.AuthID) error
}

// AccessTokens keeps long-lived tokens of local users.
type AccessTokens interface {
	// NewAccessToken answers the secret, which is seen only this once.
	NewAccessToken(ctx context.Context, user, creator uint64, expires time.Time) (string, config.Record[config.AccessToken], error)
	AccessToken(ctx context.Context, id uint64) (config.Record[config.AccessToken], error)
	AccessTokens(ctx context.Context, after uint64, limit int) ([]config.Record[config.AccessToken], error)
	ModifyAccessToken(ctx context.Context, id, revision uint64, enabled bool, expires time.Time) (config.Record[config.AccessToken], error)
	DeleteAccessToken(ctx context.Context, id, revision uint64) error
}

// Identities completes what is known of principals of any domain.
type Identities interface {
	AttributesOf(ctx context.Context, a identity.AuthID) (config.Attributes, error)
	// SetAttributes replaces them; nil removes.
	SetAttributes(ctx context.Context, a identity.AuthID, v *config.Attributes) error
	// ForgetLogins makes every next sign-in prove its password anew.
	ForgetLogins()
}

// Policies keeps snapshot policies.
type Policies interface {
	Policies(ctx context.Context) ([]config.Record[config.Policy], error)
	Policy(ctx context.Context, id uint64) (config.Record[config.Policy], error)
	AddPolicy(ctx context.Context, p config.Policy) (config.Record[config.Policy], error)
	ModifyPolicy(ctx context.Context, id, revision uint64, p config.Policy) (config.Record[config.Policy], error)
	DeletePolicy(ctx context.Context, id, revision uint64) error
}

// FSKeys keeps the public keys that lock snapshots. A key goes by its id or name.
type FSKeys interface {
	FSKeys(ctx context.Context) ([]config.Record[config.FSKey], error)
	FSKey(ctx context.Context, ref string) (config.Record[config.FSKey], error)
	AddFSKey(ctx context.Context, k config.FSKey) (config.Record[config.FSKey], error)
	ModifyFSKey(ctx context.Context, id, revision uint64, k config.FSKey) (config.Record[config.FSKey], error)
	DeleteFSKey(ctx context.Context, id, revision uint64) error
}

// AuditEvent is something that an administrator did.
type AuditEvent struct {
	User      identity.AuthID
	Client    netip.Addr
	Operation string
	// Status is "ok" or an error class without its suffix.
	Status string
	// Extra and Extra2 name what it was done to.
	Extra, Extra2 string
	// Repeats: the same within a minute is one record.
	Repeats bool
}

// AuditTarget says where audit records go.
type AuditTarget struct {
	Enabled bool
	Server  string // host and port
	TLS     bool   // encrypts, and proves the server's name
	Local   bool   // keeps records on the node, too
	Format  string // csv or json
}

// AuditStatus is how the connection of the audit log is.
type AuditStatus struct {
	State, Error, Details string
}

// AuditLog takes audit records and ships them.
type AuditLog interface {
	Verb(e AuditEvent)
	Target(t AuditTarget)
	AuditStatus() AuditStatus
}

// Settings are records of which there is one each. Revisions are those last
// seen, 0 for any.
type Settings interface {
	Syslog(ctx context.Context) (config.Record[config.Syslog], error)
	SetSyslog(ctx context.Context, revision uint64, v config.Syslog) (config.Record[config.Syslog], error)
	SetClusterName(ctx context.Context, revision uint64, name string) (config.Record[config.Cluster], error)
	// SetCertificate wants a chain in PEM, own certificate first, and its key.
	SetCertificate(ctx context.Context, revision uint64, chain, key string) (config.Record[config.Certificate], error)
	// CACertificates answers config.ErrNotFound when there are none.
	CACertificates(ctx context.Context) (config.Record[config.CACertificates], error)
	SetCACertificates(ctx context.Context, revision uint64, pem string) (config.Record[config.CACertificates], error)
	DeleteCACertificates(ctx context.Context, revision uint64) error
}

// Exports keeps the NFS exports. A change is in force when its call returns.
type Exports interface {
	Exports(ctx context.Context, after uint64, limit int) ([]config.Record[config.Export], error)
	Export(ctx context.Context, id uint64) (config.Record[config.Export], error)
	ExportByPath(ctx context.Context, path string) (config.Record[config.Export], error)
	AddExport(ctx context.Context, e config.Export) (config.Record[config.Export], error)
	// ModifyExport and DeleteExport want the revision last seen, 0 for any.
	ModifyExport(ctx context.Context, id, revision uint64, e config.Export) (config.Record[config.Export], error)
	DeleteExport(ctx context.Context, id, revision uint64) error
}

// Shares keeps the SMB shares. A change is in force when its call returns, and
// for connected clients soon after.
type Shares interface {
	Shares(ctx context.Context, after uint64, limit int) ([]config.Record[config.Share], error)
	Share(ctx context.Context, id uint64) (config.Record[config.Share], error)
	ShareByName(ctx context.Context, name string) (config.Record[config.Share], error)
	AddShare(ctx context.Context, v config.Share) (config.Record[config.Share], error)
	// ModifyShare and DeleteShare want the revision last seen, 0 for any.
	ModifyShare(ctx context.Context, id, revision uint64, v config.Share) (config.Record[config.Share], error)
	DeleteShare(ctx context.Context, id, revision uint64) error
}

// SMBSettings keeps the settings of SMB. A change is in force when its call returns.
type SMBSettings interface {
	SMB(ctx context.Context) (config.Record[config.SMB], error)
	// SetSMB wants the revision last seen, 0 for any.
	SetSMB(ctx context.Context, revision uint64, v config.SMB) (config.Record[config.SMB], error)
}

// SMBSession is a client that has signed in over SMB.
type SMBSession struct {
	ID             uint64
	Client, Server netip.AddrPort
	User           identity.AuthID
	Opens          int
	Opened, Active time.Time
	Guest          bool
	Encrypted      bool
	Shares         []string
}

// SMBOpen is a file that a client has open over SMB.
type SMBOpen struct {
	ID     uint64
	Node   fs.Node
	Access uint32 // access mask as on the wire
	Locks  int
	User   identity.AuthID
	Stream fs.StreamID
	Share  fs.Share       // what it lets others do
	Client netip.AddrPort // it was opened from; none while its client is lost
}

// SMBServer knows who is connected.
type SMBServer interface {
	// Sessions and Opens are in order of their ids.
	Sessions() []SMBSession
	Opens() []SMBOpen
	// CloseSession and CloseOpen answer false if there is none of that id.
	CloseSession(id uint64) bool
	CloseOpen(ctx context.Context, id uint64) bool
}

// NFSSettings keeps the switches of NFS. A change is in force when its call returns.
type NFSSettings interface {
	NFS(ctx context.Context) (config.Record[config.NFS], error)
	// SetNFS wants the revision last seen, 0 for any.
	SetNFS(ctx context.Context, revision uint64, v config.NFS) (config.Record[config.NFS], error)
}

// ServiceStatus is how a protocol that can be switched is on this node.
type ServiceStatus struct {
	// State is RUNNING, STOPPED or FAILED.
	State string
	// Error says why it failed.
	Error string
}

// FTP keeps the settings of FTP. A change is in force when its call returns.
type FTP interface {
	FTP(ctx context.Context) (config.Record[config.FTP], error)
	// SetFTP wants the revision last seen, 0 for any.
	SetFTP(ctx context.Context, revision uint64, v config.FTP) (config.Record[config.FTP], error)
	FTPStatus() ServiceStatus
}

// SSH keeps the settings of SSH. A change is in force when its call returns.
type SSH interface {
	SSH(ctx context.Context) (config.Record[config.SSH], error)
	// SetSSH wants the revision last seen, 0 for any.
	SetSSH(ctx context.Context, revision uint64, v config.SSH) (config.Record[config.SSH], error)
	SSHStatus() ServiceStatus
	// HostKeys are the public ones of this server.
	HostKeys(ctx context.Context) ([]config.SSHKey, error)
	// KeyLine renders a public key as OpenSSH does.
	KeyLine(k config.SSHKey) string
}

// SSHKeys keeps the public keys of users.
type SSHKeys interface {
	// ParseKey reads a public key in OpenSSH's form.
	ParseKey(line string) (config.SSHKey, error)
	SSHKeys(ctx context.Context, user uint64) ([]config.SSHKey, error)
	// KeyLine renders a public key as OpenSSH does.
	KeyLine(k config.SSHKey) string
	AddSSHKey(ctx context.Context, user uint64, k config.SSHKey) (config.SSHKey, error)
	DeleteSSHKey(ctx context.Context, user uint64, fingerprint string) error
}

// S3Settings keeps the settings of S3. A change is in force, and its port open
// or closed, when its call returns.
type S3Settings interface {
	S3(ctx context.Context) (config.Record[config.S3], error)
	// SetS3 wants the revision last seen, 0 for any. A port that cannot be
	// opened is a *ports.ConflictError or ports.ErrDisabled, and nothing has changed.
	SetS3(ctx context.Context, revision uint64, v config.S3) (config.Record[config.S3], error)
}

// S3Keys keeps access keys, at most config.S3KeysPerIdentity of each identity.
type S3Keys interface {
	// AddS3Key answers the secret, which is seen only this once.
	AddS3Key(ctx context.Context, owner identity.AuthID) (secret string, k config.Record[config.S3Key], err error)
	// S3Keys lists keys by id, those greater than after, of all owners or of one.
	S3Keys(after uint64, owner identity.AuthID, limit int) []config.Record[config.S3Key]
	DeleteS3Key(ctx context.Context, accessKey string) error
}

// S3Buckets keeps the records of buckets. Those in force cost no I/O.
type S3Buckets interface {
	Bucket(name string) (config.Record[config.Bucket], error)
	// BucketAfter answers the bucket with the smallest name greater than after.
	BucketAfter(after string) (config.Record[config.Bucket], bool)
	AddBucket(ctx context.Context, b config.Bucket) (config.Record[config.Bucket], error)
	ChangeBucket(ctx context.Context, name string, change func(*config.Bucket) error) (config.Record[config.Bucket], error)
}

// Errors of S3Protocol; test with errors.Is.
var (
	// ErrS3Uploads: multipart uploads into the bucket are open.
	ErrS3Uploads = errors.New("uploads are in progress")
	// ErrS3Policy: a bucket policy is not valid.
	ErrS3Policy = errors.New("malformed bucket policy")
	// ErrS3Retention: a default retention is not valid.
	ErrS3Retention = errors.New("malformed default retention")
)

// S3Upload is a multipart upload that is neither complete nor given up.
type S3Upload struct {
	ID, Key              string
	Owner                identity.AuthID
	Initiated, Modified  time.Time
	DataBytes, MetaBytes uint64
}

// S3Access is what a policy lets somebody do.
type S3Access struct {
	Allowed    []string
	Statements []S3StatementAccess
}

// S3StatementAccess is what one statement says to somebody.
type S3StatementAccess struct {
	Allow   bool
	Actions []string
}

// S3Retention is a bucket's default retention: days or years.
type S3Retention struct{ Days, Years int64 }

// S3Protocol is what an administrator needs of the protocol itself. A bucket
// or upload that is not there is config.ErrNotFound.
type S3Protocol interface {
	ValidBucketName(name string) bool
	// RemoveBucket removes a bucket, with its directory if that is empty and
	// is to go too. ErrS3Uploads.
	RemoveBucket(ctx context.Context, c *fs.Caller, name string, directory bool) error
	// CheckPolicy answers an ErrS3Policy that says what is wrong.
	CheckPolicy(bucket string, doc []byte) error
	// ExplainPolicy tells what a policy would let an identity do; Unset is
	// somebody who does not sign.
	ExplainPolicy(ctx context.Context, bucket string, doc []byte, who identity.AuthID) (S3Access, error)
	// Retention reads a stored document, nil if it has none; RetentionDocument
	// makes one: ErrS3Retention.
	Retention(doc []byte) *S3Retention
	RetentionDocument(r *S3Retention) ([]byte, error)
	Uploads(ctx context.Context, bucket, after string, limit int) (list []S3Upload, next string, err error)
	AbortUpload(ctx context.Context, bucket, id string) error
}

// Members tells what the cluster and its nodes are.
type Members interface {
	Cluster(ctx context.Context) (config.Record[config.Cluster], error)
	Node(ctx context.Context, id uint64) (config.Record[config.Node], error)
}

// Metrics renders the metrics of this node.
type Metrics interface {
	// Write renders OpenMetrics text, "# EOF" included.
	Write(w io.Writer) error
	// WriteAll adds the buckets of histograms, which some readers do not expect.
	WriteAll(w io.Writer) error
}

// MetricsReaders recognises the token that may read metrics and nothing else.
type MetricsReaders interface {
	MetricsToken(ctx context.Context, token string) (bool, error)
}

// Scrubber verifies every stored byte of this node against its checksum while
// the node serves.
type Scrubber interface {
	// StartScrub begins a scrub that reads at most rate bytes a second, 0 for
	// no bound. One that runs already goes on as it is.
	StartScrub(ctx context.Context, rate int64) (ScrubStatus, error)
	// ScrubStatus answers the running scrub, else the last.
	ScrubStatus(ctx context.Context) (ScrubStatus, error)
	// StopScrub ends the running scrub, if there is one.
	StopScrub(ctx context.Context) (ScrubStatus, error)
}

// ScrubStatus is how far a scrub is, or how the last one ended.
type ScrubStatus struct {
	Running bool
	// Started is zero if there never was one, Ended while one runs.
	Started, Ended time.Time
	// Complete: the last one got through everything.
	Complete                           bool
	Extents, Bytes, Segments, Findings uint64
	// Damage are the first findings, in words, of a scrub since the start of
	// the process.
	Damage []string
}

// Release is what a version request answers beyond the constant name of the
// interface that clients test for.
type Release struct {
	// BuildID names our own version and source revision.
	BuildID string
	// Date of the source revision, RFC 3339, "" if unknown.
	Date string
}

// NodeID of the node that answers; a single server is node 1.
type NodeID uint64
