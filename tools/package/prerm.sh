#!/bin/sh
# Before removal the service is stopped; an upgrade restarts it afterwards.
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
  systemctl --no-reload disable --now manifold.service || true
fi
exit 0
