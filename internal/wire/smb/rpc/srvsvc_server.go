package rpc

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"github.com/oiweiwei/go-msrpc/msrpc/dtyp"
	srvsvc "github.com/oiweiwei/go-msrpc/msrpc/srvs/srvsvc/v3"
)

// What the server says it is: a stand-alone server of version 6.1.
const (
	platformNT   = 500
	versionMajor = 6
	versionMinor = 1
	// SV_TYPE: workstation, server, NT, NT server.
	serverType = 0x00000001 | 0x00000002 | 0x00001000 | 0x00008000
)

// GetInfo is [MS-SRVS] 3.1.4.17.
func (s *srvsvcServer) GetInfo(ctx context.Context, q *srvsvc.GetInfoRequest) (*srvsvc.GetInfoResponse, error) {
	o := &s.s.o
	i := &srvsvc.ServerInfo{}
	switch q.Level {
	case 100:
		i.Value = &srvsvc.ServerInfo_100{ServerInfo100: &dtyp.ServerInfo100{PlatformID: platformNT, Name: o.Name}}
	case 101:
		i.Value = &srvsvc.ServerInfo_101{ServerInfo101: &dtyp.ServerInfo101{
			PlatformID: platformNT, Name: o.Name, VersionMajor: versionMajor, VersionMinor: versionMinor, VersionType: serverType, Comment: o.Comment,
		}}
	case 102:
		if !s.may(ctx, SeeSessions) {
			s.answerLevel(q.Level, werrAccessDenied)
			return nil, nil
		}
		i.Value = &srvsvc.ServerInfo_102{ServerInfo102: &srvsvc.ServerInfo102{
			PlatformID: platformNT, Name: o.Name, VersionMajor: versionMajor, VersionMinor: versionMinor, Type: serverType, Comment: o.Comment,
			Users: unlimited, Disc: -1, Announce: 240, AnnounceDelta: 3000, UserPath: `C:\`,
		}}
	default:
		s.answerLevel(q.Level, werrInvalidLevel)
		return nil, nil
	}
	return &srvsvc.GetInfoResponse{Level: q.Level, Info: i}, nil
}

// SetInfo is [MS-SRVS] 3.1.4.18: what the server says of itself is set elsewhere.
func (s *srvsvcServer) SetInfo(ctx context.Context, _ *srvsvc.SetInfoRequest) (*srvsvc.SetInfoResponse, error) {
	if !s.may(ctx, ChangeShares) {
		return &srvsvc.SetInfoResponse{Return: werrAccessDenied}, nil
	}
	return &srvsvc.SetInfoResponse{Return: werrNotSupported}, nil
}

// DiskEnum is [MS-SRVS] 3.1.4.19: the drive that paths of shares are shown on,
// which is no secret.
func (s *srvsvcServer) DiskEnum(_ context.Context, q *srvsvc.DiskEnumRequest) (*srvsvc.DiskEnumResponse, error) {
	r := &srvsvc.DiskEnumResponse{DiskInfo: &srvsvc.DiskEnumContainer{}}
	switch {
	case q.Level != 0:
		r.Return = werrInvalidLevel
	case s.who.User == "":
		r.Return = werrAccessDenied
	default:
		r.DiskInfo.Buffer = []*srvsvc.DiskInfo{{Disk: "C:"}}
		r.DiskInfo.EntriesRead, r.TotalEntries = 1, 1
	}
	return r, nil
}

// RemoteToD is [MS-SRVS] 3.1.4.21.
func (s *srvsvcServer) RemoteToD(context.Context, *srvsvc.RemoteToDRequest) (*srvsvc.RemoteToDResponse, error) {
	now := s.s.o.Now().UTC()
	return &srvsvc.RemoteToDResponse{BufferPointer: &srvsvc.TimeOfDayInfo{
		ElapsedTime: uint32(now.Unix()), Msecs: uint32(now.Sub(s.s.o.Start) / time.Millisecond),
		Hours: uint32(now.Hour()), Mins: uint32(now.Minute()), Secs: uint32(now.Second()), Hunds: uint32(now.Nanosecond() / 10_000_000),
		Tinterval: 310, // of ticks, in 0.1 ms
		Day:       uint32(now.Day()), Month: uint32(now.Month()), Year: uint32(now.Year()), Weekday: uint32(now.Weekday()),
	}}, nil
}

// StatisticsGet is [MS-SRVS] 3.1.4.20.
func (s *srvsvcServer) StatisticsGet(ctx context.Context, q *srvsvc.StatisticsGetRequest) (*srvsvc.StatisticsGetResponse, error) {
	switch {
	case q.Level != 0:
		return &srvsvc.StatisticsGetResponse{Return: werrInvalidLevel}, nil
	case !s.may(ctx, SeeSessions):
		return &srvsvc.StatisticsGetResponse{Return: werrAccessDenied}, nil
	}
	return &srvsvc.StatisticsGetResponse{Info: &srvsvc.StatServer0{
		Start: uint32(s.s.o.Start.Unix()), FileOpens: uint32(len(s.s.o.Clients.Opens())), SessOpens: uint32(len(s.s.o.Clients.Sessions())),
	}}, nil
}

// TransportEnum is [MS-SRVS] 3.1.4.25: TCP.
func (s *srvsvcServer) TransportEnum(ctx context.Context, q *srvsvc.TransportEnumRequest) (*srvsvc.TransportEnumResponse, error) {
	switch {
	case q.Info.Level != 0:
		return &srvsvc.TransportEnumResponse{Info: q.Info, Return: werrInvalidLevel}, nil
	case !s.may(ctx, SeeSessions):
		return &srvsvc.TransportEnumResponse{Info: &srvsvc.ServerXportEnum{XportInfo: &srvsvc.ServerXportEnumUnion{Value: &srvsvc.ServerXportEnumUnion_Level0{}}}, Return: werrAccessDenied}, nil
	}
	clients := map[netip.Addr]bool{}
	for _, x := range s.s.o.Clients.Sessions() {
		clients[x.Client] = true
	}
	address := []byte(strings.ToUpper(s.s.o.Name))
	return &srvsvc.TransportEnumResponse{TotalEntries: 1, Info: &srvsvc.ServerXportEnum{XportInfo: &srvsvc.ServerXportEnumUnion{Value: &srvsvc.ServerXportEnumUnion_Level0{
		Level0: &srvsvc.ServerXportInfo0Container{EntriesRead: 1, Buffer: []*srvsvc.ServerTransportInfo0{{
			NumberOfClients: uint32(len(clients)), TransportName: `\Device\NetbiosSmb`, TransportAddress: address, TransportAddressLength: uint32(len(address)), NetworkAddress: "000000000000",
		}}},
	}}}}, nil
}

// Kinds of names, [MS-SRVS] 3.1.4.33, and how long they may be.
var nameKinds = map[uint32]struct {
	longest int
	never   string
}{
	1:  {20, `"/\[]:|<>+=;,?*`},   // user
	2:  {256, `"/\[]:|<>+=;,?*`},  // password
	3:  {256, `"/\[]:|<>+=;,?*`},  // group
	4:  {15, `"/\[]:|<>+=;,?* `},  // computer
	5:  {15, `"/\[]:|<>+=;,?*`},   // event
	6:  {15, `"/\[]:|<>+=;,?*`},   // domain
	7:  {256, `"/\[]:|<>+=;,?*`},  // service
	8:  {260, `"<>|`},             // network
	9:  {80, `"/\[]:|<>+=;,?*`},   // share
	10: {256, ``},                 // password of a share
	11: {15, `"/\[]:|<>+=;,?*`},   // message
	12: {1024, `"/\[]:|<>+=;,?*`}, // message destination
}

// NameValidate is [MS-SRVS] 3.1.4.33.
func (s *srvsvcServer) NameValidate(_ context.Context, q *srvsvc.NameValidateRequest) (*srvsvc.NameValidateResponse, error) {
	k, ok := nameKinds[q.NameType]
	n := len([]rune(q.Name))
	longest := k.longest
	if q.NameType == 9 && q.Flags&0x80000000 != 0 { // as LAN Manager had it
		longest = 12
	}
	switch {
	case !ok:
		return &srvsvc.NameValidateResponse{Return: werrInvalidLevel}, nil
	case n == 0 && q.NameType != 2 && q.NameType != 10, n > longest, strings.ContainsAny(q.Name, k.never),
		strings.ContainsFunc(q.Name, func(r rune) bool { return r < ' ' }):
		return &srvsvc.NameValidateResponse{Return: werrInvalidName}, nil
	}
	return &srvsvc.NameValidateResponse{}, nil
}
