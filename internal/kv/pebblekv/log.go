package pebblekv

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// logger takes Pebble's own messages. Fatalf is Pebble's word for a store that
// must not go on.
type logger struct{ e *Engine }

func (l logger) Infof(format string, args ...any) {
	l.e.log.Debug(fmt.Sprintf(format, args...))
}

func (l logger) Errorf(format string, args ...any) { l.e.log.Error(fmt.Sprintf(format, args...)) }

func (l logger) Fatalf(format string, args ...any) {
	l.e.fail(fmt.Errorf("pebblekv: "+format, args...))
}

// listener reports what an operator should know: trouble and stalls.
func (e *Engine) listener() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) { e.log.Error("background work of the key store failed", "err", err) },
		DataCorruption: func(i pebble.DataCorruptionInfo) {
			e.log.Error("the key store is damaged", "path", i.Path, "err", i.Details)
		},
		WriteStallBegin: func(i pebble.WriteStallBeginInfo) { e.log.Warn("writes of the key store stall", "reason", i.Reason) },
		WriteStallEnd:   func() { e.log.Info("writes of the key store go on") },
		// What is in tables is not needed in the log any more.
		FlushEnd: func(pebble.FlushInfo) { e.wal.wakeKeeper() },
	}
}
