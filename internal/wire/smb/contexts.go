package smb

// createContexts are the contexts that we know.
type createContexts struct {
	ea, sd      []byte
	hasEA       bool
	hasSD       bool
	durable     uint8 // version asked for
	durableTime uint32
	persistent  bool
	createGUID  [16]byte
	reconnect   []byte // the data of DHnC or DH2C
	reconnect2  bool
	alloc       uint64
	maximal     bool
	maximalTime uint64
	snapshot    uint64
	diskID      bool
	lease       *leaseRequest
	badLease    bool
	appID       [16]byte
	aapl        []byte
}

var appInstanceID = string([]byte{0x45, 0xBC, 0xA6, 0x6A, 0xEF, 0xA7, 0xF7, 0x4A, 0x90, 0x08, 0xFA, 0x46, 0x2E, 0x14, 0x4D, 0x74})

func parseContexts(b []byte, c *createContexts) status {
	for len(b) > 0 {
		if len(b) < 16 {
			return stInvalidParameter
		}
		next := int(le.Uint32(b))
		no, nl := uint64(le.Uint16(b[4:])), uint64(le.Uint16(b[6:]))
		do, dl := uint64(le.Uint16(b[10:])), uint64(le.Uint32(b[12:]))
		one := b
		if next != 0 {
			if next < 16 || next%8 != 0 || next > len(b) {
				return stInvalidParameter
			}
			one, b = b[:next], b[next:]
		} else {
			b = nil
		}
		name, ok := window(one, no, nl)
		data, ok2 := window(one, do, dl)
		if !ok || !ok2 || nl < 4 || no < 16 {
			return stInvalidParameter
		}
		if st := c.add(string(name), data); st != stOK {
			return st
		}
	}
	return stOK
}

func (c *createContexts) add(name string, data []byte) status {
	switch name {
	case "ExtA":
		c.ea, c.hasEA = data, true
	case "SecD":
		c.sd, c.hasSD = data, true
	case "DHnQ":
		if len(data) != 16 || c.reconnect2 || c.durable == 2 {
			return stInvalidParameter
		}
		if c.durable == 0 {
			c.durable = 1
		}
	case "DHnC":
		if len(data) != 16 || c.durable == 2 || c.reconnect2 {
			return stInvalidParameter
		}
		c.reconnect = data
	case "DH2Q":
		if len(data) != 32 || c.durable != 0 || c.reconnect != nil {
			return stInvalidParameter
		}
		c.durable = 2
		c.durableTime = le.Uint32(data)
		c.persistent = le.Uint32(data[4:])&2 != 0
		copy(c.createGUID[:], data[16:])
	case "DH2C":
		if len(data) != 36 || c.durable != 0 || c.reconnect != nil {
			return stInvalidParameter
		}
		c.reconnect, c.reconnect2 = data, true
		copy(c.createGUID[:], data[16:])
	case "AlSi":
		if len(data) != 8 {
			return stInvalidParameter
		}
		c.alloc = le.Uint64(data)
	case "MxAc":
		if len(data) != 0 && len(data) != 8 {
			return stInvalidParameter
		}
		c.maximal = true
		if len(data) == 8 {
			c.maximalTime = le.Uint64(data)
		}
	case "TWrp":
		if len(data) != 8 {
			return stInvalidParameter
		}
		c.snapshot = le.Uint64(data)
	case "QFid":
		if len(data) != 0 {
			return stInvalidParameter
		}
		c.diskID = true
	case "RqLs":
		c.lease = parseLease(data)
		if c.lease == nil {
			c.badLease = true
		}
	case "AAPL":
		c.aapl = data
	case appInstanceID:
		if len(data) == 20 {
			copy(c.appID[:], data[4:])
		}
	}
	return stOK
}
