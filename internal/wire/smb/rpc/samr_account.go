package rpc

import (
	"bytes"
	"context"
	"errors"

	samr "github.com/oiweiwei/go-msrpc/msrpc/samr/samr/v1"
)

// errBadClass says that a call names a kind of information that there is not.
var errBadClass = errors.New("rpc: no such class of information")

// account finds a user or group of a handle.
func (s *samrServer) account(ctx context.Context, rid uint32, group bool) (*Account, error) {
	list, err := s.s.o.Accounts.Accounts(ctx)
	if err != nil {
		return nil, s.internal(ctx, err)
	}
	for i := range list {
		if list[i].RID == rid && list[i].Group == group {
			return &list[i], nil
		}
	}
	return nil, nil
}

// OpenUser is [MS-SAMR] 3.1.5.1.9.
func (s *samrServer) OpenUser(ctx context.Context, q *samr.OpenUserRequest) (*samr.OpenUserResponse, error) {
	r := &samr.OpenUserResponse{}
	d, ok := handleOf[samDomain](s, q.Domain)
	if !ok {
		r.Return = ntInvalidHandle
		return r, nil
	}
	a, err := s.account(ctx, q.UserID, false)
	switch {
	case err != nil:
		return nil, err
	case a == nil || d.builtin:
		r.Return = ntNoSuchUser
	default:
		r.UserHandle, r.Return = s.open(samUser{a.RID})
	}
	return r, nil
}

// OpenGroup is [MS-SAMR] 3.1.5.1.7.
func (s *samrServer) OpenGroup(ctx context.Context, q *samr.OpenGroupRequest) (*samr.OpenGroupResponse, error) {
	r := &samr.OpenGroupResponse{}
	d, ok := handleOf[samDomain](s, q.Domain)
	if !ok {
		r.Return = ntInvalidHandle
		return r, nil
	}
	a, err := s.account(ctx, q.GroupID, true)
	switch {
	case err != nil:
		return nil, err
	case a == nil || d.builtin:
		r.Return = ntNoSuchGroup
	default:
		r.GroupHandle, r.Return = s.open(samGroup{a.RID})
	}
	return r, nil
}

// OpenAlias is [MS-SAMR] 3.1.5.1.8.
func (s *samrServer) OpenAlias(_ context.Context, q *samr.OpenAliasRequest) (*samr.OpenAliasResponse, error) {
	r := &samr.OpenAliasResponse{Return: ntNoSuchAlias}
	d, ok := handleOf[samDomain](s, q.Domain)
	if !ok {
		r.Return = ntInvalidHandle
		return r, nil
	}
	for _, b := range builtins {
		if d.builtin && b.rid == q.AliasID {
			r.AliasHandle, r.Return = s.open(samAlias{b.rid})
		}
	}
	return r, nil
}

// userInfo makes what there is to say of a user; nil for a class that is unknown
// or for the server's own use.
func userInfo(a *Account, class samr.UserInformationClass) *samr.UserInfoBuffer {
	none := unicode("")
	hours := &samr.LogonHours{UnitsPerWeek: unitsPerWeek, LogonHours: bytes.Repeat([]byte{0xff}, unitsPerWeek/8)}
	b := &samr.UserInfoBuffer{}
	switch class {
	case samr.UserInformationClassGeneralInformation:
		b.Value = &samr.UserInfoBuffer_General{General: &samr.UserGeneralInformation{UserName: unicode(a.Name), FullName: none, PrimaryGroupID: a.PrimaryGroup, AdminComment: none, UserComment: none}}
	case samr.UserInformationClassPreferencesInformation:
		b.Value = &samr.UserInfoBuffer_Preferences{Preferences: &samr.UserPreferencesInformation{UserComment: none}}
	case samr.UserInformationClassLogonInformation:
		b.Value = &samr.UserInfoBuffer_Logon{Logon: &samr.UserLogonInformation{
			UserName: unicode(a.Name), FullName: none, UserID: a.RID, PrimaryGroupID: a.PrimaryGroup, HomeDirectory: unicode(wirePath(a.Home)), HomeDirectoryDrive: none,
			ScriptPath: none, ProfilePath: none, WorkStations: none, LastLogon: longAgo, LastLogoff: never, PasswordLastSet: longAgo,
			PasswordCanChange: longAgo, PasswordMustChange: never, LogonHours: hours, UserAccountControl: a.control(),
		}}
	case samr.UserInformationClassLogonHoursInformation:
		b.Value = &samr.UserInfoBuffer_LogonHours{LogonHours: &samr.UserLogonHoursInformation{LogonHours: hours}}
	case samr.UserInformationClassAccountInformation:
		b.Value = &samr.UserInfoBuffer_Account{Account: &samr.UserAccountInformation{
			UserName: unicode(a.Name), FullName: none, UserID: a.RID, PrimaryGroupID: a.PrimaryGroup, HomeDirectory: unicode(wirePath(a.Home)), HomeDirectoryDrive: none,
			ScriptPath: none, ProfilePath: none, AdminComment: none, WorkStations: none, LastLogon: longAgo, LastLogoff: never, LogonHours: hours,
			PasswordLastSet: longAgo, AccountExpires: never, UserAccountControl: a.control(),
		}}
	case samr.UserInformationClassNameInformation:
		b.Value = &samr.UserInfoBuffer_Name{Name: &samr.UserNameInformation{UserName: unicode(a.Name), FullName: none}}
	case samr.UserInformationClassAccountNameInformation:
		b.Value = &samr.UserInfoBuffer_AccountName{AccountName: &samr.UserANameInformation{UserName: unicode(a.Name)}}
	case samr.UserInformationClassFullNameInformation:
		b.Value = &samr.UserInfoBuffer_FullName{FullName: &samr.UserFNameInformation{FullName: none}}
	case samr.UserInformationClassPrimaryGroupInformation:
		b.Value = &samr.UserInfoBuffer_PrimaryGroup{PrimaryGroup: &samr.UserPrimaryGroupInformation{PrimaryGroupID: a.PrimaryGroup}}
	case samr.UserInformationClassHomeInformation:
		b.Value = &samr.UserInfoBuffer_Home{Home: &samr.UserHomeInformation{HomeDirectory: unicode(wirePath(a.Home)), HomeDirectoryDrive: none}}
	case samr.UserInformationClassScriptInformation:
		b.Value = &samr.UserInfoBuffer_Script{Script: &samr.UserScriptInformation{ScriptPath: none}}
	case samr.UserInformationClassProfileInformation:
		b.Value = &samr.UserInfoBuffer_Profile{Profile: &samr.UserProfileInformation{ProfilePath: none}}
	case samr.UserInformationClassAdminCommentInformation:
		b.Value = &samr.UserInfoBuffer_AdminComment{AdminComment: &samr.UserAdminCommentInformation{AdminComment: none}}
	case samr.UserInformationClassWorkStationsInformation:
		b.Value = &samr.UserInfoBuffer_WorkStations{WorkStations: &samr.UserWorkstationsInformation{WorkStations: none}}
	case samr.UserInformationClassControlInformation:
		b.Value = &samr.UserInfoBuffer_Control{Control: &samr.UserControlInformation{UserAccountControl: a.control()}}
	case samr.UserInformationClassExpiresInformation:
		b.Value = &samr.UserInfoBuffer_Expires{Expires: &samr.UserExpiresInformation{AccountExpires: never}}
	case samr.UserInformationClassParametersInformation:
		b.Value = &samr.UserInfoBuffer_Parameters{Parameters: &samr.UserParametersInformation{Parameters: none}}
	case samr.UserInformationClassAllInformation:
		b.Value = &samr.UserInfoBuffer_All{All: &samr.UserAllInformation{
			LastLogon: longAgo, LastLogoff: never, PasswordLastSet: longAgo, AccountExpires: never, PasswordCanChange: longAgo, PasswordMustChange: never,
			UserName: unicode(a.Name), FullName: none, HomeDirectory: unicode(wirePath(a.Home)), HomeDirectoryDrive: none, ScriptPath: none, ProfilePath: none,
			AdminComment: none, WorkStations: none, UserComment: none, Parameters: none, LMOWFPassword: &samr.ShortBlob{}, NTOWFPassword: &samr.ShortBlob{},
			PrivateData: none, SecurityDescriptor: &samr.SrSecurityDescriptor{}, UserID: a.RID, PrimaryGroupID: a.PrimaryGroup,
			UserAccountControl: a.control(), WhichFields: fieldsOfUser, LogonHours: hours,
		}}
	default:
		return nil
	}
	return b
}

// QueryInformationUser is [MS-SAMR] 3.1.5.5.6.
func (s *samrServer) QueryInformationUser(ctx context.Context, q *samr.QueryInformationUserRequest) (*samr.QueryInformationUserResponse, error) {
	u, ok := handleOf[samUser](s, q.UserHandle)
	if !ok {
		s.answerNothing(ntInvalidHandle)
		return nil, nil
	}
	a, err := s.account(ctx, u.rid, false)
	if err != nil {
		return nil, err
	}
	if a == nil {
		s.answerNothing(ntNoSuchUser)
		return nil, nil
	}
	b := userInfo(a, q.UserInformationClass)
	if b == nil {
		s.answerNothing(ntInvalidInfoClass)
		return nil, nil
	}
	return &samr.QueryInformationUserResponse{UserInformationClass: q.UserInformationClass, Buffer: b}, nil
}

// QueryInformationUser2 is [MS-SAMR] 3.1.5.5.5.
func (s *samrServer) QueryInformationUser2(ctx context.Context, q *samr.QueryInformationUser2Request) (*samr.QueryInformationUser2Response, error) {
	r, err := s.QueryInformationUser(ctx, (*samr.QueryInformationUserRequest)(q))
	return (*samr.QueryInformationUser2Response)(r), err
}

// GetGroupsForUser is [MS-SAMR] 3.1.5.9.1.
func (s *samrServer) GetGroupsForUser(ctx context.Context, q *samr.GetGroupsForUserRequest) (*samr.GetGroupsForUserResponse, error) {
	r := &samr.GetGroupsForUserResponse{}
	u, ok := handleOf[samUser](s, q.UserHandle)
	if !ok {
		r.Return = ntInvalidHandle
		return r, nil
	}
	groups, err := s.s.o.Accounts.Groups(ctx, u.rid)
	switch {
	case errors.Is(err, ErrNotFound):
		r.Return = ntNoSuchUser
		return r, nil
	case err != nil:
		return nil, s.internal(ctx, err)
	}
	r.Groups = &samr.GetGroupsBuffer{MembershipCount: uint32(len(groups))}
	for _, g := range groups {
		r.Groups.Groups = append(r.Groups.Groups, &samr.GroupMembership{RelativeID: g, Attributes: groupMandatory})
	}
	return r, nil
}

// QueryInformationGroup is [MS-SAMR] 3.1.5.5.3.
func (s *samrServer) QueryInformationGroup(ctx context.Context, q *samr.QueryInformationGroupRequest) (*samr.QueryInformationGroupResponse, error) {
	g, ok := handleOf[samGroup](s, q.GroupHandle)
	if !ok {
		s.answerNothing(ntInvalidHandle)
		return nil, nil
	}
	a, err := s.account(ctx, g.rid, true)
	if err != nil {
		return nil, err
	}
	members, merr := s.s.o.Accounts.Members(ctx, g.rid)
	switch {
	case a == nil || errors.Is(merr, ErrNotFound):
		s.answerNothing(ntNoSuchGroup)
		return nil, nil
	case merr != nil:
		return nil, s.internal(ctx, merr)
	}
	general := &samr.GroupGeneralInformation{Name: unicode(a.Name), Attributes: groupMandatory, MemberCount: uint32(len(members)), AdminComment: unicode("")}
	b := &samr.GroupInfoBuffer{}
	switch q.GroupInformationClass {
	case samr.GroupInformationClassGeneralInformation:
		b.Value = &samr.GroupInfoBuffer_General{General: general}
	case samr.GroupInformationClassNameInformation:
		b.Value = &samr.GroupInfoBuffer_Name{Name: &samr.GroupNameInformation{Name: unicode(a.Name)}}
	case samr.GroupInformationClassAttributeInformation:
		b.Value = &samr.GroupInfoBuffer_Attribute{Attribute: &samr.GroupAttributeInformation{Attributes: groupMandatory}}
	case samr.GroupInformationClassAdminCommentInformation:
		b.Value = &samr.GroupInfoBuffer_AdminComment{AdminComment: &samr.GroupAdmCommentInformation{AdminComment: unicode("")}}
	case samr.GroupInformationClassReplicationInformation:
		b.Value = &samr.GroupInfoBuffer_DoNotUse{DoNotUse: general}
	default:
		s.answerNothing(ntInvalidInfoClass)
		return nil, nil
	}
	return &samr.QueryInformationGroupResponse{GroupInformationClass: q.GroupInformationClass, Buffer: b}, nil
}

// GetMembersInGroup is [MS-SAMR] 3.1.5.8.3.
func (s *samrServer) GetMembersInGroup(ctx context.Context, q *samr.GetMembersInGroupRequest) (*samr.GetMembersInGroupResponse, error) {
	r := &samr.GetMembersInGroupResponse{}
	g, ok := handleOf[samGroup](s, q.GroupHandle)
	if !ok {
		r.Return = ntInvalidHandle
		return r, nil
	}
	members, err := s.s.o.Accounts.Members(ctx, g.rid)
	switch {
	case errors.Is(err, ErrNotFound):
		r.Return = ntNoSuchGroup
		return r, nil
	case err != nil:
		return nil, s.internal(ctx, err)
	}
	r.Members = &samr.GetMembersBuffer{MemberCount: uint32(len(members)), Members: members}
	for range members {
		r.Members.Attributes = append(r.Members.Attributes, groupMandatory)
	}
	return r, nil
}

// QueryInformationAlias is [MS-SAMR] 3.1.5.5.4.
func (s *samrServer) QueryInformationAlias(_ context.Context, q *samr.QueryInformationAliasRequest) (*samr.QueryInformationAliasResponse, error) {
	x, ok := handleOf[samAlias](s, q.AliasHandle)
	if !ok {
		s.answerNothing(ntInvalidHandle)
		return nil, nil
	}
	name := ""
	for _, b := range builtins {
		if b.rid == x.rid {
			name = b.name
		}
	}
	b := &samr.AliasInfoBuffer{}
	switch q.AliasInformationClass {
	case samr.AliasInformationClassGeneralInformation:
		b.Value = &samr.AliasInfoBuffer_General{General: &samr.AliasGeneralInformation{Name: unicode(name), MemberCount: 1, AdminComment: unicode("")}}
	case samr.AliasInformationClassNameInformation:
		b.Value = &samr.AliasInfoBuffer_Name{Name: &samr.AliasNameInformation{Name: unicode(name)}}
	case samr.AliasInformationClassAdminCommentInformation:
		b.Value = &samr.AliasInfoBuffer_AdminComment{AdminComment: &samr.AliasAdmCommentInformation{AdminComment: unicode("")}}
	default:
		s.answerNothing(ntInvalidInfoClass)
		return nil, nil
	}
	return &samr.QueryInformationAliasResponse{AliasInformationClass: q.AliasInformationClass, Buffer: b}, nil
}

// GetMembersInAlias is [MS-SAMR] 3.1.5.8.2.
func (s *samrServer) GetMembersInAlias(_ context.Context, q *samr.GetMembersInAliasRequest) (*samr.GetMembersInAliasResponse, error) {
	r := &samr.GetMembersInAliasResponse{Members: &samr.SIDArrayOut{}, Return: ntInvalidHandle}
	x, ok := handleOf[samAlias](s, q.AliasHandle)
	for _, b := range builtins {
		if ok && b.rid == x.rid {
			r.Members.SIDs = []*samr.SIDInformation{{SIDPointer: wireSID(join(s.sid(samDomain{}), b.group))}}
			r.Members.Count, r.Return = 1, ntOK
		}
	}
	return r, nil
}

// GetUserDomainPasswordInformation is [MS-SAMR] 3.1.5.13.3.
func (s *samrServer) GetUserDomainPasswordInformation(_ context.Context, q *samr.GetUserDomainPasswordInformationRequest) (*samr.GetUserDomainPasswordInformationResponse, error) {
	if _, ok := handleOf[samUser](s, q.UserHandle); !ok {
		return &samr.GetUserDomainPasswordInformationResponse{PasswordInformation: &samr.UserDomainPasswordInformation{}, Return: ntInvalidHandle}, nil
	}
	return &samr.GetUserDomainPasswordInformationResponse{PasswordInformation: &samr.UserDomainPasswordInformation{MinPasswordLength: minPassword}}, nil
}

// GetDomainPasswordInformation is [MS-SAMR] 3.1.5.13.4, which wants no handle.
func (s *samrServer) GetDomainPasswordInformation(ctx context.Context, _ *samr.GetDomainPasswordInformationRequest) (*samr.GetDomainPasswordInformationResponse, error) {
	if s.who.User == "" || !s.may(ctx, SeeAccounts) {
		return &samr.GetDomainPasswordInformationResponse{PasswordInformation: &samr.UserDomainPasswordInformation{}, Return: ntAccessDenied}, nil
	}
	return &samr.GetDomainPasswordInformationResponse{PasswordInformation: &samr.UserDomainPasswordInformation{MinPasswordLength: minPassword}}, nil
}
