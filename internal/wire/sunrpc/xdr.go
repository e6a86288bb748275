package sunrpc

import "encoding/binary"

// Decoder reads XDR from a slice. The first item that does not fit makes it
// bad; from then on everything reads as zero, so that a decoding function
// checks once, at its end.
type Decoder struct {
	b   []byte
	off int
	bad bool
}

// NewDecoder reads from b.
func NewDecoder(b []byte) Decoder { return Decoder{b: b} }

// OK tells whether everything read so far was there and sensible.
func (d *Decoder) OK() bool { return !d.bad }

// Fail makes the decoder bad.
func (d *Decoder) Fail() { d.bad = true }

// Left is the number of bytes not yet read.
func (d *Decoder) Left() int { return len(d.b) - d.off }

// Rest are the bytes not yet read.
func (d *Decoder) Rest() []byte { return d.b[d.off:] }

// U32 reads an unsigned int or an enum.
func (d *Decoder) U32() uint32 {
	if d.bad || len(d.b)-d.off < 4 {
		d.bad = true
		return 0
	}
	v := binary.BigEndian.Uint32(d.b[d.off:])
	d.off += 4
	return v
}

// U64 reads an unsigned hyper.
func (d *Decoder) U64() uint64 {
	if d.bad || len(d.b)-d.off < 8 {
		d.bad = true
		return 0
	}
	v := binary.BigEndian.Uint64(d.b[d.off:])
	d.off += 8
	return v
}

// Bool reads a bool; other numbers than 0 and 1 are bad.
func (d *Decoder) Bool() bool {
	v := d.U32()
	if v > 1 {
		d.bad = true
	}
	return v == 1
}

// Fixed reads an opaque of fixed length n and its padding. The bytes are those
// of the decoder's slice.
func (d *Decoder) Fixed(n int) []byte {
	padded := (n + 3) &^ 3
	if d.bad || n < 0 || padded < n || len(d.b)-d.off < padded {
		d.bad = true
		return nil
	}
	p := d.b[d.off : d.off+n : d.off+n]
	d.off += padded
	return p
}

// Opaque reads a counted opaque or string of at most limit bytes. The bytes
// are those of the decoder's slice.
func (d *Decoder) Opaque(limit int) []byte {
	n := d.U32()
	if uint64(n) > uint64(limit) {
		d.bad = true
		return nil
	}
	return d.Fixed(int(n))
}

// Encoder appends XDR to a pooled buffer that grows as needed.
type Encoder struct {
	b   []byte
	buf *Buf
}

// NewEncoder starts with room for about n bytes.
func NewEncoder(n int) Encoder {
	buf := NewBuf(n)
	return Encoder{b: buf.b[:0], buf: buf}
}

// Len is the number of bytes written.
func (e *Encoder) Len() int { return len(e.b) }

// Bytes are the bytes written.
func (e *Encoder) Bytes() []byte { return e.b }

// Truncate drops everything from n on.
func (e *Encoder) Truncate(n int) { e.b = e.b[:n] }

// Release gives the buffer back; the encoder must not be used any more.
func (e *Encoder) Release() {
	if e.buf != nil {
		e.buf.Release()
	}
	*e = Encoder{}
}

func (e *Encoder) grow(n int) {
	need := len(e.b) + n
	if need < 2*cap(e.b) {
		need = 2 * cap(e.b)
	}
	buf := NewBuf(need)
	b := buf.b[:len(e.b)]
	copy(b, e.b)
	if e.buf != nil {
		e.buf.Release()
	}
	e.b, e.buf = b, buf
}

// Reserve appends n arbitrary bytes and returns them to be filled.
func (e *Encoder) Reserve(n int) []byte {
	if cap(e.b)-len(e.b) < n {
		e.grow(n)
	}
	l := len(e.b)
	e.b = e.b[:l+n]
	return e.b[l : l+n : l+n]
}

// U32 appends an unsigned int or an enum.
func (e *Encoder) U32(v uint32) { binary.BigEndian.PutUint32(e.Reserve(4), v) }

// U64 appends an unsigned hyper.
func (e *Encoder) U64(v uint64) { binary.BigEndian.PutUint64(e.Reserve(8), v) }

// Bool appends a bool.
func (e *Encoder) Bool(v bool) {
	if v {
		e.U32(1)
	} else {
		e.U32(0)
	}
}

// Fixed appends an opaque of fixed length with its padding.
func (e *Encoder) Fixed(p []byte) {
	b := e.Reserve((len(p) + 3) &^ 3)
	clear(b[copy(b, p):])
}

// Opaque appends a counted opaque.
func (e *Encoder) Opaque(p []byte) {
	e.U32(uint32(len(p)))
	e.Fixed(p)
}

// String appends a string.
func (e *Encoder) String(s string) {
	e.U32(uint32(len(s)))
	b := e.Reserve((len(s) + 3) &^ 3)
	clear(b[copy(b, s):])
}

// SetU32 overwrites the four bytes at off.
func (e *Encoder) SetU32(off int, v uint32) { binary.BigEndian.PutUint32(e.b[off:], v) }
