package meta

import (
	"encoding/binary"
	"fmt"

	"manifold/internal/fs"
)

// recordFormat is the first byte of every binary value.
const recordFormat byte = 1

type encoder []byte

// newEncoder starts a value with its format and birth epoch.
func newEncoder(size int, birth uint64) encoder {
	e := make(encoder, 1, size)
	e[0] = recordFormat
	e.u(birth)
	return e
}

func (e *encoder) u(v uint64) { *e = binary.AppendUvarint(*e, v) }
func (e *encoder) i(v int64)  { *e = binary.AppendVarint(*e, v) }
func (e *encoder) b(v byte)   { *e = append(*e, v) }

func (e *encoder) str(s string) {
	e.u(uint64(len(s)))
	*e = append(*e, s...)
}

func (e *encoder) bytes(s []byte) {
	e.u(uint64(len(s)))
	*e = append(*e, s...)
}

func (e *encoder) time(t fs.Time) {
	e.i(t.Sec)
	e.u(uint64(t.Nsec))
}

// decoder reads a value. Any defect makes bad true and all further reads zero.
type decoder struct {
	in  []byte
	bad bool
}

// newDecoder checks the format and reads the birth epoch.
func newDecoder(v []byte) (d decoder, birth uint64) {
	if len(v) == 0 || v[0] != recordFormat {
		return decoder{bad: true}, 0
	}
	d.in = v[1:]
	return d, d.u()
}

func (d *decoder) fail() {
	d.bad = true
	d.in = nil
}

func (d *decoder) u() uint64 {
	if len(d.in) > 0 && d.in[0] < 0x80 {
		v := uint64(d.in[0])
		d.in = d.in[1:]
		return v
	}
	v, n := binary.Uvarint(d.in)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.in = d.in[n:]
	return v
}

func (d *decoder) u32() uint32 {
	v := d.u()
	if v > 1<<32-1 {
		d.fail()
		return 0
	}
	return uint32(v)
}

func (d *decoder) i() int64 {
	v, n := binary.Varint(d.in)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.in = d.in[n:]
	return v
}

func (d *decoder) byte() byte {
	if len(d.in) == 0 {
		d.fail()
		return 0
	}
	v := d.in[0]
	d.in = d.in[1:]
	return v
}

// raw returns a piece that aliases the value.
func (d *decoder) raw() []byte {
	n := d.u()
	if n > uint64(len(d.in)) {
		d.fail()
		return nil
	}
	v := d.in[:n:n]
	d.in = d.in[n:]
	return v
}

func (d *decoder) str() string { return string(d.raw()) }

func (d *decoder) time() fs.Time {
	t := fs.Time{Sec: d.i(), Nsec: d.u32()}
	if t.Nsec >= 1e9 {
		d.fail()
	}
	return t
}

// end reports a defect or left-over bytes.
func (d *decoder) end(what string, id uint64) error {
	if d.bad || len(d.in) != 0 {
		return fmt.Errorf("%w: %s of %d", ErrCorrupt, what, id)
	}
	return nil
}

// birthOf reads the birth epoch of an encoded value; 0 if it is damaged.
func birthOf(v []byte) uint64 {
	_, b := newDecoder(v)
	return b
}
