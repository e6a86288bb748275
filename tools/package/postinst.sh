#!/bin/sh
# After installation: the user that the service runs as; a running service gets
# the new binary.
set -e
if command -v systemd-sysusers >/dev/null; then
  systemd-sysusers /usr/lib/sysusers.d/manifold.conf
fi
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  systemctl try-restart manifold.service || true
fi
exit 0
