package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oiweiwei/go-msrpc/dcerpc"
	"github.com/oiweiwei/go-msrpc/midl/uuid"
	"github.com/oiweiwei/go-msrpc/ndr"

	"manifold/internal/fs"
	"manifold/internal/identity"
	"manifold/internal/identity/sid"
)

// world is what the server under test shows.
type world struct {
	shares   []Share
	sessions []Session
	opens    []Open
	accounts []Account
	members  map[uint32][]uint32
}

func (w *world) Shares(context.Context, *Caller) ([]Share, error) { return slices.Clone(w.shares), nil }

func (w *world) AddShare(_ context.Context, _ *Caller, s Share) error {
	switch {
	case w.at(s.Name) >= 0:
		return ErrExists
	case s.Path == "/nowhere":
		return ErrPath
	}
	w.shares = append(w.shares, s)
	return nil
}

func (w *world) at(name string) int {
	return slices.IndexFunc(w.shares, func(s Share) bool { return strings.EqualFold(s.Name, name) })
}

func (w *world) ChangeShare(_ context.Context, _ *Caller, name string, x ShareChange) error {
	i := w.at(name)
	if i < 0 {
		return ErrNotFound
	}
	s := &w.shares[i]
	if x.Comment != nil {
		s.Comment = *x.Comment
	}
	if x.Path != nil {
		s.Path = *x.Path
	}
	if x.AccessBased != nil {
		s.AccessBased, s.Encrypt = *x.AccessBased, *x.Encrypt
	}
	if x.Security != nil {
		s.Security = x.Security
	}
	return nil
}

func (w *world) DeleteShare(_ context.Context, _ *Caller, name string) error {
	i := w.at(name)
	if i < 0 {
		return ErrNotFound
	}
	w.shares = slices.Delete(w.shares, i, i+1)
	return nil
}

func (w *world) Sessions() []Session { return slices.Clone(w.sessions) }
func (w *world) Opens() []Open       { return slices.Clone(w.opens) }

func (w *world) CloseSession(_ context.Context, _ *Caller, id uint64) error {
	w.sessions = slices.DeleteFunc(w.sessions, func(s Session) bool { return s.ID == id })
	return nil
}

func (w *world) CloseOpen(_ context.Context, _ *Caller, id uint64) error {
	w.opens = slices.DeleteFunc(w.opens, func(o Open) bool { return o.ID == id })
	return nil
}

func (w *world) Domain() sid.SID                             { return mustSID("S-1-5-21-7-8-9") }
func (w *world) Accounts(context.Context) ([]Account, error) { return slices.Clone(w.accounts), nil }

func (w *world) Members(_ context.Context, group uint32) ([]uint32, error) {
	m, ok := w.members[group]
	if !ok {
		return nil, ErrNotFound
	}
	return m, nil
}

func (w *world) Groups(_ context.Context, user uint32) ([]uint32, error) {
	var out []uint32
	for _, g := range []uint32{512, 513, 514} {
		if slices.Contains(w.members[g], user) {
			out = append(out, g)
		}
	}
	return out, nil
}

var testNow = time.Date(2026, 11, 5, 6, 7, 8, 90_000_000, time.UTC)

func newWorld() *world {
	return &world{
		shares: []Share{{Name: "Files", Comment: "all of it", Path: "/", Uses: 2, Security: []byte("sd")}, {Name: "secret$", Path: "/s", Hidden: true}},
		sessions: []Session{
			{ID: 1, Client: netip.MustParseAddr("10.0.0.1"), User: "admin", Opens: 2, Opened: testNow.Add(-time.Minute), Active: testNow.Add(-time.Second), Shares: []string{"Files"}},
			{ID: 2, Client: netip.MustParseAddr("10.0.0.2"), User: "jane", Opened: testNow, Active: testNow, Shares: []string{"Files", "secret$"}},
		},
		opens: []Open{
			{ID: 1<<32 + 5, Path: "/a/b", User: "admin", Read: true, Locks: 3},
			{ID: 1<<32 + 6, Path: "/ab", User: "jane", Read: true, Write: true, Create: true},
		},
		accounts: []Account{
			{RID: 500, Name: "admin", PrimaryGroup: 513, Home: "/home/admin"}, {RID: 501, Name: "guest", PrimaryGroup: 514, Disabled: true},
			{RID: 512, Name: "Administrators", Group: true}, {RID: 513, Name: "Users", Group: true}, {RID: 514, Name: "Guests", Group: true},
			{RID: 1000, Name: "jane", PrimaryGroup: 513}, {RID: 1001, Name: "grün𝄞", Group: true},
		},
		members: map[uint32][]uint32{512: {500}, 513: {500, 1000}, 514: {501}},
	}
}

// noPanics is a log that a panic in one of our handlers must not get into.
type noPanics struct {
	slog.Handler
	t testing.TB
}

func (n noPanics) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		for _, ours := range []string{"srvsvcServer", "wkssvcServer", "lsaNames", "lsaPolicy", "samrServer"} {
			if a.Key == "stack" && strings.Contains(a.Value.String(), "smb/rpc.(*"+ours+")") {
				n.t.Errorf("%s: %s", r.Message, a.Value)
			}
		}
		return true
	})
	return nil
}

func (n noPanics) Enabled(context.Context, slog.Level) bool { return true }

func newServer(t testing.TB, w *world) *Server {
	return New(Options{
		Name: "BOX", Domain: "WORKGROUP", Comment: "manifold", Shares: w, Clients: w, Accounts: w, Start: testNow.Add(-time.Hour),
		Now: func() time.Time { return testNow }, Logger: slog.New(noPanics{slog.DiscardHandler, t}),
	})
}

// Callers of each kind.
func callerOf(user identity.AuthID, group identity.AuthID, name string, session uint64) *Caller {
	return &Caller{Caller: &fs.Caller{Cred: identity.New(user, group, nil, nil)}, User: name, Domain: "BOX", Session: session}
}

func theAdmin() *Caller  { return callerOf(identity.Admin, identity.Administrators, "admin", 1) }
func theUser() *Caller   { return callerOf(1000, identity.Users, "jane", 2) }
func theNobody() *Caller { return callerOf(identity.Guest, identity.Guests, "", 3) }

// conn lets the generated clients call the server. It sends small fragments.
type conn struct {
	t   testing.TB
	a   *Association
	who *Caller
	id  uint32
}

// faultError is a fault that came back.
type faultError uint32

func (f faultError) Error() string { return fmt.Sprintf("fault %08x", uint32(f)) }

func dial(t testing.TB, s *Server, pipe string, who *Caller) *conn {
	t.Helper()
	a, ok := s.Open(pipe)
	if !ok {
		t.Fatalf("no pipe %s", pipe)
	}
	return &conn{t: t, a: a, who: who}
}

func bindPDU(kind byte, contexts ...[2]string) []byte {
	b := header(kind, flagFirst|flagLast, nil)
	b = append(b, 0xb8, 0x10, 0xb8, 0x10, 0, 0, 0, 0, byte(len(contexts)), 0, 0, 0)
	for i, c := range contexts {
		b = append(b, byte(i), 0, 1, 0)
		b = append(append(b, c[0]...), 0, 0)
		b = append(b, c[1]...)
		b = append(b, 2, 0, 0, 0)
	}
	return finish(b)
}

func (c *conn) Bind(context.Context, ...dcerpc.Option) (dcerpc.Conn, error) {
	out := c.a.Feed(c.t.Context(), c.who, bindPDU(pduBind, [2]string{services[c.a.pipe][0].syntax, ndr32}))
	if out[2] != pduBindAck || le.Uint16(out[len(out)-24:]) != contextAccepted {
		return nil, fmt.Errorf("bind is answered with %x", out)
	}
	return c, nil
}

func requestPDU(flags byte, id uint32, op uint16, stub []byte) []byte {
	b := le.AppendUint32(header(pduRequest, flags, nil), uint32(len(stub)))
	b = append(le.AppendUint16(append(b, 0, 0), op), stub...)
	le.PutUint32(b[12:], id)
	return finish(b)
}

// stub makes a call and puts the fragments of its answer together.
func (c *conn) stub(op uint16, in []byte) ([]byte, error) {
	c.id++
	var out []byte
	for first := true; first || len(in) > 0; first = false {
		n := min(len(in), 40)
		flags := byte(0)
		if first {
			flags |= flagFirst
		}
		if n == len(in) {
			flags |= flagLast
		}
		out = append(out, c.a.Feed(c.t.Context(), c.who, requestPDU(flags, c.id, op, in[:n]))...)
		in = in[n:]
	}
	var all []byte
	for first := true; ; first = false {
		if len(out) < 24 || le.Uint32(out[12:]) != c.id {
			return nil, fmt.Errorf("answer %x", out)
		}
		n := int(le.Uint16(out[8:]))
		pdu := out[:n]
		out = out[n:]
		if pdu[2] == pduFault {
			return nil, faultError(le.Uint32(pdu[24:]))
		}
		if pdu[2] != pduResponse || n > maxFrag || pdu[3]&flagFirst != 0 != first {
			return nil, fmt.Errorf("PDU %x", pdu)
		}
		all = append(all, pdu[24:]...)
		if pdu[3]&flagLast != 0 {
			break
		}
	}
	if len(out) != 0 {
		return nil, fmt.Errorf("%d bytes too many", len(out))
	}
	return all, nil
}

func (c *conn) Invoke(ctx context.Context, op dcerpc.Operation, _ ...dcerpc.CallOption) error {
	w := newWriter()
	if err := op.MarshalNDRRequest(ctx, w); err != nil {
		return err
	}
	w.settle()
	out, err := c.stub(uint16(op.OpNum()), w.Bytes())
	if err != nil {
		return err
	}
	return op.UnmarshalNDRResponse(ctx, ndr.NDR20(out))
}

func (c *conn) AlterContext(context.Context, ...dcerpc.Option) error { return nil }
func (c *conn) Context() context.Context                             { return c.t.Context() }
func (c *conn) InvokeObject(ctx context.Context, _ *uuid.UUID, op dcerpc.Operation, o ...dcerpc.CallOption) error {
	return c.Invoke(ctx, op, o...)
}
func (c *conn) Close(context.Context) error                          { return nil }
func (c *conn) RegisterServer(dcerpc.ServerHandle, ...dcerpc.Option) {}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
