package smb

import (
	"net/netip"
	"testing"
	"time"
)

func TestAttempts(t *testing.T) {
	var a attempts
	now := time.Unix(1000, 0)
	jane, elsewhere := attemptOf("JANE", netip.MustParseAddr("::ffff:192.0.2.1")), attemptOf("jane", netip.MustParseAddr("192.0.2.2"))
	for i := range maxFailures {
		if !a.allowed(jane, now) {
			t.Fatalf("attempt %d is refused", i+1)
		}
		a.fail(jane, now)
	}
	if a.allowed(jane, now) || !a.allowed(elsewhere, now) {
		t.Error("the wrong one is refused")
	}
	now = now.Add(attemptDrain)
	if !a.allowed(jane, now) {
		t.Error("no further attempt after a while")
	}
	a.fail(jane, now)
	if a.allowed(jane, now) {
		t.Error("two further attempts after a while")
	}
	a.succeed(jane)
	if !a.allowed(jane, now) {
		t.Error("refused after it was right")
	}
	if attemptOf("x", netip.MustParseAddr("2001:db8::1")) != attemptOf("x", netip.MustParseAddr("2001:db8::2")) {
		t.Error("addresses of one network count each")
	}
}
