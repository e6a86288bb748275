package smb

import (
	"context"
	"errors"

	"manifold/internal/fs"
)

// status is an NTSTATUS, [MS-ERREF] 2.3.
type status uint32

const (
	stOK                     status = 0
	stPending                status = 0x00000103
	stNotifyCleanup          status = 0x0000010B
	stNotifyEnumDir          status = 0x0000010C
	stBufferOverflow         status = 0x80000005
	stNoMoreFiles            status = 0x80000006
	stEALEIllegal            status = 0x80000013
	stInvalidEAFlag          status = 0x80000015
	stStoppedOnSymlink       status = 0x8000002D
	stUnsuccessful           status = 0xC0000001
	stNotImplemented         status = 0xC0000002
	stInvalidInfoClass       status = 0xC0000003
	stInfoLengthMismatch     status = 0xC0000004
	stInvalidHandle          status = 0xC0000008
	stInvalidParameter       status = 0xC000000D
	stNoSuchFile             status = 0xC000000F
	stInvalidDeviceRequest   status = 0xC0000010
	stEndOfFile              status = 0xC0000011
	stMoreProcessing         status = 0xC0000016
	stAccessDenied           status = 0xC0000022
	stBufferTooSmall         status = 0xC0000023
	stObjectNameInvalid      status = 0xC0000033
	stObjectNameNotFound     status = 0xC0000034
	stObjectNameCollision    status = 0xC0000035
	stObjectPathInvalid      status = 0xC0000039
	stObjectPathNotFound     status = 0xC000003A
	stObjectPathSyntaxBad    status = 0xC000003B
	stDataError              status = 0xC000003E
	stSharingViolation       status = 0xC0000043
	stEANoSupport            status = 0xC000004F
	stNonexistentEA          status = 0xC0000051
	stFileLockConflict       status = 0xC0000054
	stLockNotGranted         status = 0xC0000055
	stDeletePending          status = 0xC0000056
	stPrivilegeNotHeld       status = 0xC0000061
	stLogonFailure           status = 0xC000006D
	stAccountDisabled        status = 0xC0000072
	stRangeNotLocked         status = 0xC000007E
	stInvalidACL             status = 0xC0000077
	stInvalidSID             status = 0xC0000078
	stInvalidSD              status = 0xC0000079
	stDiskFull               status = 0xC000007F
	stMediaWriteProtected    status = 0xC00000A2
	stPipeBusy               status = 0xC00000AE
	stPipeDisconnected       status = 0xC00000B0
	stIOTimeout              status = 0xC00000B5
	stFileIsDirectory        status = 0xC00000BA
	stNotSupported           status = 0xC00000BB
	stNetworkNameDeleted     status = 0xC00000C9
	stBadNetworkName         status = 0xC00000CC
	stRequestNotAccepted     status = 0xC00000D0
	stInvalidOplockProtocol  status = 0xC00000E3
	stInternalError          status = 0xC00000E5
	stUnexpectedIOError      status = 0xC00000E9
	stDirectoryNotEmpty      status = 0xC0000101
	stNotADirectory          status = 0xC0000103
	stNameTooLong            status = 0xC0000106
	stCancelled              status = 0xC0000120
	stCannotDelete           status = 0xC0000121
	stFileDeleted            status = 0xC0000123
	stFileClosed             status = 0xC0000128
	stInvalidBufferSize      status = 0xC0000206
	stInsufficientResources  status = 0xC000009A
	stUserSessionDeleted     status = 0xC0000203
	stNotFound               status = 0xC0000225
	stDuplicateObjectID      status = 0xC000022A
	stNotSameDevice          status = 0xC00000D4
	stTooManyLinks           status = 0xC0000265
	stRequestOutOfSequence   status = 0xC000042A
	stBadImpersonationLevel  status = 0xC00000A5
	stPathNotCovered         status = 0xC0000257
	stNotAReparsePoint       status = 0xC0000275
	stIOReparseTagInvalid    status = 0xC0000276
	stIOReparseTagMismatch   status = 0xC0000277
	stIOReparseDataInvalid   status = 0xC0000278
	stNetworkSessionExpired  status = 0xC000035C
	stFileNotAvailable       status = 0xC0000467
	stSmbNoPreauthOverlap    status = 0xC05D0000
	stSMBBadCluster          status = 0xC05D0001
	stInvalidLockRange       status = 0xC00001A1
	stFSDriverRequired       status = 0xC000019C
	stInvalidDeviceState     status = 0xC0000184
	stOplockBreakInProgress  status = 0x00000108
	stUnsupportedCompression status = 0xC000026F
	stQuotaExceeded          status = 0xC0000044
	stInvalidOwner           status = 0xC000005A
	stFileTooLarge           status = 0xC0000904
)

// failed tells whether a status is answered with an error body.
func (s status) failed() bool {
	return s>>30 == 3 && s != stMoreProcessing || s == stNoMoreFiles || s == stStoppedOnSymlink || s == stEALEIllegal || s == stInvalidEAFlag
}

// statusOf maps the kinds of the contract.
func statusOf(err error) status {
	if err == nil {
		return stOK
	}
	if errors.Is(err, context.Canceled) {
		return stCancelled
	}
	var s statusError
	if errors.As(err, &s) {
		return status(s)
	}
	return kindStatus(fs.KindOf(err))
}

func kindStatus(k fs.Kind) status {
	switch k {
	case fs.NotExist:
		return stObjectNameNotFound
	case fs.Stale:
		return stFileClosed
	case fs.Exist:
		return stObjectNameCollision
	case fs.NotDir:
		return stNotADirectory
	case fs.IsDir:
		return stFileIsDirectory
	case fs.NotEmpty:
		return stDirectoryNotEmpty
	case fs.NotFile, fs.NotSupported:
		return stInvalidDeviceRequest
	case fs.NotSymlink:
		return stNotAReparsePoint
	case fs.Access, fs.Perm:
		return stAccessDenied
	case fs.ReadOnly:
		return stMediaWriteProtected
	case fs.Invalid, fs.BadCookie, fs.TooBig:
		return stInvalidParameter
	case fs.NameInvalid:
		return stObjectNameInvalid
	case fs.NameTooLong:
		return stObjectNameInvalid
	case fs.NoSpace:
		return stDiskFull
	case fs.QuotaExceeded:
		return stDiskFull
	case fs.TooManyLinks:
		return stTooManyLinks
	case fs.CrossDevice:
		return stNotSameDevice
	case fs.Loop:
		return stAccessDenied
	case fs.Sharing:
		return stSharingViolation
	case fs.LockConflict:
		return stFileLockConflict
	case fs.Deadlock:
		return stLockNotGranted
	case fs.NoLock:
		return stRangeNotLocked
	case fs.Retry, fs.Grace, fs.Unavailable:
		return stFileNotAvailable
	case fs.WORM:
		return stAccessDenied
	case fs.Corrupt:
		return stDataError
	case fs.NoAttr:
		return stObjectNameNotFound
	case fs.TooMany:
		return stInsufficientResources
	case fs.TooSmall:
		return stBufferTooSmall
	case fs.Busy:
		return stSharingViolation
	case fs.RevisionMismatch:
		return stUnsuccessful
	case fs.Canceled:
		return stCancelled
	}
	return stUnexpectedIOError
}

// statusError carries a status through calls that answer errors.
type statusError status

func (s statusError) Error() string { return "smb: status" }
