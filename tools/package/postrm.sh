#!/bin/sh
# The data directory stays, whatever happens to the package.
set -e
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
fi
exit 0
