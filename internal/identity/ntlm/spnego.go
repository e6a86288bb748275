package ntlm

import (
	"context"
	"crypto/hmac"
	"encoding/asn1"
)

// Object identifiers, DER contents with tag and length.
var (
	oidSPNEGO = []byte{6, 6, 0x2b, 6, 1, 5, 5, 2}
	oidNTLM   = []byte{6, 10, 0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 2, 10}
)

// Negotiation states of SPNEGO.
const (
	acceptCompleted  = 0
	acceptIncomplete = 1
	requestMIC       = 3
)

// Acceptor runs one exchange, SPNEGO or bare NTLM. It is not safe for
// concurrent use.
type Acceptor struct {
	m      mech
	bare   bool
	begun  bool
	list   []byte // the client's mechanism list, whose integrity is checked
	first  bool   // NTLM was the client's first choice
	result *Identity
}

// New begins an exchange.
func New(o *Options) *Acceptor { return &Acceptor{m: mech{o: o}} }

// Hint is the token that a server sends before the client's first.
func Hint() []byte {
	init := der(0xa0, der(0x30, der(0xa0, der(0x30, oidNTLM))))
	return der(0x60, append(append([]byte(nil), oidSPNEGO...), init...))
}

// Result is the identity once an exchange is done.
func (a *Acceptor) Result() *Identity { return a.result }

// Step consumes a token of the client. It answers the token to send and whether
// the exchange is done.
func (a *Acceptor) Step(ctx context.Context, in []byte) (out []byte, done bool, err error) {
	switch {
	case a.result != nil:
		return nil, false, ErrMalformed
	case a.bare, !a.begun && len(in) > 8 && string(in[:8]) == string(signature):
		a.bare, a.begun = true, true
		out, done, err = a.m.step(ctx, in)
		if done {
			a.result = a.m.id
		}
		return out, done, err
	case !a.begun:
		a.begun = true
		return a.initial(ctx, in)
	}
	return a.next(ctx, in)
}

func (a *Acceptor) initial(ctx context.Context, in []byte) ([]byte, bool, error) {
	body, ok := want(in, 0x60)
	if !ok || len(body) < len(oidSPNEGO) || string(body[:len(oidSPNEGO)]) != string(oidSPNEGO) {
		return nil, false, ErrMalformed
	}
	body, ok = want(body[len(oidSPNEGO):], 0xa0)
	if ok {
		body, ok = want(body, 0x30)
	}
	if !ok {
		return nil, false, ErrMalformed
	}
	var token []byte
	for len(body) > 0 {
		var tag byte
		var v []byte
		if tag, v, body, ok = element(body); !ok {
			return nil, false, ErrMalformed
		}
		switch tag {
		case 0xa0:
			a.list = append([]byte(nil), v...)
		case 0xa2:
			if token, ok = want(v, 0x04); !ok {
				return nil, false, ErrMalformed
			}
		}
	}
	mechs, ok := want(a.list, 0x30)
	if !ok {
		return nil, false, ErrMalformed
	}
	found := false
	for i := 0; len(mechs) > 0; i++ {
		n := len(mechs)
		all := mechs
		if _, _, mechs, ok = element(mechs); !ok {
			return nil, false, ErrMalformed
		}
		if string(all[:n-len(mechs)]) == string(oidNTLM) {
			found = true
			a.first = i == 0
			break
		}
	}
	if !found {
		return nil, false, ErrMalformed
	}
	if !a.first || token == nil {
		// The optimistic token was for another mechanism.
		return response(requestMIC, oidNTLM, nil, nil), false, nil
	}
	return a.feed(ctx, token, nil, true)
}

func (a *Acceptor) next(ctx context.Context, in []byte) ([]byte, bool, error) {
	body, ok := want(in, 0xa1)
	if ok {
		body, ok = want(body, 0x30)
	}
	if !ok {
		return nil, false, ErrMalformed
	}
	var token, mic []byte
	for len(body) > 0 {
		var tag byte
		var v []byte
		if tag, v, body, ok = element(body); !ok {
			return nil, false, ErrMalformed
		}
		switch tag {
		case 0xa2:
			token, ok = want(v, 0x04)
		case 0xa3:
			mic, ok = want(v, 0x04)
		}
		if !ok {
			return nil, false, ErrMalformed
		}
	}
	if token == nil {
		return nil, false, ErrMalformed
	}
	return a.feed(ctx, token, mic, false)
}

func (a *Acceptor) feed(ctx context.Context, token, mic []byte, first bool) ([]byte, bool, error) {
	out, done, err := a.m.step(ctx, token)
	if err != nil {
		return nil, false, err
	}
	if !done {
		oid := oidNTLM
		if !first && a.first {
			oid = nil
		}
		return response(acceptIncomplete, oid, out, nil), false, nil
	}
	id := a.m.id
	var reply []byte
	if mic != nil && !id.Anonymous && !id.Guest {
		if !hmac.Equal(mic, a.m.sign(false, a.list)) {
			return nil, false, ErrDenied
		}
		reply = a.m.sign(true, a.list)
	}
	a.result = id
	return response(acceptCompleted, nil, nil, reply), true, nil
}

func response(state byte, oid, token, mic []byte) []byte {
	b := der(0xa0, []byte{10, 1, state})
	if oid != nil {
		b = append(b, der(0xa1, oid)...)
	}
	if token != nil {
		b = append(b, der(0xa2, der(0x04, token))...)
	}
	if mic != nil {
		b = append(b, der(0xa3, der(0x04, mic))...)
	}
	return der(0xa1, der(0x30, b))
}

func der(tag byte, body []byte) []byte {
	out := []byte{tag}
	switch n := len(body); {
	case n < 0x80:
		out = append(out, byte(n))
	case n < 0x100:
		out = append(out, 0x81, byte(n))
	case n < 0x10000:
		out = append(out, 0x82, byte(n>>8), byte(n))
	default:
		out = append(out, 0x83, byte(n>>16), byte(n>>8), byte(n))
	}
	return append(out, body...)
}

// element cuts the first element off.
func element(b []byte) (tag byte, body, rest []byte, ok bool) {
	var v asn1.RawValue
	rest, err := asn1.Unmarshal(b, &v)
	if err != nil {
		return 0, nil, nil, false
	}
	return v.FullBytes[0], v.Bytes, rest, true
}

// want answers the contents of the first element if it has the tag.
func want(b []byte, tag byte) ([]byte, bool) {
	t, body, _, ok := element(b)
	return body, ok && t == tag
}
