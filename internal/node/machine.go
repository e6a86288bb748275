package node

import (
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// machine is what a first run learns about where it runs.
type machine struct {
	name    string
	hosts   []string       // names for the certificate
	addrs   []netip.Addr   // of the interfaces, loopback included
	subnets []netip.Prefix // of the interfaces, loopback included
}

// thisMachine asks the system. What it cannot learn is left out.
func thisMachine() machine {
	m := machine{hosts: []string{"localhost"}}
	if name, err := os.Hostname(); err == nil && name != "" {
		m.name = name
		if name != "localhost" {
			m.hosts = append(m.hosts, name)
		}
	}
	ifaces, _ := net.InterfaceAddrs()
	for _, a := range ifaces {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits())
		if a := p.Addr(); !slices.Contains(m.addrs, a) {
			m.addrs = append(m.addrs, a)
		}
		if s := p.Masked(); s.IsValid() && !slices.Contains(m.subnets, s) {
			m.subnets = append(m.subnets, s)
		}
	}
	return m
}

// limitMemory tells the garbage collector how much there is, unless the
// operator has: half of the machine's or the cgroup's memory. The rest is the
// kernel's page cache, which serves our reads.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	if n := availableMemory(); n > 0 {
		debug.SetMemoryLimit(n / 2)
	}
}

// wantedFiles is for 16,384 connections of each of NFS and SMB, the others and the
// files of the store.
const wantedFiles = 1 << 16

// raiseFiles asks for as many file descriptors as connections may need, beyond
// the hard limit where the process may, and says so if there are fewer: what
// comes when they are used up waits to be accepted.
func raiseFiles(log *slog.Logger) {
	var have syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &have) != nil || have.Cur >= wantedFiles {
		return
	}
	for _, want := range []syscall.Rlimit{{Cur: wantedFiles, Max: max(have.Max, wantedFiles)}, {Cur: have.Max, Max: have.Max}} {
		if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &want) == nil {
			have = want
			break
		}
	}
	if have.Cur < wantedFiles {
		log.Warn("few file descriptors: many connections at once will have to wait; raise the limit (LimitNOFILE, ulimit -n)", "limit", have.Cur, "wanted", wantedFiles)
	}
}

// blockCacheBytes is how much memory may hold verified blocks of files: reads of
// a few KiB of them cost a copy instead of reading and verifying 64 KiB.
func blockCacheBytes() int64 {
	return max(32<<20, min(512<<20, availableMemory()/32))
}

// keyCacheBytes is how much memory may hold blocks of the key store; a million
// files take some 300 MB there.
func keyCacheBytes() int64 {
	return max(32<<20, min(256<<20, availableMemory()/64))
}

// memTableBytes is how much the key store gathers before it writes a table. Its
// log is replayed after a crash, some 100 MB a second.
func memTableBytes() uint64 {
	return uint64(max(8<<20, min(64<<20, availableMemory()/256)))
}

// availableMemory of this process in bytes, 0 if unknown.
func availableMemory() int64 {
	var total int64
	b, _ := os.ReadFile("/proc/meminfo")
	for _, line := range strings.Split(string(b), "\n") {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemTotal:" {
			kib, _ := strconv.ParseInt(f[1], 10, 64)
			total = kib << 10
		}
	}
	for _, p := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		b, err := os.ReadFile(p)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && n > 0 && (total == 0 || n < total) {
			total = n
		}
	}
	return total
}
