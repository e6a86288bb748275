#!/usr/bin/env bash
# ganesha.sh STATE EXPORT - run NFS-Ganesha (VFS) over EXPORT in the network
# namespace that the caller entered already, in the foreground. MOUNT 20048,
# NFS 2049. rpcbind and Ganesha get a /run of their own; both end with us.
set -euo pipefail
state=$1 export=$2
mount --make-rprivate /
cat >"$state/ganesha.conf" <<CONF
NFS_CORE_PARAM { NFS_Port = 2049; MNT_Port = 20048; NLM_Port = 32803;
  Protocols = 3; Enable_NLM = false; Enable_RQUOTA = false; }
NFSv4 { Graceless = true; RecoveryRoot = "$state"; RecoveryBackend = fs; }
LOG { Default_Log_Level = EVENT; }
EXPORT { Export_Id = 1; Path = "$export"; Pseudo = "/export"; Access_Type = RW;
  Protocols = 3; Transports = TCP, UDP; SecType = sys; Squash = No_Root_Squash;
  FSAL { Name = VFS; } }
CONF
mount -t tmpfs tmpfs /run
mkdir -p /run/rpcbind /run/ganesha
setpriv --pdeathsig KILL rpcbind -f -w >"$state/rpcbind.log" 2>&1 &
for _ in $(seq 50); do
  [ -S /run/rpcbind.sock ] && break
  sleep 0.1
done
exec setpriv --pdeathsig KILL ganesha.nfsd -F -L "$state/ganesha.log" -f "$state/ganesha.conf" -N NIV_EVENT -p "$state/ganesha.pid"
