package cli

import (
	"context"
	"path"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"manifold/client"
)

const (
	// completeFor is how long the shell waits for names at most.
	completeFor = 3 * time.Second
	maxComplete = 500
)

// names answers what a placeholder in a command's usage can stand for.
type names func(ctx context.Context, c *client.Client, prefix string) ([]string, error)

// completions are the names that the server can list, by the placeholder.
var completions = map[string]names{
	"PATH": remotePaths, "FROM": remotePaths, "TO": remotePaths, "TARGET": remotePaths,
	"USER": func(ctx context.Context, c *client.Client, _ string) (out []string, err error) {
		us, err := c.Users(ctx)
		for i := range us {
			out = append(out, us[i].Name)
		}
		return out, err
	},
	"GROUP": func(ctx context.Context, c *client.Client, _ string) (out []string, err error) {
		gs, err := c.Groups(ctx)
		for i := range gs {
			out = append(out, gs[i].Name)
		}
		return out, err
	},
	"ROLE": func(ctx context.Context, c *client.Client, _ string) (out []string, err error) {
		rs, err := c.Roles(ctx)
		for name := range rs {
			out = append(out, name)
		}
		return out, err
	},
	"EXPORT": func(ctx context.Context, c *client.Client, _ string) (out []string, err error) {
		es, err := c.Exports(ctx)
		for i := range es {
			out = append(out, es[i].ExportPath)
		}
		return out, err
	},
	"SHARE": func(ctx context.Context, c *client.Client, _ string) (out []string, err error) {
		ss, err := c.Shares(ctx)
		for i := range ss {
			out = append(out, ss[i].ShareName)
		}
		return out, err
	},
	"BUCKET": func(ctx context.Context, c *client.Client, _ string) (out []string, err error) {
		bs, err := c.Buckets(ctx)
		for i := range bs {
			out = append(out, bs[i].Name)
		}
		return out, err
	},
	"KEY": func(ctx context.Context, c *client.Client, _ string) (out []string, err error) {
		ks, err := c.FSKeys(ctx)
		for i := range ks {
			out = append(out, ks[i].Name)
		}
		return out, err
	},
}

// remotePaths lists what a path may go on with.
func remotePaths(ctx context.Context, c *client.Client, prefix string) (out []string, err error) {
	if !strings.HasPrefix(prefix, "/") {
		return []string{"/"}, nil
	}
	dir, name := path.Split(prefix)
	for e, err := range c.List(ctx, client.Ref(path.Clean(dir)), client.ListOptions{Page: maxComplete}) {
		if err != nil {
			return out, err
		}
		if !strings.HasPrefix(e.Name, name) {
			continue
		}
		s := dir + e.Name
		if e.Type == client.TypeDirectory {
			s += "/"
		}
		if out = append(out, s); len(out) >= maxComplete {
			break
		}
	}
	return out, nil
}

// complete lets the shell complete arguments whose placeholders are known.
func (a *app) complete(c *cobra.Command) {
	for _, sub := range c.Commands() {
		a.complete(sub)
	}
	places := strings.Fields(c.Use)[1:]
	if len(places) == 0 || c.ValidArgsFunction != nil {
		return
	}
	local := false // FILE is local: the shell knows better
	for _, p := range places {
		local = local || strings.Contains(p, "FILE")
	}
	c.ValidArgsFunction = func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		place := places[min(len(args), len(places)-1)]
		if len(args) >= len(places) && !strings.HasSuffix(place, "...") && !strings.HasSuffix(place, "...]") {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		place, _, _ = strings.Cut(strings.Trim(place, "[]."), "[")
		list := completions[place]
		if list == nil {
			if local {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		directive := cobra.ShellCompDirectiveNoFileComp
		if place == "PATH" || place == "FROM" || place == "TO" || place == "TARGET" {
			directive |= cobra.ShellCompDirectiveNoSpace
		}
		cl := a.o.Client
		if cl == nil {
			s, err := a.connect()
			if err != nil || s.client.Token() == "" {
				return nil, directive // not signed in
			}
			defer s.client.Close()
			s.quiet = true
			cl = s.client
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), completeFor)
		defer cancel()
		all, err := list(ctx, cl, prefix)
		if err != nil {
			return nil, directive // the shell has no place for errors
		}
		out := []string{}
		for _, n := range all {
			if strings.HasPrefix(n, prefix) {
				out = append(out, n)
			}
		}
		return out, directive
	}
}
