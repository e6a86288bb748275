package rpc

import (
	"context"

	wkssvc "github.com/oiweiwei/go-msrpc/msrpc/wkst/wkssvc/v1"
)

// wkssvcServer answers [MS-WKST].
type wkssvcServer struct {
	wkssvc.UnimplementedWkssvcServer
	*call
}

// GetInfo is [MS-WKST] 3.2.4.1.
func (s *wkssvcServer) GetInfo(ctx context.Context, q *wkssvc.GetInfoRequest) (*wkssvc.GetInfoResponse, error) {
	o := &s.s.o
	i := &wkssvc.WorkstationInfo{}
	switch q.Level {
	case 100:
		i.Value = &wkssvc.WorkstationInfo_100{WorkstationInfo100: &wkssvc.WorkstationInfo100{
			PlatformID: platformNT, ComputerName: o.Name, LANGroup: o.Domain, VerMajor: versionMajor, VerMinor: versionMinor,
		}}
	case 101:
		i.Value = &wkssvc.WorkstationInfo_101{WorkstationInfo101: &wkssvc.WorkstationInfo101{
			PlatformID: platformNT, ComputerName: o.Name, LANGroup: o.Domain, VerMajor: versionMajor, VerMinor: versionMinor,
		}}
	case 102:
		if !s.may(ctx, SeeSessions) {
			s.answerLevel(q.Level, werrAccessDenied)
			return nil, nil
		}
		i.Value = &wkssvc.WorkstationInfo_102{WorkstationInfo102: &wkssvc.WorkstationInfo102{
			PlatformID: platformNT, ComputerName: o.Name, LANGroup: o.Domain, VerMajor: versionMajor, VerMinor: versionMinor,
		}}
	default:
		s.answerLevel(q.Level, werrInvalidLevel)
		return nil, nil
	}
	return &wkssvc.GetInfoResponse{Level: q.Level, WorkstationInfo: i}, nil
}

// UserEnum is [MS-WKST] 3.2.4.3: nobody works at the server itself.
func (s *wkssvcServer) UserEnum(ctx context.Context, q *wkssvc.UserEnumRequest) (*wkssvc.UserEnumResponse, error) {
	r := &wkssvc.UserEnumResponse{UserInfo: q.UserInfo}
	if !s.may(ctx, SeeSessions) {
		r.Return = werrAccessDenied
	}
	return r, nil
}

// GetJoinInformation is [MS-WKST] 3.2.4.13: a member of a workgroup.
func (s *wkssvcServer) GetJoinInformation(context.Context, *wkssvc.GetJoinInformationRequest) (*wkssvc.GetJoinInformationResponse, error) {
	return &wkssvc.GetJoinInformationResponse{NameBuffer: s.s.o.Domain, BufferType: wkssvc.NetsetupJoinStatusSetupWorkgroupName}, nil
}
