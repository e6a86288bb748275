package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"manifold/client"
)

func (a *app) s3Command() *cobra.Command {
	on, off := a.toggle("Serve S3", "Stop serving S3; what is under way finishes", func(ctx context.Context, c *client.Client, on bool) error {
		return a.changeS3(ctx, c, client.S3SettingsChange{Enabled: &on})
	})
	return noun("s3", "The S3 server: settings, buckets, access keys, uploads", a.s3Show(), on, off, a.s3Modify(),
		noun("bucket", "Buckets", a.bucketList(), a.bucketShow(), a.bucketAdd(), a.bucketModify(), a.bucketDelete()),
		noun("policy", "Policies of buckets", a.policyShow(), a.policySet(), a.policyDelete(), a.policyExplain(),
			noun("statement", "Statements of a policy, which count from 1", a.statementAdd(), a.statementModify(), a.statementRemove())),
		noun("access-key", "Access keys of users", a.s3KeyList(), a.s3KeyCreate(), a.s3KeyRevoke()),
		noun("upload", "Multipart uploads under way", a.uploadList(), a.uploadAbort()))
}

func (a *app) printS3(s client.S3Settings) error {
	if a.asJSON {
		return a.json(s)
	}
	b := strconv.FormatBool
	return a.record("Enabled", b(s.Enabled), "HTTPS only", b(s.Secure), "Base path", s.BasePath, "Uploads expire after", s.UploadExpiry,
		"Domains", strings.Join(s.Domains, " "), "Opaque entity tags", b(s.OpaqueETags))
}

func (a *app) s3Show() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Settings of the S3 server", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			s, err := c.S3Settings(ctx)
			if err != nil {
				return err
			}
			return a.printS3(s)
		}),
	}
}

func (a *app) changeS3(ctx context.Context, c *client.Client, v client.S3SettingsChange) error {
	s, err := c.ChangeS3Settings(ctx, v)
	if err != nil {
		return err
	}
	return a.printS3(s)
}

func (a *app) s3Modify() *cobra.Command {
	var n client.S3Settings
	c := &cobra.Command{Use: "modify", Short: "Change settings of the S3 server", Args: cobra.NoArgs}
	f := c.Flags()
	f.BoolVar(&n.Enabled, "enabled", false, "serve S3")
	f.BoolVar(&n.Secure, "secure", true, "serve HTTPS only; --secure=false also serves plain HTTP")
	f.StringVar(&n.BasePath, "base-path", "", "directory in which buckets are created")
	f.StringVar(&n.UploadExpiry, "upload-expiry", "", "how long an upload may go without data, as 1days or never")
	f.StringSliceVar(&n.Domains, "domain", nil, "domain under which BUCKET.DOMAIN names a bucket; an empty one for none")
	f.BoolVar(&n.OpaqueETags, "opaque-etags", false, "give entity tags that are no MD5")
	c.RunE = a.run(func(ctx context.Context, cl *client.Client, _ []string) error {
		var v client.S3SettingsChange
		if f.Changed("enabled") {
			v.Enabled = &n.Enabled
		}
		if f.Changed("secure") {
			v.Secure = &n.Secure
		}
		if f.Changed("base-path") {
			v.BasePath = &n.BasePath
		}
		if f.Changed("upload-expiry") {
			v.UploadExpiry = &n.UploadExpiry
		}
		if f.Changed("opaque-etags") {
			v.OpaqueETags = &n.OpaqueETags
		}
		if f.Changed("domain") {
			list := slices.DeleteFunc(append([]string{}, n.Domains...), func(d string) bool { return d == "" })
			v.Domains = &list
		}
		return a.changeS3(ctx, cl, v)
	})
	return c
}

func (a *app) bucketList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List buckets", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			bs, err := c.Buckets(ctx)
			if err != nil {
				return err
			}
			return listing(a, bs, "NAME PATH VERSIONING LOCK ANONYMOUS CREATED", func(b *client.Bucket) []string {
				return []string{b.Name, b.Path, b.Versioning, strconv.FormatBool(b.Lock.Enabled), strconv.FormatBool(b.Anonymous), b.Created}
			})
		}),
	}
}

func (a *app) bucketShow() *cobra.Command {
	return a.verb("show NAME", "One bucket", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string) error {
		bs, err := c.Buckets(ctx)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(bs, func(b client.Bucket) bool { return b.Name == args[0] })
		if i < 0 {
			return fmt.Errorf("there is no bucket %s", args[0])
		}
		return a.printBucket(&bs[i])
	})
}

func (a *app) printBucket(b *client.Bucket) error {
	retention := "none"
	if r := b.Lock.Retention; r != nil {
		retention = fmt.Sprintf("%d %s", r.Value, r.Units)
	}
	return a.show(b, "Name", b.Name, "Directory", b.Path, "Created", b.Created, "Versioning", b.Versioning,
		"Object lock", onOff(b.Lock.Enabled), "Default retention", retention, "Anonymous", onOff(b.Anonymous))
}

// retentionOf takes 30days or 2years; none is nil.
func retentionOf(s string) (*client.BucketRetention, error) {
	if s == "none" {
		return nil, nil
	}
	for _, units := range []string{"days", "years"} {
		if n, ok := strings.CutSuffix(strings.TrimSuffix(s, "s")+"s", units); ok {
			if v, err := strconv.ParseInt(strings.TrimSpace(n), 10, 32); err == nil && v > 0 {
				return &client.BucketRetention{Units: units, Value: v}, nil
			}
		}
	}
	return nil, fmt.Errorf("--default-retention %q: want a time as 30days or 2years, or none", s)
}

func (a *app) bucketAdd() *cobra.Command {
	var n client.NewBucket
	c := &cobra.Command{Use: "add NAME [DIRECTORY]", Short: "Add a bucket over a directory; without one it is made below the base path", Args: cobra.RangeArgs(1, 2)}
	c.Flags().BoolVar(&n.CreatePath, "create-directory", false, "make the directory if it is missing")
	c.Flags().BoolVar(&n.ObjectLock, "object-lock", false, "allow retention and legal holds; also keeps versions")
	c.RunE = a.run(func(ctx context.Context, cl *client.Client, args []string) error {
		n.Name = args[0]
		if len(args) == 2 {
			n.Path = args[1]
		}
		b, err := cl.AddBucket(ctx, n)
		if err != nil || !a.asJSON {
			return err
		}
		return a.json(b)
	})
	return c
}

func (a *app) bucketModify() *cobra.Command {
	var versioning, keep string
	var anonymous, lock bool
	c := &cobra.Command{Use: "modify NAME", Short: "Change a bucket", Args: cobra.ExactArgs(1)}
	c.Flags().StringVar(&versioning, "versioning", "", "Enabled or Suspended")
	c.Flags().BoolVar(&anonymous, "anonymous", false, "let requests that nobody signed read where no policy says else")
	c.Flags().BoolVar(&lock, "object-lock", false, "let objects be locked against change and removal, for which it keeps versions")
	c.Flags().StringVar(&keep, "default-retention", "", "also lock new objects for a time as 30days or 2years; none for no more")
	c.RunE = a.run(func(ctx context.Context, cl *client.Client, args []string) error {
		var v client.BucketChange
		if c.Flags().Changed("versioning") {
			v.Versioning = &versioning
		}
		if c.Flags().Changed("anonymous") {
			v.Anonymous = &anonymous
		}
		if c.Flags().Changed("object-lock") {
			v.Lock = &client.BucketLockChange{Enabled: &lock}
		}
		if keep != "" {
			r, err := retentionOf(keep)
			if err != nil {
				return err
			}
			if v.Lock == nil {
				v.Lock = &client.BucketLockChange{}
			}
			if v.Lock.Retention = &r; r != nil && v.Lock.Enabled == nil {
				lock = true
				v.Lock.Enabled = &lock
			}
		}
		if v.Lock != nil && v.Lock.Enabled != nil && lock && v.Versioning == nil { // the lock is of versions
			versioning = "Enabled"
			v.Versioning = &versioning
		}
		b, err := cl.ChangeBucket(ctx, args[0], v)
		if err != nil {
			return err
		}
		return a.printBucket(&b)
	})
	return c
}

func (a *app) bucketDelete() *cobra.Command {
	var dir bool
	c := &cobra.Command{Use: "delete NAME", Short: "Remove a bucket; its files stay", Args: cobra.ExactArgs(1)}
	c.Flags().BoolVar(&dir, "directory", false, "also remove the directory, which must be empty")
	c.RunE = a.run(func(ctx context.Context, cl *client.Client, args []string) error {
		return cl.DeleteBucket(ctx, args[0], dir)
	})
	return c
}

func (a *app) policyShow() *cobra.Command {
	return &cobra.Command{
		Use: "show BUCKET", Short: "Print a bucket's policy as JSON", Args: cobra.ExactArgs(1),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			doc, _, err := c.BucketPolicy(ctx, args[0])
			if err != nil {
				return err
			}
			return a.json(doc)
		}),
	}
}

func (a *app) policySet() *cobra.Command {
	var removeSelf bool
	c := &cobra.Command{Use: "set BUCKET FILE", Short: "Replace a bucket's policy by the JSON in a file, - for standard input", Args: cobra.ExactArgs(2)}
	c.Flags().BoolVar(&removeSelf, "allow-remove-self", false, "accept a policy under which you could not change it again")
	c.RunE = a.run(func(ctx context.Context, cl *client.Client, args []string) error {
		b, err := a.read(args[1], 1<<20)
		if err != nil {
			return err
		}
		if !json.Valid(b) {
			return errors.New("the policy is no JSON")
		}
		return cl.SetBucketPolicy(ctx, args[0], b, removeSelf, "")
	})
	return c
}

func (a *app) policyDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete BUCKET", Short: "Remove a bucket's policy", Args: cobra.ExactArgs(1),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			return c.SetBucketPolicy(ctx, args[0], json.RawMessage("{}"), false, "")
		}),
	}
}

func (a *app) s3KeyList() *cobra.Command {
	var user string
	c := &cobra.Command{
		Use: "list", Short: "List access keys", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			ks, err := collect(c.S3Keys(ctx, user))
			if err != nil {
				return err
			}
			return listing(a, ks, "ID OWNER CREATED", func(k *client.S3Key) []string { return []string{k.ID, k.Owner.String(), k.Created} })
		}),
	}
	c.Flags().StringVar(&user, "user", "", "only those of this user")
	return c
}

func (a *app) s3KeyCreate() *cobra.Command {
	return &cobra.Command{
		Use: "create USER", Short: "Make an access key of a user, at most two each; the secret is shown only this once", Args: cobra.ExactArgs(1),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			k, err := c.NewS3Key(ctx, client.Named(args[0]))
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.json(k)
			}
			_, err = fmt.Fprintf(a.o.Out, "%s\n%s\n", k.ID, k.Secret)
			return err
		}),
	}
}

func (a *app) s3KeyRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "rm ID", Short: "Revoke an access key at once", Args: cobra.ExactArgs(1),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error { return c.RevokeS3Key(ctx, args[0]) }),
	}
}

func (a *app) uploadList() *cobra.Command {
	return &cobra.Command{
		Use: "list BUCKET", Short: "List uploads that are neither complete nor given up", Args: cobra.ExactArgs(1),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			us, err := collect(c.Uploads(ctx, args[0]))
			if err != nil {
				return err
			}
			return listing(a, us, "ID KEY INITIATOR INITIATED MODIFIED BLOCKS", func(u *client.Upload) []string {
				return []string{u.ID, u.Key, u.Initiator.String(), u.Initiated, u.Modified, u.Blocks.String()}
			})
		}),
	}
}

func (a *app) uploadAbort() *cobra.Command {
	return &cobra.Command{
		Use: "abort BUCKET ID", Short: "Give up an upload", Args: cobra.ExactArgs(2),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			return c.AbortUpload(ctx, args[0], args[1])
		}),
	}
}

func (a *app) policyExplain() *cobra.Command {
	return a.verb("explain BUCKET [WHO]", "What somebody may do with a bucket and why; without WHO who has not said who he is", cobra.RangeArgs(1, 2),
		func(ctx context.Context, c *client.Client, args []string) error {
			var who *client.Principal
			if len(args) == 2 {
				p := client.Named(args[1])
				who = &p
			}
			x, err := c.ExplainBucketAccess(ctx, args[0], who)
			if err != nil {
				return err
			}
			pairs := []string{"Allowed", dash(x.Allowed), "By roles", dash(x.ByRole)}
			for i, s := range x.Statements {
				says := "denies "
				if s.Allow {
					says = "allows "
				}
				pairs = append(pairs, fmt.Sprintf("Statement %d", i+1), says+dash(s.Actions))
			}
			return a.show(x, pairs...)
		})
}
