package streamio

import (
	"slices"

	"manifold/internal/fs"
	"manifold/internal/meta"
)

// ChunkBytes is what one chunk-map record covers.
const ChunkBytes = 4 << 20

// maxFrags is how many fragments a chunk may have; beyond it small neighbours
// are merged into new extents.
const maxFrags = 1024

// chunkOf splits a stream offset.
func chunkOf(off uint64) (idx uint64, in uint32) {
	return off / ChunkBytes, uint32(off % ChunkBytes)
}

// fragEnd is the first byte after fr within its chunk.
func fragEnd(fr meta.Frag) uint32 { return fr.Off + fr.Len }

// cutFrags removes [from, to) of the chunk from frags, splitting where needed.
// It returns a new slice when anything changed.
func cutFrags(frags []meta.Frag, from, to uint32) []meta.Frag {
	i, _ := slices.BinarySearchFunc(frags, from, func(f meta.Frag, off uint32) int {
		if fragEnd(f) <= off {
			return -1
		}
		return 1
	})
	if i == len(frags) || frags[i].Off >= to || from >= to {
		return frags
	}
	out := make([]meta.Frag, i, len(frags)+1)
	copy(out, frags[:i])
	for ; i < len(frags) && frags[i].Off < to; i++ {
		f := frags[i]
		if f.Off < from {
			out = append(out, meta.Frag{Off: f.Off, Len: from - f.Off, Extent: f.Extent, ExtOff: f.ExtOff})
		}
		if e := fragEnd(f); e > to {
			out = append(out, meta.Frag{Off: to, Len: e - to, Extent: f.Extent, ExtOff: f.ExtOff + (to - f.Off)})
		}
	}
	return append(out, frags[i:]...)
}

// putFrag maps f over whatever was there. The fragments of frags stay as they
// are, though the result may be an extension of it.
func putFrag(frags []meta.Frag, f meta.Frag) []meta.Frag {
	n := len(frags)
	if n == 0 || fragEnd(frags[n-1]) <= f.Off { // appending
		return append(frags, f)
	}
	end := fragEnd(f)
	i, _ := slices.BinarySearchFunc(frags, f.Off, func(g meta.Frag, off uint32) int {
		if fragEnd(g) <= off {
			return -1
		}
		return 1
	})
	out := make([]meta.Frag, i, n+3)
	copy(out, frags)
	if frags[i].Off < f.Off {
		out = append(out, frags[i])
		out[i].Len = f.Off - frags[i].Off
	}
	out = append(out, f)
	for ; i < n && frags[i].Off < end; i++ {
		if g := frags[i]; fragEnd(g) > end {
			cut := end - g.Off
			out = append(out, meta.Frag{Off: end, Len: g.Len - cut, Extent: g.Extent, ExtOff: g.ExtOff + cut})
		}
	}
	return append(out, frags[i:]...)
}

// blocksOf counts the 4 KiB blocks that frags touch.
func blocksOf(frags []meta.Frag) uint64 {
	var n uint64
	next := uint32(0) // first block not counted yet
	for _, f := range frags {
		a, b := f.Off/fs.BlockSize, (fragEnd(f)+fs.BlockSize-1)/fs.BlockSize
		a = max(a, next)
		if b > a {
			n += uint64(b - a)
			next = b
		}
	}
	return n
}

// extentsOf lists the distinct extents of frags.
func extentsOf(frags []meta.Frag) []uint64 {
	ids := make([]uint64, 0, len(frags))
	for _, f := range frags {
		ids = append(ids, f.Extent)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// applyMasks removes from the chunk what the stream's masks have deallocated
// and the chunk has not applied yet, and marks it so.
func applyMasks(st *meta.Stream, idx uint64, c *meta.Chunk) {
	base := idx * ChunkBytes
	for _, m := range st.Masks {
		if c.MaskSeq >= m.Seq || m.To <= base || m.From >= base+ChunkBytes {
			continue
		}
		from, to := uint32(0), uint32(ChunkBytes)
		if m.From > base {
			from = uint32(m.From - base)
		}
		if m.To < base+ChunkBytes {
			to = uint32(m.To - base)
		}
		c.Frags = cutFrags(c.Frags, from, to)
	}
	if n := len(st.Masks); n > 0 {
		c.MaskSeq = max(c.MaskSeq, st.Masks[n-1].Seq)
	}
}

// smallRun is a run of adjoining small fragments that are worth one extent.
type smallRun struct{ from, to int } // indices into frags

// smallRuns finds runs of at least two fragments without a hole between, each
// under 64 KiB, together at most 1 MiB.
func smallRuns(frags []meta.Frag) []smallRun {
	var runs []smallRun
	for i := 0; i < len(frags); {
		j, bytes := i, uint32(0)
		for j < len(frags) && frags[j].Len < 64<<10 && bytes+frags[j].Len <= 1<<20 &&
			(j == i || fragEnd(frags[j-1]) == frags[j].Off) {
			bytes += frags[j].Len
			j++
		}
		if j-i > 1 {
			runs = append(runs, smallRun{i, j})
		}
		i = max(j, i+1)
	}
	return runs
}
