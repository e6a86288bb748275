package node

import (
	"context"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"manifold/internal/fs"
)

// watchdogPart tells the service manager that the server lives, if it wants to
// know (WatchdogSec=): as often as it says, halved, and only while the file
// system answers. A server that hangs is then restarted.
func watchdogPart(f fs.FS, log *slog.Logger) (part, bool) {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("the service manager's watchdog is ignored", "error", err)
	}
	if err != nil || limit <= 0 {
		return part{}, false
	}
	check := func(ctx context.Context) error {
		_, err := f.GetAttr(ctx, fs.SystemCaller(), fs.Root, fs.AttrType)
		return err
	}
	return part{name: "watchdog", serve: func(ctx context.Context) error {
		watch(ctx, limit/2, check, func() { notify(log, daemon.SdNotifyWatchdog) }, log)
		return nil
	}}, true
}

// watch calls alive every interval in which check succeeds, until ctx ends.
func watch(ctx context.Context, interval time.Duration, check func(context.Context) error, alive func(), log *slog.Logger) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		cctx, cancel := context.WithTimeout(ctx, interval)
		err := check(cctx)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			log.ErrorContext(ctx, "the file system does not answer", "error", err)
		default:
			alive()
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
