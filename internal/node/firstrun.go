package node

import (
	"context"
	"errors"
	"fmt"
	"os"

	"manifold/internal/config"
	"manifold/internal/settings"
)

// secrets are what a first run made and nobody knows yet.
type secrets struct {
	// password of the administrator, "" unless it was made just now and is to
	// be shown on the terminal.
	password string
	notes    []string
}

// firstRun writes the configuration of a fresh system if there is none; uuid is
// that of its file system. A
// given password is used; else one is made, and shown when there is a terminal
// to show it on, else left in a file. Files come before the commit: a crash in
// between makes the next start overwrite them, never lose them.
func firstRun(ctx context.Context, st *storage, uuid [16]byte, m machine, given settings.Secret, terminal bool) (secrets, error) {
	var out secrets
	c, d := st.config, st.dir
	done, err := c.Initialized(ctx)
	if err != nil || done {
		return out, err
	}
	password := given.Reveal()
	if password == "" {
		if password, err = c.NewPassword(); err != nil {
			return out, err
		}
		if terminal {
			out.password = password
		} else {
			if err := d.writeFile(passwordFile, []byte(password+"\n"), 0o600); err != nil {
				return out, err
			}
			out.notes = append(out.notes, "The password of the user admin is in "+d.join(passwordFile)+"; delete the file when you have it.")
		}
	}
	token, err := c.FirstRun(ctx, config.FirstRunOptions{
		AdminPassword: password,
		ClusterUUID:   config.UUIDString(uuid),
		NodeName:      m.name,
		Subnets:       m.subnets,
		Hosts:         m.hosts,
		Addresses:     m.addrs,
	})
	var bad *config.InvalidError
	if errors.As(err, &bad) && bad.Field == "password" {
		return out, fmt.Errorf("MANIFOLD_ADMIN_PASSWORD: %w", err)
	}
	if err != nil {
		return out, err
	}
	return out, d.writeFile(metricsFile, []byte(token+"\n"), 0o600)
}

// ensureMetricsFile makes up for a crash between the first run's commit and
// its file: the token is kept as a hash only, so a lost one is replaced.
func ensureMetricsFile(ctx context.Context, c *config.Store, d *dataDir) error {
	if _, err := os.Stat(d.join(metricsFile)); err == nil || !errors.Is(err, os.ErrNotExist) {
		return err
	}
	token, err := c.NewMetricsToken(ctx)
	if err != nil {
		return err
	}
	return d.writeFile(metricsFile, []byte(token+"\n"), 0o600)
}
