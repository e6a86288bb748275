package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
)

// logFlags are the flags of commands that log.
type logFlags struct{ level, format string }

func (f *logFlags) register(c *cobra.Command) {
	if f.level == "" {
		f.level = "info"
	}
	c.Flags().StringVar(&f.level, "log-level", f.level, "`LEVEL`: debug, info, warn or error")
	c.Flags().StringVar(&f.format, "log-format", "text", "`FORMAT`: text or json")
}

// logger writes to standard error.
func (f *logFlags) logger() (*slog.Logger, error) {
	var o slog.HandlerOptions
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.level)); err != nil {
		return nil, fmt.Errorf("--log-level %q: want debug, info, warn or error", f.level)
	}
	o.Level = level
	switch f.format {
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, &o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, &o)), nil
	}
	return nil, fmt.Errorf("--log-format %q: want text or json", f.format)
}
