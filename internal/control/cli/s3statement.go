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

// statementFlags say what a statement is to be.
type statementFlags struct {
	effect, sid         string
	principals, actions []string
	removeSelf          bool
}

func (s *statementFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&s.effect, "effect", "", "Allow or Deny")
	f.StringVar(&s.sid, "sid", "", "name of the statement; empty for none")
	f.StringSliceVar(&s.principals, "principal", nil, "whom it is about, as local:jane or Everyone")
	f.StringSliceVar(&s.actions, "action", nil, "what it is about, as s3:GetObject or s3:*")
	s.mine(c)
}

func (s *statementFlags) mine(c *cobra.Command) {
	c.Flags().BoolVar(&s.removeSelf, "allow-remove-self", false, "accept a policy under which you could not change it again")
}

// apply changes what was given.
func (s *statementFlags) apply(c *cobra.Command, st map[string]any) error {
	given := c.Flags().Changed
	if given("effect") {
		switch e := strings.ToLower(s.effect); e {
		case "allow", "deny":
			st["Effect"] = strings.ToUpper(e[:1]) + e[1:]
		default:
			return fmt.Errorf("--effect %q: want Allow or Deny", s.effect)
		}
	}
	if given("sid") {
		if delete(st, "Sid"); s.sid != "" {
			st["Sid"] = s.sid
		}
	}
	if given("principal") {
		delete(st, "NotPrincipal")
		st["Principal"] = map[string]any{"Qumulo": s.principals}
	}
	if given("action") {
		delete(st, "NotAction")
		st["Action"] = s.actions
	}
	return nil
}

// changePolicy reads a bucket's policy, changes its statements, and writes it if
// it is still the same.
func (a *app) changePolicy(s *statementFlags, change func(sts []map[string]any, args []string) ([]map[string]any, error)) func(*cobra.Command, []string) error {
	return a.run(func(ctx context.Context, cl *client.Client, args []string) error {
		raw, etag, err := cl.BucketPolicy(ctx, args[0])
		if err != nil {
			return err
		}
		doc := map[string]json.RawMessage{}
		var sts []map[string]any
		if err := json.Unmarshal(raw, &doc); err != nil {
			return err
		}
		if len(doc) == 0 {
			doc["Version"] = json.RawMessage(`"2012-10-17"`)
		} else if err := json.Unmarshal(doc["Statement"], &sts); err != nil {
			return err
		}
		if sts, err = change(sts, args[1:]); err != nil {
			return err
		}
		if doc["Statement"], err = json.Marshal(sts); err != nil {
			return err
		}
		out, err := json.Marshal(doc)
		if err != nil {
			return err
		}
		if err := cl.SetBucketPolicy(ctx, args[0], out, s.removeSelf, etag); err != nil {
			return err
		}
		if raw, _, err = cl.BucketPolicy(ctx, args[0]); err != nil {
			return err
		}
		return a.json(raw)
	})
}

func (a *app) statementAdd() *cobra.Command {
	var s statementFlags
	c := a.verb("add BUCKET", "Add a statement to a bucket's policy", cobra.ExactArgs(1), nil)
	c.Example = "  manifold s3 policy statement add backups --effect Allow --principal local:jane --action s3:GetObject,s3:ListBucket"
	s.add(c)
	c.RunE = a.changePolicy(&s, func(sts []map[string]any, _ []string) ([]map[string]any, error) {
		if s.effect == "" || len(s.principals) == 0 || len(s.actions) == 0 {
			return nil, errors.New("give --effect, --principal and --action")
		}
		st := map[string]any{}
		return append(sts, st), s.apply(c, st)
	})
	return c
}

func (a *app) statementModify() *cobra.Command {
	var s statementFlags
	c := a.verb("modify BUCKET NUMBER", "Change a statement of a bucket's policy in its place", cobra.ExactArgs(2), nil)
	s.add(c)
	c.RunE = a.changePolicy(&s, func(sts []map[string]any, args []string) ([]map[string]any, error) {
		i, err := nth(args[0], len(sts), "statement")
		if err != nil {
			return nil, err
		}
		return sts, s.apply(c, sts[i])
	})
	return c
}

func (a *app) statementRemove() *cobra.Command {
	var s statementFlags
	c := a.verb("rm BUCKET NUMBER", "Remove a statement from a bucket's policy; but the last", cobra.ExactArgs(2), nil)
	s.mine(c)
	c.RunE = a.changePolicy(&s, func(sts []map[string]any, args []string) ([]map[string]any, error) {
		i, err := nth(args[0], len(sts), "statement")
		if err != nil {
			return nil, err
		}
		if len(sts) == 1 { // its absence lets more people in, not fewer
			return nil, errors.New("a policy needs a statement; without one all who sign in may use the bucket, and you say so with: manifold s3 policy delete BUCKET")
		}
		return slices.Delete(sts, i, i+1), nil
	})
	return c
}

// nth takes the number of one of n things, which count from 1, to its index.
func nth(s string, n int, what string) (int, error) {
	i, err := strconv.Atoi(s)
	if err != nil || i < 1 || i > n {
		return 0, fmt.Errorf("there is no %s %s; there are %d", what, s, n)
	}
	return i - 1, nil
}
