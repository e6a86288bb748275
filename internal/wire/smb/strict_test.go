package smb

import (
	"context"
	"slices"
	"testing"

	"manifold/internal/fs"
)

// Byte ranges and share modes of SMB and of other protocols know nothing of each
// other unless strict locking is set; within SMB they bind always.
func TestStrictLocking(t *testing.T) {
	s := newTestServer(t)
	one, two := dial(t, s), dial(t, s)
	one.login()
	two.login()
	f := s.o.FS
	ctx := t.Context()
	nfs := &fs.Caller{Cred: fs.SystemCaller().Cred, Protocol: fs.ProtoNFS3}
	const access = fileGenericRead | fileGenericWrite
	one.closeFile(one.create("f", access, uint32(fs.OpenCreate), 0, stOK))
	a, err := f.Resolve(ctx, nfs, "/f", 0)
	if err != nil {
		t.Fatal(err)
	}
	n, buf := a.Node, []byte("data")
	size := uint64(8)
	lock := &fs.LockRequest{Node: n, Owner: fs.LockOwner{Client: "nfs", Owner: "1"}, Range: fs.LockRange{Length: 4}, Exclusive: true}
	cmdOf := func(id []byte, cmd uint16) []byte { return bodies(id)[cmd] }

	for _, strict := range []bool{false, true, false} {
		f.SetStrict(strict)
		// expect holds what NFS meets against what it should meet under strict locking.
		expect := func(what string, err error, kind fs.Kind) {
			t.Helper()
			if !strict {
				kind = 0
			}
			if (err == nil) != (kind == 0) || err != nil && fs.KindOf(err) != kind {
				t.Errorf("strict %t: %s: %v", strict, what, err)
			}
		}
		either := func(st status) status {
			if strict {
				return st
			}
			return stOK
		}
		stateless := func(what string, kind fs.Kind) {
			t.Helper()
			_, err := f.Write(ctx, nfs, n, &fs.WriteRequest{Data: buf})
			expect("NFS writes beside "+what, err, kind)
			_, err = f.Read(ctx, nfs, n, &fs.ReadRequest{}, buf)
			expect("NFS reads beside "+what, err, kind)
		}

		// SMB first: an open that shares nothing, then a lock of four bytes.
		id := one.createShared("f", access, 0, stOK)
		stateless("an SMB open", fs.Sharing)
		_, err := f.SetAttr(ctx, nfs, n, &fs.SetAttr{Size: &size})
		expect("NFS truncates beside an SMB open", err, fs.Sharing)
		two.createShared("f", access, 7, stSharingViolation)
		// Its own requests are not in the way of each other.
		one.call(cmdWrite, cmdOf(id, cmdWrite), stOK)
		one.call(cmdIoctl, zeroRequest(id, 0, 4), stOK)
		one.call(cmdIoctl, copyRequest(one, id), stOK)
		one.closeFile(id)

		id = one.create("f", access, uint32(fs.OpenExisting), 0, stOK)
		id2 := two.create("f", access, uint32(fs.OpenExisting), 0, stOK)
		one.call(cmdLock, lockOf(id), stOK)
		stateless("an SMB lock", fs.LockConflict)
		_, err = f.Lock(ctx, nfs, lock)
		expect("NFS locks beside an SMB lock", err, fs.LockConflict)
		if err := f.Unlock(ctx, nfs, lock); err != nil {
			t.Fatal(err)
		}
		two.call(cmdWrite, cmdOf(id2, cmdWrite), stFileLockConflict)
		two.call(cmdLock, lockOf(id2), stLockNotGranted)
		one.call(cmdWrite, cmdOf(id, cmdWrite), stOK)
		one.call(cmdIoctl, zeroRequest(id, 0, 4), stOK)
		one.closeFile(id)

		// NFS first. Its locks are advisory: SMB may write beside them.
		if _, err := f.Lock(ctx, nfs, lock); err != nil {
			t.Fatal(err)
		}
		two.call(cmdLock, lockOf(id2), either(stLockNotGranted))
		two.call(cmdWrite, cmdOf(id2, cmdWrite), stOK)
		two.closeFile(id2)
		// A client that may write on its own would see none of those locks.
		b, level := one.openBatch("f")
		if level != oplockII {
			t.Errorf("oplock %#x where others hold locks", level)
		}
		one.closeFile(b)
		if err := f.Unlock(ctx, nfs, lock); err != nil {
			t.Fatal(err)
		}
		h, _, err := f.Open(ctx, nfs, &fs.OpenSpec{Dir: n, Desired: fs.RightRead, Disposition: fs.OpenExisting})
		if err != nil {
			t.Fatal(err)
		}
		if id := one.createShared("f", access, 7, either(stSharingViolation)); id != nil {
			one.closeFile(id)
		}
		if err := h.Close(context.WithoutCancel(ctx)); err != nil {
			t.Fatal(err)
		}
	}
}

// createShared opens a file that exists with a share mode.
func (c *client) createShared(name string, access, share uint32, want status) []byte {
	c.t.Helper()
	p := encodeUTF16(name)
	b := make([]byte, 56)
	b[0] = 57
	le.PutUint32(b[4:], 2)
	le.PutUint32(b[24:], access)
	le.PutUint32(b[32:], share)
	le.PutUint32(b[36:], uint32(fs.OpenExisting))
	le.PutUint16(b[44:], headerSize+56)
	le.PutUint16(b[46:], uint16(len(p)))
	r := c.call(cmdCreate, append(append(b, p...), 0), want)
	if want != stOK {
		return nil
	}
	return slices.Clone(r[64:80])
}

// lockOf asks for the first four bytes.
func lockOf(id []byte) []byte {
	b := make([]byte, 48)
	b[0], b[2] = 48, 1
	copy(b[8:], id)
	b[32], b[40] = 4, lockExclusive|lockImmediate
	return b
}

func ioctlRequest(id []byte, code uint32, in []byte) []byte {
	b := make([]byte, 56)
	b[0] = 57
	le.PutUint32(b[4:], code)
	copy(b[8:], id)
	le.PutUint32(b[24:], headerSize+56)
	le.PutUint32(b[28:], uint32(len(in)))
	le.PutUint32(b[44:], 4096)
	b[48] = 1
	return append(append(b, in...), 0)
}

func zeroRequest(id []byte, from, to uint64) []byte {
	return ioctlRequest(id, fsctlSetZeroData, le.AppendUint64(le.AppendUint64(nil, from), to))
}

// copyRequest copies the first four bytes of an open behind themselves.
func copyRequest(c *client, id []byte) []byte {
	c.t.Helper()
	r := c.call(cmdIoctl, ioctlRequest(id, fsctlResumeKey, nil), stOK)
	in := append(slices.Clone(r[48:48+24]), 1, 0, 0, 0, 0, 0, 0, 0)
	in = le.AppendUint64(le.AppendUint64(in, 0), 4)
	return ioctlRequest(id, fsctlCopyChunk, append(le.AppendUint32(in, 4), 0, 0, 0, 0))
}
