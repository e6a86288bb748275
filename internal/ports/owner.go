package ports

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ownerOf looks up in /proc who holds a local port. It may find nothing:
// sockets of other users are only visible to root.
func ownerOf(transport string, number uint16) string {
	inode := ""
	for _, f := range []string{"/proc/net/" + transport, "/proc/net/" + transport + "6"} {
		if inode = inodeOf(f, number, transport == "tcp"); inode != "" {
			break
		}
	}
	if inode == "" {
		return ""
	}
	if inode == "0" {
		return "the kernel"
	}
	want := "socket:[" + inode + "]"
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err != nil || to != want {
			continue
		}
		pid := strings.Split(fd, "/")[2]
		comm, err := os.ReadFile("/proc/" + pid + "/comm")
		if err != nil {
			continue
		}
		return fmt.Sprintf("%s, pid %s", strings.TrimSpace(string(comm)), pid)
	}
	return "a process of another user"
}

// inodeOf scans a /proc/net table for a socket on the port; of TCP only listeners count.
func inodeOf(file string, number uint16, listening bool) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for _, line := range strings.Split(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) < 10 {
			continue
		}
		_, hexPort, ok := strings.Cut(f[1], ":")
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(hexPort, 16, 16)
		if err != nil || uint16(n) != number || (listening && f[3] != "0A") {
			continue
		}
		return f[9]
	}
	return ""
}
