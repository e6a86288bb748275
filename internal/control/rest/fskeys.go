package rest

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/fs"
)

type keyRecord struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Comment   string `json:"comment"`
	Disabled  bool   `json:"disabled"`
	PublicKey string `json:"public_key"`
}

type newKey struct {
	Name      string `json:"name"`
	Comment   string `json:"comment,omitempty"`
	PublicKey string `json:"public_key"`
	// Signature of the name by the key, in base64, proves possession.
	Signature string `json:"verification_signature"`
}

type keyPatch struct {
	Name     *string `json:"name,omitempty"`
	Comment  *string `json:"comment,omitempty"`
	Disabled *bool   `json:"disabled,omitempty"`
}

type keyReplacement struct {
	Key          string `json:"replacement_key"`
	OldSignature string `json:"old_key_verification_signature"`
	NewSignature string `json:"replacement_key_verification_signature"`
}

type challenge struct {
	Challenge string `json:"challenge"`
}

type keyUsage struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

type keyUsages struct {
	Usages []keyUsage `json:"usages"`
	Paging paging     `json:"paging"`
}

type keyRef struct {
	Ref string `json:"lock_key_ref"`
}

type signature struct {
	Signature string `json:"signature"`
}

func keyRoutes() []route {
	const (
		all, one = "/v1/file-system/security/keys/", "/v1/file-system/security/keys/{key_ref}"
		r, w     = control.FSKeysRead, control.FSKeysWrite
		snap     = "/v3/snapshots/{id}/"
	)
	return []route{
		{Method: "GET", Path: all, Privilege: r, Summary: "Public keys that lock snapshots.", Out: snapshotList[keyRecord]{}, handle: listKeys},
		{Method: "POST", Path: all, Privilege: w, Summary: "Register an ECDSA P-256 key; a signature over its name proves that its owner agrees.", In: newKey{}, Out: keyRecord{}, handle: addKey},
		{Method: "GET", Path: one, Privilege: r, Summary: "One key, by id or name.", Out: keyRecord{}, handle: getKey},
		{Method: "PUT", Path: one, Privilege: w, Summary: "Replace name, comment and state of a key.", In: keyPatch{}, Out: keyRecord{}, Conditional: true, handle: func(q *request) (reply, error) { return changeKey(q, true) }},
		{Method: "PATCH", Path: one, Privilege: w, Summary: "Change name, comment or state of a key.", In: keyPatch{}, Out: keyRecord{}, Conditional: true, handle: func(q *request) (reply, error) { return changeKey(q, false) }},
		{Method: "DELETE", Path: one, Privilege: w, Summary: "Remove a key that nothing uses.", Conditional: true, handle: deleteKey},
		{Method: "GET", Path: one + "/key-replacement-challenge", Privilege: r, Summary: "What both keys must sign for a replacement.", Out: challenge{}, handle: keyChallenge},
		{Method: "POST", Path: one + "/replace", Privilege: w, Summary: "Put another key under the same id and name.", In: keyReplacement{}, Out: keyRecord{}, Conditional: true, handle: replaceKey},
		{Method: "GET", Path: one + "/usages", Privilege: r, Summary: "Snapshots and policies that use a key.", Out: keyUsages{}, Query: []query{queryAfter, queryLimit}, handle: listUsages},
		{Method: "POST", Path: snap + "lock", Privilege: control.SnapshotLock, Summary: "Lock a snapshot until it expires or the key's owner unlocks it.", In: keyRef{}, Out: keyRef{}, handle: lockSnapshot},
		{Method: "GET", Path: snap + "unlock-challenge", Privilege: control.SnapshotRead, Summary: "What the key must sign to unlock a snapshot.", Out: challenge{}, handle: unlockChallenge},
		{Method: "POST", Path: snap + "unlock", Privilege: control.SnapshotLock, Summary: "Unlock a snapshot with a signed challenge.", In: signature{}, handle: unlockSnapshot},
	}
}

func renderKey(k *config.Record[config.FSKey]) reply {
	return reply{body: keyOf(k), tag: tag(k.ID, k.Revision)}
}

func keyOf(k *config.Record[config.FSKey]) keyRecord {
	return keyRecord{strconv.FormatUint(k.ID, 10), k.Value.Name, k.Value.Comment, k.Value.Disabled, k.Value.PublicKey}
}

func keyError(ref string, err error) error {
	switch {
	case errors.Is(err, config.ErrNotFound):
		return &apiError{Status: http.StatusNotFound, Class: "fs_key_store_key_not_found_error", Text: "No such key: " + ref, cause: err}
	case errors.Is(err, config.ErrExists):
		return conflict("fs_key_store_key_already_exists_error", "there is a key named %q", ref)
	case errors.Is(err, config.ErrInUse):
		return keyInUse(ref)
	}
	return err
}

func keyInUse(ref string) error {
	return conflict("fs_key_store_key_in_use_error", "snapshots or policies use the key %q", ref)
}

func badSignature() error {
	return badRequest("fs_key_store_invalid_signature_error", "the signature is not that of the key over the text")
}

func listKeys(q *request) (reply, error) {
	ks, err := q.s.o.FSKeys.FSKeys(q.Context())
	out := snapshotList[keyRecord]{Entries: []keyRecord{}}
	for i := range ks {
		out.Entries = append(out.Entries, keyOf(&ks[i]))
	}
	return reply{body: out}, err
}

// signed tells whether a key signed a text.
func signed(k *config.FSKey, text, sig string) bool {
	b, err := base64.StdEncoding.DecodeString(sig)
	return err == nil && k.Verify(text, b)
}

func addKey(q *request) (reply, error) {
	in, err := body[newKey](q)
	if err != nil {
		return reply{}, err
	}
	k := config.FSKey{Name: in.Name, Comment: in.Comment, PublicKey: in.PublicKey}
	if _, err := config.ParseFSKey(k.PublicKey); err != nil {
		return reply{}, err
	}
	if !signed(&k, k.Name, in.Signature) {
		return reply{}, badSignature()
	}
	rec, err := q.s.o.FSKeys.AddFSKey(q.Context(), k)
	return renderKey(&rec), keyError(in.Name, err)
}

func (q *request) key() (config.Record[config.FSKey], error) {
	k, err := q.s.o.FSKeys.FSKey(q.Context(), q.params[0])
	return k, keyError(q.params[0], err)
}

func getKey(q *request) (reply, error) {
	k, err := q.key()
	return renderKey(&k), err
}

// usages are what uses a key, snapshots in the order of their ids first.
func (q *request) usages(id uint64) ([]keyUsage, error) {
	out := []keyUsage{}
	ref := strconv.FormatUint(id, 10)
	err := q.s.o.FS.ListSnapshots(q.Context(), 0, func(s *fs.Snapshot) bool {
		if s.LockKey == ref && !s.InDelete {
			out = append(out, keyUsage{"snapshot", strconv.FormatUint(uint64(s.ID), 10)})
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	ps, err := q.s.o.Policies.Policies(q.Context())
	for i := range ps {
		if ps[i].Value.LockKey == id {
			out = append(out, keyUsage{"snapshot_policy", strconv.FormatUint(ps[i].ID, 10)})
		}
	}
	return out, err
}

func changeKey(q *request, whole bool) (reply, error) {
	in, err := body[keyPatch](q)
	if err != nil {
		return reply{}, err
	}
	old, err := q.key()
	if err != nil {
		return reply{}, err
	}
	if _, err := q.match(renderKey(&old).tag); err != nil {
		return reply{}, err
	}
	k := old.Value
	if whole {
		k.Comment, k.Disabled = "", false
	}
	if in.Name != nil {
		k.Name = *in.Name
	}
	if in.Comment != nil {
		k.Comment = *in.Comment
	}
	if in.Disabled != nil {
		k.Disabled = *in.Disabled
	}
	if k.Disabled && !old.Value.Disabled {
		us, err := q.usages(old.ID)
		if err != nil {
			return reply{}, err
		}
		if len(us) > 0 {
			return reply{}, keyInUse(old.Value.Name)
		}
	}
	rec, err := q.s.o.FSKeys.ModifyFSKey(q.Context(), old.ID, old.Revision, k)
	return renderKey(&rec), keyError(k.Name, err)
}

func deleteKey(q *request) (reply, error) {
	k, err := q.key()
	if err != nil {
		return reply{}, err
	}
	rev, err := q.seen(renderKey(&k).tag, k.Revision)
	if err != nil {
		return reply{}, err
	}
	us, err := q.usages(k.ID)
	if err != nil {
		return reply{}, err
	}
	if len(us) > 0 {
		return reply{}, keyInUse(k.Value.Name)
	}
	return reply{}, keyError(k.Value.Name, q.s.o.FSKeys.DeleteFSKey(q.Context(), k.ID, rev))
}

// challengeOf is a text that is another whenever one of its parts is.
func (q *request) challengeOf(kind string, numbers ...any) (string, error) {
	c, err := q.cluster()
	h := sha256.Sum256([]byte(fmt.Sprintln(append([]any{"manifold", kind, c.UUID}, numbers...)...)))
	return base64.StdEncoding.EncodeToString(h[:]), err
}

func (q *request) replacementChallenge(k *config.Record[config.FSKey]) (string, error) {
	return q.challengeOf("replace key", k.ID, k.Revision, k.Value.PublicKey)
}

func keyChallenge(q *request) (reply, error) {
	k, err := q.key()
	if err != nil {
		return reply{}, err
	}
	c, err := q.replacementChallenge(&k)
	return reply{body: challenge{c}}, err
}

func replaceKey(q *request) (reply, error) {
	in, err := body[keyReplacement](q)
	if err != nil {
		return reply{}, err
	}
	old, err := q.key()
	if err != nil {
		return reply{}, err
	}
	if _, err := q.match(renderKey(&old).tag); err != nil {
		return reply{}, err
	}
	c, err := q.replacementChallenge(&old)
	if err != nil {
		return reply{}, err
	}
	k := old.Value
	k.PublicKey = in.Key
	if _, err := config.ParseFSKey(in.Key); err != nil {
		return reply{}, err
	}
	if !signed(&old.Value, c, in.OldSignature) || !signed(&k, c, in.NewSignature) {
		return reply{}, badSignature()
	}
	// The revision is part of what was signed.
	rec, err := q.s.o.FSKeys.ModifyFSKey(q.Context(), old.ID, old.Revision, k)
	return renderKey(&rec), keyError(k.Name, err)
}

func listUsages(q *request) (reply, error) {
	p, err := q.page()
	if err != nil {
		return reply{}, err
	}
	skip, err := p.number()
	if err != nil {
		return reply{}, err
	}
	k, err := q.key()
	if err != nil {
		return reply{}, err
	}
	us, err := q.usages(k.ID)
	if err != nil {
		return reply{}, err
	}
	us = us[min(int(min(skip, 1<<30)), len(us)):]
	var next paging
	if len(us) > p.limit {
		us = us[:p.limit]
		next.Next = q.next(p, strconv.FormatUint(skip+uint64(p.limit), 10))
	}
	return reply{body: keyUsages{us, next}}, nil
}

func lockSnapshot(q *request) (reply, error) {
	in, err := body[keyRef](q)
	if err != nil {
		return reply{}, err
	}
	s, err := q.snapshotParam(0)
	if err != nil {
		return reply{}, err
	}
	k, err := q.s.o.FSKeys.FSKey(q.Context(), in.Ref)
	if err != nil {
		return reply{}, keyError(in.Ref, err)
	}
	switch {
	case k.Value.Disabled:
		return reply{}, conflict("fs_key_store_key_disabled_error", "the key %q is switched off", k.Value.Name)
	case s.InDelete:
		return reply{}, snapshotNotFound(uint64(s.ID))
	case s.LockKey != "":
		return reply{}, conflict("api_snapshots_snapshot_locked_error", "snapshot %d is locked already", s.ID)
	}
	s.LockKey = strconv.FormatUint(k.ID, 10)
	if _, err := q.s.o.FS.ModifySnapshot(q.Context(), s); err != nil {
		return reply{}, err
	}
	return reply{body: keyRef{s.LockKey}}, nil
}

func notLocked(s *fs.Snapshot) error {
	return conflict("api_snapshots_snapshot_not_locked_error", "snapshot %d is not locked", s.ID)
}

func (q *request) unlockChallenge(s *fs.Snapshot) (string, error) {
	return q.challengeOf("unlock snapshot", s.ID, s.Revision, s.Expires.UnixNano(), s.LockKey)
}

func unlockChallenge(q *request) (reply, error) {
	s, err := q.snapshotParam(0)
	if err != nil {
		return reply{}, err
	}
	if s.LockKey == "" {
		return reply{}, notLocked(&s)
	}
	c, err := q.unlockChallenge(&s)
	return reply{body: challenge{c}}, err
}

func unlockSnapshot(q *request) (reply, error) {
	in, err := body[signature](q)
	if err != nil {
		return reply{}, err
	}
	s, err := q.snapshotParam(0)
	if err != nil {
		return reply{}, err
	}
	if s.LockKey == "" {
		return reply{}, notLocked(&s)
	}
	k, err := q.s.o.FSKeys.FSKey(q.Context(), s.LockKey)
	if err != nil {
		return reply{}, keyError(s.LockKey, err)
	}
	c, err := q.unlockChallenge(&s)
	if err != nil {
		return reply{}, err
	}
	if !signed(&k.Value, c, in.Signature) {
		return reply{}, badSignature()
	}
	s.LockKey = ""
	_, err = q.s.o.FS.ModifySnapshot(q.Context(), s) // at the revision that was signed
	return reply{}, err
}
