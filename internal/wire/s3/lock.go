package s3

import (
	"encoding/json"
	"encoding/xml"
	"net/http"
	"strings"
	"time"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

const (
	lockCompliance = "COMPLIANCE"
	lockGovernance = "GOVERNANCE"
	// lockKey holds a lockState of GOVERNANCE.
	lockKey = ":lock"
	maxDays = 36500
)

// lockRequest is what an upload wants of locks.
type lockRequest struct {
	Mode  string    `json:"mode,omitempty"`
	Until time.Time `json:"until"`
	Hold  bool      `json:"hold,omitempty"`
	// HoldSet tells "OFF" from nothing said.
	HoldSet bool `json:"holdSet,omitempty"`
}

func parseLockTime(v string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339Nano, v)
	return t.UTC(), err == nil
}

// readLockHeaders takes the x-amz-object-lock headers.
func (q *request) readLockHeaders() (*lockRequest, *apiError) {
	h := q.r.Header
	mode, until, hold := h.Get("X-Amz-Object-Lock-Mode"), h.Get("X-Amz-Object-Lock-Retain-Until-Date"), h.Get("X-Amz-Object-Lock-Legal-Hold")
	if mode == "" && until == "" && hold == "" {
		return nil, nil
	}
	if q.bucket == nil || !q.bucket.Lock {
		return nil, errInvalidRequest.with("Bucket is missing Object Lock Configuration")
	}
	l := &lockRequest{Mode: mode, Hold: hold == "ON", HoldSet: hold != ""}
	if hold != "" && hold != "ON" && hold != "OFF" {
		return nil, errInvalidArgument.with("Legal Hold must be either of 'ON' or 'OFF'")
	}
	if (mode == "") != (until == "") {
		return nil, errInvalidArgument.with("x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied")
	}
	if mode == "" {
		return l, nil
	}
	if mode != lockCompliance && mode != lockGovernance {
		return nil, errInvalidArgument.with("Unknown wormMode directive.")
	}
	var ok bool
	if l.Until, ok = parseLockTime(until); !ok {
		return nil, errInvalidArgument.with("The retain until date must be provided in ISO 8601 format")
	}
	if !l.Until.After(q.s.o.Now()) {
		return nil, errInvalidArgument.with("The retain until date must be in the future!")
	}
	return l, nil
}

// lockState is what holds a version. COMPLIANCE is the file system's own
// retention, which nobody can shorten. GOVERNANCE may be bypassed, so it is
// the file system's legal hold, which binds every protocol too, with the date
// beside it; the state then tells a hold that was asked for from that one.
type lockState struct {
	Mode  string    `json:"mode,omitempty"`
	Until time.Time `json:"until"`
	Hold  bool      `json:"hold,omitempty"`
}

// active tells whether the retention still runs.
func (l *lockState) active(now time.Time) bool { return l.Mode != "" && l.Until.After(now) }

// lockStateOf reads what holds an object.
func (q *request) lockStateOf(o *object) (lockState, error) {
	b, err := q.s.o.FS.GetMeta(q.ctx, q.system(), o.attr.Node, fs.MetaS3, lockKey)
	l := lockState{Hold: o.attr.LegalHold}
	switch {
	case err == nil:
		l = lockState{}
		if jerr := json.Unmarshal(b, &l); jerr != nil {
			return l, errInternal.wrap(jerr)
		}
	case fs.KindOf(err) != fs.NoAttr:
		return l, err
	}
	// Set through another protocol, or later than the governed date.
	if r := o.attr.Retention; r != (fs.Time{}) && !r.Time().Before(l.Until) {
		l.Mode, l.Until = lockCompliance, r.Time()
	}
	return l, nil
}

// setLock makes l what holds the object.
func (q *request) setLock(o *object, l lockState) error {
	f, n := q.s.o.FS, o.attr.Node
	held := func(on bool) error {
		if o.attr.LegalHold == on {
			return nil
		}
		_, err := f.SetAttr(q.ctx, q.system(), n, &fs.SetAttr{LegalHold: &on})
		if err == nil {
			o.attr.LegalHold = on
		}
		return err
	}
	if l.Mode == lockCompliance {
		t := fs.TimeOf(l.Until)
		if _, err := f.SetAttr(q.ctx, q.system(), n, &fs.SetAttr{Retention: &t}); err != nil {
			return err
		}
		o.attr.Retention = t
		return held(l.Hold) // a governed date from before says nothing any more
	}
	if l.Mode == "" {
		return held(l.Hold)
	}
	b, err := json.Marshal(&l)
	if err != nil {
		return err
	}
	if err := held(false); err != nil { // metadata cannot change under a hold
		return err
	}
	if _, err := f.SetMeta(q.ctx, q.system(), n, fs.MetaS3, lockKey, b, fs.MetaUpsert); err != nil {
		return err
	}
	return held(true)
}

// describeLock makes what an upload asked for, or else the bucket's default,
// part of how its object appears.
func (q *request) describeLock(asked *lockRequest, spec *fs.PublishSpec) error {
	if asked == nil && q.bucket.Lock {
		var err error
		if asked, err = q.defaultLock(); err != nil {
			return err
		}
	}
	if asked == nil {
		return nil
	}
	l := lockState{Mode: asked.Mode, Until: asked.Until, Hold: asked.Hold}
	switch l.Mode {
	case lockCompliance:
		t := fs.TimeOf(l.Until)
		spec.Set.Retention = &t
	case lockGovernance:
		b, err := json.Marshal(&l)
		if err != nil {
			return err
		}
		spec.Meta = append(spec.Meta, fs.MetaItem{Space: fs.MetaS3, Key: lockKey, Value: b})
	}
	if held := l.Hold || l.Mode == lockGovernance; held {
		spec.Set.LegalHold = &held
	}
	return nil
}

// locking is the caller of a publication: who may put objects into a bucket
// with locks may lock what is put.
func (q *request) locking(spec *fs.PublishSpec) *fs.Caller {
	if spec.Set.Retention == nil && spec.Set.LegalHold == nil {
		return q.caller
	}
	cred, c := *q.caller.Cred, *q.caller
	cred.Privileges |= identity.FileLockWrite
	c.Cred = &cred
	return &c
}

// mayBypass tells whether the request may loosen GOVERNANCE and says so.
func (q *request) mayBypass() bool {
	if !strings.EqualFold(q.r.Header.Get("X-Amz-Bypass-Governance-Retention"), "true") || q.access == nil {
		return false
	}
	if q.isOwner(q.bucket) || q.caller.Cred.Superuser {
		return q.allow(q.bucket, "BypassGovernanceRetention", q.key) == nil
	}
	return len(q.bucket.Policy) != 0 && q.allow(q.bucket, "BypassGovernanceRetention", q.key) == nil
}

var errLocked = errAccessDenied.with("Access Denied because object protected by object lock.")

type defaultRetention struct {
	Mode  string
	Days  *int64 `xml:",omitempty"`
	Years *int64 `xml:",omitempty"`
}

type lockConfigXML struct {
	XMLName           xml.Name `xml:"ObjectLockConfiguration"`
	ObjectLockEnabled string
	Rule              *lockRule `xml:",omitempty"`
}

type lockRule struct {
	DefaultRetention *defaultRetention
}

func parseLockConfig(b []byte) (*lockConfigXML, *apiError) {
	var c lockConfigXML
	if err := decodeXML(b, &c); err != nil {
		return nil, err
	}
	if c.ObjectLockEnabled != "Enabled" {
		return nil, errMalformedXML
	}
	if c.Rule == nil {
		return &c, nil
	}
	d := c.Rule.DefaultRetention
	if d == nil || d.Mode != lockCompliance && d.Mode != lockGovernance || (d.Days == nil) == (d.Years == nil) {
		return nil, errMalformedXML
	}
	if d.Days != nil && (*d.Days <= 0 || *d.Days > maxDays) || d.Years != nil && (*d.Years <= 0 || *d.Years > maxDays/365) {
		return nil, errInvalidRetention
	}
	return &c, nil
}

// defaultLock is the default retention of new objects, nil if there is none.
func (q *request) defaultLock() (*lockRequest, error) {
	if len(q.bucket.LockDefault) == 0 {
		return nil, nil
	}
	c, aerr := parseLockConfig(q.bucket.LockDefault)
	if aerr != nil {
		return nil, aerr
	}
	if c.Rule == nil {
		return nil, nil
	}
	d := c.Rule.DefaultRetention
	until := q.s.o.Now().UTC()
	if d.Days != nil {
		until = until.AddDate(0, 0, int(*d.Days))
	} else {
		until = until.AddDate(int(*d.Years), 0, 0)
	}
	return &lockRequest{Mode: d.Mode, Until: until}, nil
}

func (q *request) getLockConfig() error {
	if !q.bucket.Lock {
		return errNoSuchLock
	}
	c := lockConfigXML{ObjectLockEnabled: "Enabled"}
	if len(q.bucket.LockDefault) != 0 {
		p, err := parseLockConfig(q.bucket.LockDefault)
		if err != nil {
			return err
		}
		c.Rule = p.Rule
	}
	c.XMLName = xml.Name{Space: xmlns, Local: "ObjectLockConfiguration"}
	q.writeXML(http.StatusOK, &c)
	return nil
}

func (q *request) putLockConfig() error {
	b, aerr := q.body.document(maxConfig)
	if aerr != nil {
		return aerr
	}
	if err := q.needOwner(); err != nil {
		return err
	}
	if _, err := parseLockConfig(b); err != nil {
		return err
	}
	err := q.update(func(r *Bucket) error {
		if r.Versioning != VersioningEnabled {
			return errInvalidBucketState.with("Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration")
		}
		r.Lock, r.LockDefault = true, b
		return nil
	})
	if err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusOK)
	return nil
}

func (q *request) lockHeaders(o *object) error {
	if !q.bucket.Lock {
		return nil
	}
	l, err := q.lockStateOf(o)
	if err != nil {
		return err
	}
	h := q.w.Header()
	if l.Mode != "" {
		setHeader(h, "x-amz-object-lock-mode", l.Mode)
		setHeader(h, "x-amz-object-lock-retain-until-date", isoTime(l.Until))
	}
	if l.Hold {
		setHeader(h, "x-amz-object-lock-legal-hold", "ON")
	}
	return nil
}

// lockTarget is the version that a lock request is about.
func (q *request) lockTarget() (*object, error) {
	if !q.bucket.Lock {
		return nil, errInvalidRequest.with("Bucket is missing Object Lock Configuration")
	}
	o, err := q.target()
	if err != nil {
		return nil, err
	}
	q.versionHeader(o)
	return o, nil
}

type retentionXML struct {
	XMLName         xml.Name `xml:"Retention"`
	Mode            string
	RetainUntilDate string
}

func (q *request) getRetention() error {
	o, err := q.lockTarget()
	if err != nil {
		return err
	}
	if err := q.need(o, fs.RightReadAttr); err != nil {
		return err
	}
	l, err := q.lockStateOf(o)
	if err != nil {
		return err
	}
	if l.Mode == "" {
		return errNoSuchObjectLock
	}
	q.writeXML(http.StatusOK, &retentionXML{XMLName: xml.Name{Space: xmlns, Local: "Retention"}, Mode: l.Mode, RetainUntilDate: isoTime(l.Until)})
	return nil
}

// mayLock asks for the right to lock: write permission on the object.
func (q *request) mayLock(o *object) error { return q.need(o, fs.RightWriteAttr) }

func (q *request) putRetention() error {
	var c retentionXML
	if err := q.readXML(maxConfig, &c); err != nil {
		return err
	}
	if c.Mode != lockCompliance && c.Mode != lockGovernance {
		return errMalformedXML
	}
	until, ok := parseLockTime(c.RetainUntilDate)
	if !ok {
		return errMalformedXML
	}
	o, err := q.lockTarget()
	if err != nil {
		return err
	}
	if err := q.mayLock(o); err != nil {
		return err
	}
	now := q.s.o.Now()
	if !until.After(now) {
		return errInvalidArgument.with("The retain until date must be in the future!")
	}
	defer q.s.locks.lock(q.bucketName, q.key)()
	l, err := q.lockStateOf(o)
	if err != nil {
		return err
	}
	if l.active(now) {
		weaker := until.Before(l.Until) || l.Mode == lockCompliance && c.Mode == lockGovernance
		// Loosening COMPLIANCE is for nobody, GOVERNANCE for who may bypass it.
		if weaker && l.Mode == lockCompliance || (weaker || c.Mode != l.Mode) && l.Mode == lockGovernance && !q.mayBypass() {
			return errLocked
		}
	}
	l.Mode, l.Until = c.Mode, until
	if err := q.setLock(o, l); err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusOK)
	return nil
}

type legalHoldXML struct {
	XMLName xml.Name `xml:"LegalHold"`
	Status  string
}

func (q *request) getLegalHold() error {
	o, err := q.lockTarget()
	if err != nil {
		return err
	}
	if err := q.need(o, fs.RightReadAttr); err != nil {
		return err
	}
	l, err := q.lockStateOf(o)
	if err != nil {
		return err
	}
	out := legalHoldXML{XMLName: xml.Name{Space: xmlns, Local: "LegalHold"}, Status: "OFF"}
	if l.Hold {
		out.Status = "ON"
	}
	q.writeXML(http.StatusOK, &out)
	return nil
}

func (q *request) putLegalHold() error {
	var c legalHoldXML
	if err := q.readXML(maxConfig, &c); err != nil {
		return err
	}
	if c.Status != "ON" && c.Status != "OFF" {
		return errMalformedXML
	}
	o, err := q.lockTarget()
	if err != nil {
		return err
	}
	if err := q.mayLock(o); err != nil {
		return err
	}
	defer q.s.locks.lock(q.bucketName, q.key)()
	l, err := q.lockStateOf(o)
	if err != nil {
		return err
	}
	l.Hold = c.Status == "ON"
	if l.Mode == lockGovernance && !l.active(q.s.o.Now()) {
		l.Mode = "" // over: the hold speaks for itself again
		if err := q.setLock(o, lockState{}); err != nil {
			return err
		}
		if _, err := q.s.o.FS.RemoveMeta(q.ctx, q.system(), o.attr.Node, fs.MetaS3, lockKey); err != nil && fs.KindOf(err) != fs.NoAttr {
			return err
		}
	}
	if err := q.setLock(o, l); err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusOK)
	return nil
}

// unlock refuses the deletion of a locked version before anything is touched,
// and lifts the hold of a GOVERNANCE that is over or bypassed.
func (q *request) unlock(o *object) error {
	l, err := q.lockStateOf(o)
	if err != nil {
		return err
	}
	if l.Hold || l.active(q.s.o.Now()) && (l.Mode == lockCompliance || !q.mayBypass()) {
		return errLocked
	}
	if o.attr.LegalHold {
		return q.setLock(o, lockState{})
	}
	return nil
}
