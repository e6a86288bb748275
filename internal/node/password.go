package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"manifold/internal/config"
	"manifold/internal/identity"
	"manifold/internal/settings"
)

// ResetAdminPassword sets the password of the user admin in a stopped data
// directory, for whoever has lost it: to the one given, else to a new one, which
// it answers. Sessions of the user end.
func ResetAdminPassword(ctx context.Context, dir string, given settings.Secret, log *slog.Logger) (password string, err error) {
	st, err := openStorage(ctx, storageOptions{dir: dir, log: log})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	return resetPassword(ctx, st.config, given.Reveal())
}

func resetPassword(ctx context.Context, c *config.Store, password string) (string, error) {
	if done, err := c.Initialized(ctx); err != nil {
		return "", err
	} else if !done {
		return "", fmt.Errorf("%w: its first start was never finished", ErrNotData)
	}
	if password == "" {
		var err error
		if password, err = c.NewPassword(); err != nil {
			return "", err
		}
	}
	return password, c.SetPassword(ctx, uint64(identity.Admin), password)
}
