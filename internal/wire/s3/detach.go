package s3

import "context"

// detach keeps the values of a context and lets what cleans up outlive the caller.
func detach(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }
