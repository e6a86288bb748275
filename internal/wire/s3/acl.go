package s3

import (
	"encoding/xml"
	"net/http"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

type granteeXML struct {
	XSI         string `xml:"xmlns:xsi,attr"`
	Type        string `xml:"xsi:type,attr"`
	ID          string
	DisplayName string
}

type grantXML struct {
	Grantee    granteeXML
	Permission string
}

type aclXML struct {
	XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ AccessControlPolicy"`
	Owner   *ownerXML
	Grants  []grantXML `xml:"AccessControlList>Grant"`
}

// getACL says who owns a bucket or an object. The file's own ACL decides over
// access and has no form in S3.
func (q *request) getACL() error {
	n, who := q.root(), identity.AuthID(0)
	if q.key != "" {
		o, err := q.target()
		if err != nil {
			return err
		}
		q.versionHeader(o)
		n, who = o.attr.Node, o.attr.Owner
	} else {
		who = q.bucket.Owner
	}
	if err := q.need(&object{attr: fs.Attr{Node: n}}, fs.RightReadACL); err != nil {
		return err
	}
	o := q.owner(who)
	q.writeXML(http.StatusOK, &aclXML{Owner: o, Grants: []grantXML{{
		Grantee:    granteeXML{XSI: "http://www.w3.org/2001/XMLSchema-instance", Type: "CanonicalUser", ID: o.ID, DisplayName: o.DisplayName},
		Permission: "FULL_CONTROL",
	}}})
	return nil
}

// putACL takes what is so already: private.
func (q *request) putACL() error {
	if err := q.needOwner(); err != nil {
		return err
	}
	b, aerr := q.body.document(maxConfig)
	if aerr != nil {
		return aerr
	}
	if len(b) != 0 || q.r.Header.Get("X-Amz-Acl") == "" {
		return errNotImplemented.with("Permissions are those of the files; ACLs of S3 cannot be set.")
	}
	if q.key != "" {
		if _, err := q.target(); err != nil {
			return err
		}
	}
	q.w.WriteHeader(http.StatusOK)
	return nil
}
