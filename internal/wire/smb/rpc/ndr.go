package rpc

import (
	"context"
	"errors"

	"github.com/oiweiwei/go-msrpc/ndr"
)

// errCount says that something would have more elements than a call has bytes.
var errCount = errors.New("rpc: a count exceeds what can be sent")

// reader is go-msrpc's reader, but that no count may exceed what a call can
// hold: strings are made as long as they say before they are looked at. (What
// an array may hold can be more than what it does hold, so that the bytes that
// are left to read are no bound.)
type reader struct{ ndr.Reader }

func newReader(stub []byte) *reader { return &reader{ndr.NDR20(stub)} }

// ReadSize implements ndr.Reader.
func (r *reader) ReadSize(n *uint64) error {
	if err := r.Reader.ReadSize(n); err != nil {
		return err
	}
	if *n > maxCall {
		return r.SetErr(errCount)
	}
	return nil
}

// ReadPointer implements ndr.Reader: what the pointers point to is read through
// this reader, too.
func (r *reader) ReadPointer(p ndr.Pointer, set func(any), then ...ndr.Unmarshaler) error {
	for i, t := range then {
		then[i] = ndr.UnmarshalNDRFunc(func(ctx context.Context, _ ndr.Reader) error { return t.UnmarshalNDR(ctx, r) })
	}
	return r.Reader.ReadPointer(p, set, then...)
}

// writer is go-msrpc's writer, but that the counts of strings are those of their
// UTF-16 units, where it takes those of bytes in UTF-8.
type writer struct {
	ndr.Writer
	counts []int // where the sizes written last are, if nothing but units followed
	units  uint32
}

func newWriter() *writer { return &writer{Writer: ndr.NDR20(nil)} }

// settle corrects the counts of a string that has ended.
func (w *writer) settle() {
	if len(w.counts) == 3 && w.units > 0 {
		b := w.Bytes()
		most, first, actual := b[w.counts[0]:], b[w.counts[1]:], b[w.counts[2]:]
		if le.Uint32(first) == 0 && le.Uint32(most) == le.Uint32(actual) {
			le.PutUint32(most, w.units)
			le.PutUint32(actual, w.units)
		}
	}
	w.counts, w.units = w.counts[:0], 0
}

// WriteSize implements ndr.Writer.
func (w *writer) WriteSize(n uint64) error {
	if w.units > 0 {
		w.settle()
	}
	if err := w.Writer.WriteSize(n); err != nil {
		return err
	}
	if len(w.counts) == 3 {
		w.counts = append(w.counts[:0], w.counts[1:]...)
	}
	w.counts = append(w.counts, w.Len()-4)
	return nil
}

// WriteData implements ndr.Writer.
func (w *writer) WriteData(v any) error {
	if _, unit := v.(uint16); unit && len(w.counts) == 3 {
		w.units++
	} else {
		w.settle()
	}
	return w.Writer.WriteData(v)
}

// WriteAlign implements ndr.Writer.
func (w *writer) WriteAlign(n int) error {
	w.settle()
	return w.Writer.WriteAlign(n)
}

// WritePointer implements ndr.Writer: what the pointers point to is written
// through this writer, too.
func (w *writer) WritePointer(p ndr.Pointer, then ...ndr.Marshaler) error {
	w.settle()
	for i, t := range then {
		then[i] = ndr.MarshalNDRFunc(func(ctx context.Context, _ ndr.Writer) error { return t.MarshalNDR(ctx, w) })
	}
	return w.Writer.WritePointer(p, then...)
}

// WriteDeferred implements ndr.Writer.
func (w *writer) WriteDeferred() error {
	w.settle()
	err := w.Writer.WriteDeferred()
	w.settle()
	return err
}

// encode renders the answer of an operation.
func encode(ctx context.Context, op ndr.Operation) ([]byte, error) {
	w := newWriter()
	if err := op.MarshalNDRResponse(ctx, w); err != nil {
		return nil, err
	}
	w.settle()
	return w.Bytes(), nil
}
