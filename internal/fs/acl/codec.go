package acl

import (
	"encoding/binary"
	"fmt"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

// The record, big-endian: version, flags, control (2), mode (2), owner (8),
// group (8), count (2); then per entry type, flags, rights (4), trustee (8).
// It is canonical: one ACL has one encoding, so records can be named by hash.
const (
	recordVersion  = 1
	recordHeader   = 24
	recordEntry    = 14
	recordModeOnly = 0x01

	// maxStored bounds stored entries: chmod may split each of MaxACEs and add
	// five; a child may get two for each.
	maxStored = 2*fs.MaxACEs + 5

	knownFlags   = fs.ACEObjectInherit | fs.ACEContainerInherit | fs.ACENoPropagateInherit | fs.ACEInheritOnly | fs.ACEInherited
	knownControl = fs.ACLPresent | fs.ACLDefaulted | fs.ACLTrusted | fs.ACLAutoInherited | fs.ACLProtected
)

// Encode answers the record of a valid ACL.
func Encode(a *fs.ACL) []byte {
	n, mode := len(a.Entries), a.Mode&fs.ModeAll
	if a.ModeOnly {
		n = 0
	} else {
		mode &^= 0o777 // a shown ACL carries the derived bits
	}
	b := make([]byte, recordHeader, recordHeader+n*recordEntry)
	b[0] = recordVersion
	if a.ModeOnly {
		b[1] = recordModeOnly
	}
	binary.BigEndian.PutUint16(b[2:], uint16(a.Control))
	binary.BigEndian.PutUint16(b[4:], uint16(mode))
	binary.BigEndian.PutUint64(b[6:], uint64(a.Owner))
	binary.BigEndian.PutUint64(b[14:], uint64(a.Group))
	binary.BigEndian.PutUint16(b[22:], uint16(n))
	for _, e := range a.Entries[:n] {
		b = append(b, byte(e.Type), byte(e.Flags))
		b = binary.BigEndian.AppendUint32(b, uint32(e.Rights))
		b = binary.BigEndian.AppendUint64(b, uint64(e.Trustee))
	}
	return b
}

// Decode reads a record. What Encode would not have written is fs.Corrupt.
func Decode(b []byte) (fs.ACL, error) {
	corrupt := func(what string) (fs.ACL, error) {
		return fs.ACL{}, fmt.Errorf("acl record: %s: %w", what, fs.Corrupt)
	}
	if len(b) < recordHeader {
		return corrupt("short")
	}
	if b[0] != recordVersion {
		return corrupt(fmt.Sprintf("version %d", b[0]))
	}
	a := fs.ACL{
		ModeOnly: b[1]&recordModeOnly != 0,
		Control:  fs.ACLControl(binary.BigEndian.Uint16(b[2:])),
		Mode:     fs.Mode(binary.BigEndian.Uint16(b[4:])),
		Owner:    identity.AuthID(binary.BigEndian.Uint64(b[6:])),
		Group:    identity.AuthID(binary.BigEndian.Uint64(b[14:])),
	}
	n := int(binary.BigEndian.Uint16(b[22:]))
	switch {
	case b[1]&^recordModeOnly != 0 || a.Control&^knownControl != 0 || a.Mode&^fs.ModeAll != 0:
		return corrupt("unknown bits")
	case !a.ModeOnly && a.Mode&0o777 != 0:
		return corrupt("permission bits beside entries")
	case n > maxStored || a.ModeOnly && n > 0:
		return corrupt(fmt.Sprintf("%d entries", n))
	case len(b) != recordHeader+n*recordEntry:
		return corrupt("length")
	}
	if n == 0 {
		return a, nil
	}
	a.Entries = make([]fs.ACE, n)
	for i := range a.Entries {
		r := b[recordHeader+i*recordEntry:]
		e := fs.ACE{
			Type:    fs.ACEType(r[0]),
			Flags:   fs.ACEFlags(r[1]),
			Rights:  fs.Rights(binary.BigEndian.Uint32(r[2:])),
			Trustee: identity.AuthID(binary.BigEndian.Uint64(r[6:])),
		}
		if e.Type > fs.ACEDeny || e.Flags&^knownFlags != 0 || e.Rights&^fs.RightsAll != 0 {
			return corrupt(fmt.Sprintf("entry %d", i))
		}
		a.Entries[i] = e
	}
	return a, nil
}

// Validate tells what is wrong with an ACL that somebody wants to set, as an
// error of kind fs.TooMany or fs.Invalid.
func Validate(a *fs.ACL) error {
	if len(a.Entries) > fs.MaxACEs {
		return fmt.Errorf("%d ACL entries, at most %d are possible: %w", len(a.Entries), fs.MaxACEs, fs.TooMany)
	}
	if a.Control&^knownControl != 0 || a.Mode&^fs.ModeAll != 0 {
		return fmt.Errorf("ACL has unknown control or mode bits: %w", fs.Invalid)
	}
	for i, e := range a.Entries {
		switch {
		case e.Type > fs.ACEDeny:
			return fmt.Errorf("ACL entry %d is neither allow nor deny: %w", i, fs.Invalid)
		case e.Flags&^knownFlags != 0:
			return fmt.Errorf("ACL entry %d has unknown flags %#x: %w", i, uint8(e.Flags), fs.Invalid)
		case e.Rights&^fs.RightsAll != 0:
			return fmt.Errorf("ACL entry %d has unknown rights %#x: %w", i, uint32(e.Rights), fs.Invalid)
		case e.Trustee == identity.Unset:
			return fmt.Errorf("ACL entry %d names nobody: %w", i, fs.Invalid)
		}
	}
	return nil
}
