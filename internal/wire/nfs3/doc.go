// Package nfs3 serves NFS version 3 and MOUNT (RFC 1813) on the file system's
// contract. Locks (NLM) and rpcbind are packages below it.
//
// Invariants:
//   - A file handle names one object within one export. It cannot be made up: it
//     carries a keyed hash. It survives restarts of the server. When the export
//     is removed or shows another directory, its handles are stale at once.
//   - LOOKUP never leaves the export upwards. Like other servers of stateless
//     protocols, an object that is renamed out of the export's directory stays
//     reachable through handles that clients already hold.
//   - Every call is judged by the export's rules as they are now; who a caller is
//     may be remembered for Options.IdentityTTL.
//   - A call that must not run twice is answered from a cache if it is repeated
//     (see sunrpc).
//   - Objects in snapshots have file ids of their own, so that a tree with
//     ".snapshot" in it has no two places with the same identity.
//
// The package must not know how files are stored, where configuration is kept,
// or any other protocol. It opens no sockets.
package nfs3
