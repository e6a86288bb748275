package rest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"testing"
	"time"
)

// signer is the owner of a key that locks snapshots.
type signer struct {
	t *testing.T
	k *ecdsa.PrivateKey
}

func newSigner(t *testing.T, c elliptic.Curve) signer {
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer{t, k}
}

func (s signer) public() string {
	der, err := x509.MarshalPKIXPublicKey(s.k.Public())
	if err != nil {
		s.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func (s signer) sign(text string) string {
	h := sha256.Sum256([]byte(text))
	sig, err := ecdsa.SignASN1(rand.Reader, s.k, h[:])
	if err != nil {
		s.t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(sig)
}

func dailySchedule(ttl string) object {
	return object{"creation_schedule": object{"timezone": "Europe/Berlin", "frequency": "SCHEDULE_DAILY_OR_WEEKLY", "hour": 2, "minute": 30, "on_days": []string{"MON", "SUN"}}, "expiration_time_to_live": ttl}
}

func TestPolicies(t *testing.T) {
	a := newAPI(t)
	dir := a.mkdir("2", "d")
	const all = "/v3/snapshots/policies/"
	p := a.must(200, "POST", all, object{"policy_name": "nightly", "source_file_id": dir, "schedule": dailySchedule("15days"), "snapshot_name_template": nil})
	if p.at("id") != 1.0 || p.at("enabled") != true || p.str("snapshot_name_template") != "{ID}_{Policy}_{Directory}" || p.str("source_file_id") != dir || p.at("lock_key_ref") != nil ||
		p.str("schedule", "expiration_time_to_live") != "15days" || p.str("schedule", "creation_schedule", "on_days", 0) != "SUN" {
		t.Errorf("%s", p.raw)
	}
	if got := a.must(200, "GET", all+"1", nil); string(got.raw) != string(p.raw) || got.header.Get("ETag") == "" {
		t.Errorf("%s", got.raw)
	}
	if got := a.must(200, "GET", "/v1/snapshots/policies/1", nil); got.str("name") != "nightly" || got.str("source_file_ids", 0) != dir || got.at("schedules", 0, "creation_schedule", "hour") != 2.0 {
		t.Errorf("%s", got.raw)
	}
	if got := a.must(200, "GET", "/v2/snapshots/policies/status/1", nil); got.str("source_file_path") != "/d/" || len(got.list("owners")) != 0 {
		t.Errorf("%s", got.raw)
	}
	hourly := a.must(200, "POST", "/v1/snapshots/policies/", object{"name": "hourly", "source_file_ids": []string{"2"}, "enabled": false,
		"schedules": []object{{"creation_schedule": object{"timezone": "UTC", "frequency": "SCHEDULE_HOURLY_OR_LESS", "on_days": []string{"EVERY_DAY"}, "window_start_hour": 8, "window_end_hour": 18,
			"fire_every_interval": "FIRE_IN_HOURS", "fire_every": 2}, "expiration_time_to_live": "never"}}})
	if hourly.at("schedules", 0, "creation_schedule", "fire_every") != 2.0 || hourly.at("enabled") != false || hourly.str("schedules", 0, "creation_schedule", "on_days", 0) != "EVERY_DAY" {
		t.Errorf("%s", hourly.raw)
	}
	if l := a.must(200, "GET", all+"status/", nil).list("entries"); len(l) != 2 {
		t.Errorf("%v", l)
	}
	got := a.must(200, "PATCH", all+"1", object{"enabled": false}, "If-Match", p.header.Get("ETag"))
	if got.at("enabled") != false || got.str("policy_name") != "nightly" {
		t.Errorf("%s", got.raw)
	}
	a.fails(412, "http_precondition_failed_error", "PATCH", all+"1", object{"enabled": true}, "If-Match", p.header.Get("ETag"))
	a.must(200, "PUT", all+"1", object{"policy_name": "weekly", "source_file_id": dir, "schedule": dailySchedule("")})
	a.fails(400, "http_bad_request_error", "PATCH", all+"1", object{"source_file_id": "2"})
	for _, s := range []object{{"timezone": "Nowhere/Land"}, {"hour": 24}, {"on_days": []string{}}} {
		bad := dailySchedule("")
		for k, v := range s {
			bad["creation_schedule"].(object)[k] = v
		}
		a.fails(400, "http_bad_request_error", "POST", all, object{"policy_name": "x", "source_file_id": dir, "schedule": bad})
	}
	a.fails(400, "decode_error", "POST", all, object{"policy_name": "x"})
	a.fails(404, "fs_no_such_inode_error", "POST", all, object{"policy_name": "x", "source_file_id": "99999", "schedule": dailySchedule("")})
	a.must(200, "DELETE", all+"1", nil)
	a.fails(404, "api_snapshots_policy_not_found_error", "GET", all+"1", nil)
}

func TestSnapshotLocks(t *testing.T) {
	a := newAPI(t)
	const keys = "/v1/file-system/security/keys/"
	s, other := newSigner(t, elliptic.P256()), newSigner(t, elliptic.P256())
	k := a.must(200, "POST", keys, object{"name": "vault", "comment": "in the safe", "public_key": s.public(), "verification_signature": s.sign("vault")})
	id := k.str("id")
	a.fails(400, "fs_key_store_invalid_signature_error", "POST", keys, object{"name": "mine", "public_key": s.public(), "verification_signature": other.sign("mine")})
	a.fails(409, "fs_key_store_key_already_exists_error", "POST", keys, object{"name": "Vault", "public_key": s.public(), "verification_signature": s.sign("Vault")})
	p384 := newSigner(t, elliptic.P384())
	a.fails(400, "http_bad_request_error", "POST", keys, object{"name": "p384", "public_key": p384.public(), "verification_signature": p384.sign("p384")})
	a.must(200, "GET", keys+"VAULT", nil)

	snap := "/v3/snapshots/" + a.must(200, "POST", "/v3/snapshots/?expiration-time-to-live=1hours", object{}).jsonNumber("id")
	if l := a.must(200, "POST", snap+"/lock", object{"lock_key_ref": "vault"}); l.str("lock_key_ref") != id {
		t.Errorf("%s", l.raw)
	}
	a.fails(409, "api_snapshots_snapshot_locked_error", "POST", snap+"/lock", object{"lock_key_ref": id})
	a.fails(409, "api_snapshots_snapshot_in_use_error", "DELETE", snap, nil)
	a.fails(409, "fs_busy_error", "PATCH", snap, object{"expiration": time.Now().Add(time.Minute).UTC().Format(time.RFC3339)})
	a.fails(409, "fs_key_store_key_in_use_error", "DELETE", keys+id, nil)
	a.fails(409, "fs_key_store_key_in_use_error", "PATCH", keys+id, object{"disabled": true})
	if u := a.must(200, "GET", keys+id+"/usages", nil); u.str("usages", 0, "type") != "snapshot" {
		t.Errorf("%s", u.raw)
	}
	challenge := a.must(200, "GET", snap+"/unlock-challenge", nil).str("challenge")
	a.must(200, "PATCH", snap, object{"expiration": time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)})
	a.fails(400, "fs_key_store_invalid_signature_error", "POST", snap+"/unlock", object{"signature": s.sign(challenge)}) // it was extended
	// Another key takes the place of the first.
	c := a.must(200, "GET", keys+id+"/key-replacement-challenge", nil).str("challenge")
	replace := object{"replacement_key": other.public(), "old_key_verification_signature": other.sign(c), "replacement_key_verification_signature": other.sign(c)}
	a.fails(400, "fs_key_store_invalid_signature_error", "POST", keys+id+"/replace", replace)
	replace["old_key_verification_signature"] = s.sign(c)
	if r := a.must(200, "POST", keys+id+"/replace", replace); r.str("id") != id || r.str("public_key") != other.public() {
		t.Errorf("%s", r.raw)
	}
	challenge = a.must(200, "GET", snap+"/unlock-challenge", nil).str("challenge")
	a.fails(400, "fs_key_store_invalid_signature_error", "POST", snap+"/unlock", object{"signature": s.sign(challenge)})
	a.must(200, "POST", snap+"/unlock", object{"signature": other.sign(challenge)})
	a.fails(409, "api_snapshots_snapshot_not_locked_error", "POST", snap+"/unlock", object{"signature": other.sign(challenge)})
	a.must(202, "DELETE", snap, nil)

	a.fails(400, "http_bad_request_error", "POST", "/v3/snapshots/policies/", object{"policy_name": "p", "schedule": dailySchedule(""), "lock_key_ref": "vault"})
	p := a.must(200, "POST", "/v3/snapshots/policies/", object{"policy_name": "p", "schedule": dailySchedule("2days"), "lock_key_ref": "vault"})
	if p.str("lock_key_ref") != id {
		t.Errorf("%s", p.raw)
	}
	a.fails(409, "fs_key_store_key_in_use_error", "DELETE", keys+id, nil)
	a.must(200, "DELETE", "/v3/snapshots/policies/"+p.jsonNumber("id"), nil)
	a.must(200, "PATCH", keys+id, object{"disabled": true, "name": "old vault"})
	a.must(200, "PUT", keys+id, object{"name": "older vault", "comment": "", "disabled": true})
	a.must(200, "DELETE", keys+id, nil)
}
