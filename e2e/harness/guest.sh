#!/usr/bin/env bash
# guest.sh CTL CPU MEM INDEX - boot a user-mode Linux kernel on this machine's own
# files (read-only, under a throw-away overlay) and run CTL/script in it as root.
#
# The caller has entered the network namespace where the server lives. The
# guest is 198.51.100.11 + INDEX, the server 198.51.100.1. The script's stdout and
# stderr pass through CTL/out and CTL/err, its exit code is left in CTL/io/rc.
set -euo pipefail
ctl=$1 cpu=$2 mem=$3 index=$4
tap=mfg$index server=198.51.100.1 client=198.51.100.$((11 + index))
mkdir -p "$ctl/rw" "$ctl/root" "$ctl/io"
[ -z "$(ip route show default)" ] || { echo "guest: this namespace has a way out" >&2; exit 125; }
ip addr replace "$server/32" dev lo
ip link del $tap 2>/dev/null || true
ip tuntap add dev $tap mode tap
ip link set $tap up
ip route add $client/32 dev $tap src $server
echo 1 >/proc/sys/net/ipv4/conf/$tap/proxy_arp

# Stage 1 sees the read-only root; it builds the overlay and moves into it.
cat >"$ctl/init" <<GUEST
#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mount -n -t proc proc /proc
mount -n -t sysfs sys /sys
insmod /usr/lib/uml/modules/\$(uname -r)/kernel/fs/overlayfs/overlay.ko
mount -n -t tmpfs tmpfs $ctl/rw
mkdir $ctl/rw/upper $ctl/rw/work
mount -n -t overlay -o lowerdir=/,upperdir=$ctl/rw/upper,workdir=$ctl/rw/work overlay $ctl/root
for d in dev proc sys; do mount -n --move /\$d $ctl/root/\$d; done
cd $ctl/root && mount -n --move . / && exec chroot . /bin/bash $ctl/stage2
GUEST
cat >"$ctl/stage2" <<GUEST
rm -rf /lib/modules; mkdir -p /lib/modules
ln -s /usr/lib/uml/modules/\$(uname -r) /lib/modules/
for d in /run /mnt; do mount -t tmpfs tmpfs \$d; done
mkdir -p /run/rpcbind /run/lock /run/guest
mount -t hostfs -o $ctl/io none /run/guest
rm -rf /var/lib/nfs; mkdir -p /var/lib/nfs/sm /var/lib/nfs/sm.bak; : >/var/lib/nfs/state
chown -R statd /var/lib/nfs
echo "127.0.0.1 localhost" >/etc/hosts; : >/etc/resolv.conf; : >/etc/fstab
sed -i '/^[a-z]*6[ \t]/d' /etc/netconfig   # no IPv6 here
ip link set lo up; ip addr add $client/24 dev vec0; ip link set vec0 up
rpcbind -w
stty raw -echo </dev/tty1; stty raw -echo </dev/tty2
cd /root
SERVER=$server CLIENT=$client setsid bash $ctl/script </dev/null >/dev/tty1 2>/dev/tty2
rc=\$?
umount -f -l /mnt 2>/dev/null
echo \$rc >/run/guest/rc; sync
echo o >/proc/sysrq-trigger; sleep 5
GUEST
chmod +x "$ctl/init"

# UML sets O_NONBLOCK on its consoles, so each gets a pipe of its own.
exec 3> >(cat >"$ctl/out") 4> >(cat >"$ctl/err") 5> >(cat >"$ctl/console")
# The guest's host processes hand over by ptrace, far slower across CPUs.
[ -d /dev/shm ] && export TMPDIR=/dev/shm
exec setpriv --pdeathsig KILL taskset -c "$cpu" ${GUEST_REALTIME:+chrt -r 1} linux.uml "mem=${mem}M" \
  umid=guest "uml_dir=$ctl/" root=/dev/root rootfstype=hostfs rootflags=/ ro "init=$ctl/init" \
  con=null con0=null,fd:5 con1=null,fd:3 con2=null,fd:4 ssl=null \
  "vec0:transport=tap,ifname=$tap,depth=128,gro=1" \
  quiet random.trust_cpu=1 </dev/null >&5 2>&5
