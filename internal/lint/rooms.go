// Package lint holds the house rules as data; its tests apply them to every Go
// file of the module.
//
// Invariants: files are parsed, never built, so that a tree which does not
// compile still gets its answer; an exception is an entry with a reason, never
// a comment in the offending file. The package must not import any room.
package lint

// A Room says what the packages under one folder may import of this module.
// The longest matching Path wins. An entry ending in "/..." matches the folder
// and all below it; the standard library and the ledgers are always allowed.
type Room struct {
	Path   string
	May    []string
	Reason string
}

// Ledgers may be imported by everyone and import no room.
var Ledgers = []string{"internal/ports", "internal/settings", "internal/telemetry"}

// Rooms is the import table of the architecture.
var Rooms = []Room{
	{"internal/ports", nil, "a ledger is imported by all and so imports none"},
	{"internal/settings", nil, "a ledger is imported by all and so imports none"},
	{"internal/telemetry", nil, "a ledger is imported by all and so imports none"},
	{"internal/lint", nil, "house rules judge all rooms alike"},
	{"internal/identity", nil, "a contract that everything names lies at the bottom"},
	{"internal/identity/", []string{"internal/identity", "internal/fs"}, "providers meet stored records through interfaces that node satisfies"},
	{"internal/kv", nil, "the key store knows keys, not files"},
	{"internal/kv/", []string{"internal/kv/..."}, "an engine knows its contract only"},
	{"internal/fs", []string{"internal/identity"}, "the contract is vocabulary"},
	{"internal/fs/", []string{"internal/fs/...", "internal/identity/..."}, "semantics and fakes stay free of storage"},
	{"internal/fs/core", []string{"internal/fs/...", "internal/meta/...", "internal/data/...", "internal/kv", "internal/identity/..."}, "the one implementation of the contract sits on both engines"},
	{"internal/meta", []string{"internal/meta/...", "internal/kv/...", "internal/fs", "internal/fs/fold", "internal/identity"}, "metadata speaks keys below and the contract's words above"},
	{"internal/data", []string{"internal/data/...", "internal/kv/..."}, "extents do not know files"},
	{"internal/wire", []string{"internal/fs", "internal/fs/export", "internal/fs/walk", "internal/identity", "internal/wire/sunrpc", "internal/wire/accept", "internal/wire/wiretest"}, "a protocol sees the contract, never another protocol or storage"},
	{"internal/wire/accept", nil, "connections of any protocol"},
	{"internal/wire/ssh", []string{"internal/fs", "internal/fs/walk", "internal/identity", "internal/wire/accept", "internal/wire/wiretest", "internal/wire/ssh/..."}, "SFTP lives below ssh"},
	{"internal/wire/nfs3", []string{"internal/fs", "internal/fs/export", "internal/identity", "internal/wire/sunrpc", "internal/wire/wiretest", "internal/wire/nfs3/..."}, "MOUNT, NLM and rpcbind live below nfs3"},
	{"internal/wire/smb", []string{"internal/fs", "internal/fs/acl", "internal/identity/...", "internal/wire/accept", "internal/wire/smb/..."}, "NTLM belongs to identities, and what one ACL says is pure; the rest as for every protocol"},
	{"internal/cluster", []string{"internal/cluster/...", "internal/kv"}, "membership is kept in keys"},
	{"internal/config", []string{"internal/config/...", "internal/kv", "internal/fs", "internal/fs/export", "internal/identity", "internal/identity/ntlm", "internal/identity/sid"}, "records in the types of those who use them"},
	{"internal/replication", []string{"internal/fs", "internal/cluster", "internal/identity"}, "works on the contract like any client"},
	{"internal/control/audit", []string{"internal/fs", "internal/identity", "internal/control"}, "decorates contracts"},
	{"internal/control/roles", []string{"internal/fs", "internal/identity", "internal/control"}, "decorates contracts"},
	{"internal/control", []string{"internal/fs", "internal/fs/export", "internal/fs/acl", "internal/identity", "internal/identity/attempts", "internal/config", "internal/control/..."}, "admin interfaces are declared here and satisfied in node"},
	{"internal/control/cli", []string{"client", "internal/control/cli/..."}, "the CLI does what any client of the REST API can"},
	{"internal/node", []string{"..."}, "the composition root knows everything"},
	{"cmd/manifold", []string{"internal/node", "internal/control/cli"}, "the command wires up and exits"},
	{"client", nil, "a public package drags in nothing of ours"},
	{"web", nil, "embedded files only"},
	{"api", []string{"api/..."}, "schemas, and what holds answers against them"},
	{"e2e", []string{"e2e/...", "client", "internal/ports", "api/apitest"}, "black box: the built binary and the public API"},
	{"e2e/suites/smbtorture", []string{"e2e/...", "api/apitest", "internal/fs/...", "internal/identity/...", "internal/kv/...", "internal/data/...", "internal/meta", "internal/wire/smb"}, "the suite wants options that the product does not offer, so it builds its own server"},
	{"tools", []string{"tools/...", "e2e/..."}, "tools drive the product from outside"},
}

// TestImports are what _test.go files and packages named *test may import on
// top of their room: fakes and suites.
var TestImports = []string{
	"internal/fs/memfs", "internal/fs/errfs", "internal/fs/fstest", "internal/fs/export",
	"internal/kv/memkv", "internal/kv/kvtest", "internal/kv/pebblekv", "internal/kv/pgkv", "internal/kv/pgkv/pgtest",
	"internal/data/memdata", "internal/data/errdisk", "internal/data/datatest",
	"internal/wire/wiretest", "internal/identity/local",
	"api/apitest",
}

// An Exception lets one file or folder break one rule.
type Exception struct{ Rule, Path, Reason string }

// Exceptions are all of them.
var Exceptions = []Exception{
	{"network", "internal/ports", "the one package that opens sockets"},
	{"network", "internal/wire/wiretest", "a test client dials the server under test"},
	{"network", "client", "the public client dials where its user says"},
	{"network", "e2e", "clients of the black box"},
	{"network", "tools", "clients of the black box"},
	{"background", "cmd", "a command owns the first context"},
	{"background", "internal/node", "the composition root owns the server's context"},
	{"background", "e2e", "test code"},
	{"background", "internal/fs/core/streamio/engine.go", "the flusher outlives every call; Close ends its context"},
	{"background", "tools", "a command owns the first context"},
	{"print", "cmd", "a command writes to its terminal"},
	{"print", "tools", "a command writes to its terminal"},
	{"testing", "e2e", "the harness is test code"},
	{"skip", "e2e/harness/require.go", "the helper that skips on a laptop and fails in CI"},
	{"skip", "e2e/suites/suites.go", "a suite that no registry provides says NOT RUN, in CI too"},
}
