package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// alias is a command of the reference command line under its own name.
type alias struct {
	// name, and behind a space which of its parts: a word that may stand anywhere,
	// an option too. A command's parts stand before the whole of it.
	name string
	// to are the words of our command, and options that it always has.
	to string
	// args are the options whose values become arguments, in order; those with a
	// slash are one argument under either name, one with an & is a name in the
	// directory before it, and * is a word that no option takes.
	args []string
	// flags are options with another name here; "" drops a switch that is always
	// on, one with = has that value, and one with | has the value that a
	// conversion of that name makes, or as an argument if it has no name.
	flags map[string]string
}

// aliasCommands makes hidden commands of the aliases.
func (a *app) aliasCommands(have []*cobra.Command) []*cobra.Command {
	taken := map[string]bool{}
	for _, c := range have {
		taken[c.Name()] = true
	}
	var out []*cobra.Command
	for i := range aliases {
		name, _, _ := strings.Cut(aliases[i].name, " ")
		if taken[name] {
			continue
		}
		taken[name] = true
		out = append(out, &cobra.Command{
			Use: name, Short: "The same as " + aliases[i].to, Hidden: true, DisableFlagParsing: true,
			RunE: func(c *cobra.Command, args []string) error {
				x, args, err := findAlias(name, args)
				if err != nil {
					return err
				}
				argv, err := x.translate(args)
				if err != nil {
					return err
				}
				root := c.Root()
				root.SetArgs(argv)
				return root.ExecuteContext(c.Context())
			},
		})
	}
	return out
}

// findAlias finds which part of a command is meant, and answers the arguments
// without the word that says so.
func findAlias(name string, args []string) (*alias, []string, error) {
	var parts []string
	for i := range aliases {
		x := &aliases[i]
		command, part, _ := strings.Cut(x.name, " ")
		if command != name {
			continue
		}
		if part == "" {
			return x, args, nil
		}
		at := slices.IndexFunc(args, func(a string) bool { a, _, _ = strings.Cut(a, "="); return a == part })
		_, own := x.flags[part]
		switch {
		case at < 0:
		case own || x.position(part) >= 0:
			return x, args, nil
		default: // no value that an option would take here
			return x, slices.Delete(slices.Clone(args), at, at+1), nil
		}
		parts = append(parts, part)
	}
	return nil, nil, fmt.Errorf("%s wants one of: %s", name, strings.Join(parts, ", "))
}

// translate makes the arguments of our command.
func (x *alias) translate(args []string) ([]string, error) {
	words, always, _ := strings.Cut(x.to, " --")
	out := strings.Fields(words)
	values := make([][]string, len(x.args))
	var rest []string
	var window map[string]string
	for i := 0; i < len(args); i++ {
		name, value, joined := strings.Cut(args[i], "=")
		if !strings.HasPrefix(name, "-") {
			if at := x.position("*"); at >= 0 && values[at] == nil {
				values[at] = []string{args[i]}
			} else {
				rest = append(rest, args[i])
			}
			continue
		}
		if to, ok := x.flags[name]; ok {
			to, conversion, _ := strings.Cut(to, "|")
			switch {
			case conversion != "":
				given := []string{value}
				if !joined {
					given = nil
					for i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
						i++
						given = append(given, args[i])
						if !takesList[conversion] {
							break
						}
					}
				}
				if len(given) == 0 {
					return nil, fmt.Errorf("%s: %s wants a value; the same is: manifold %s", x.name, name, x.to)
				}
				v, err := convert(conversion, given)
				if err != nil {
					return nil, fmt.Errorf("%s: %s: %w", x.name, name, err)
				}
				switch conversion {
				case "from", "to":
					if window == nil {
						window = map[string]string{"from": "00:00", "to": "23:59"}
					}
					window[conversion] = v
				default:
					switch {
					case to == "" && v != "":
						rest = append(rest, v)
					case to != "" && (v != "" || conversion != "days"):
						rest = append(rest, to+"="+v)
					}
				}
			case strings.Contains(to, "="):
				rest = append(rest, to)
			case to != "":
				rest = append(rest, strings.Replace(args[i], name, to, 1))
			}
			continue
		}
		at := x.position(name)
		switch {
		case at < 0:
			rest = append(rest, args[i])
			continue
		case joined:
			values[at] = []string{value}
			continue
		}
		// A list goes up to the next option.
		for i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
			i++
			values[at] = append(values[at], args[i])
			if at < len(x.args)-1 {
				break
			}
		}
		if values[at] == nil {
			return nil, fmt.Errorf("%s: %s wants a value; the same is: manifold %s", x.name, name, x.to)
		}
	}
	if window != nil {
		rest = append(rest, "--window="+window["from"]+"-"+window["to"])
	}
	for at, v := range values {
		if strings.HasPrefix(x.args[at], "&") {
			if v == nil || values[at-1] == nil {
				return nil, fmt.Errorf("%s: %s and %s belong together; the same is: manifold %s", x.name, x.args[at-1], x.args[at][1:], x.to)
			}
			out[len(out)-1] = strings.TrimSuffix(out[len(out)-1], "/") + "/" + v[0]
			continue
		}
		if v == nil && at < len(values)-1 && values[at+1] != nil {
			return nil, fmt.Errorf("%s: %s is missing; the same is: manifold %s", x.name, x.args[at], x.to)
		}
		out = append(out, v...)
	}
	if always != "" {
		out = append(out, strings.Fields("--"+always)...)
	}
	return append(out, rest...), nil
}

// position of an option among the arguments, -1 if it is none.
func (x *alias) position(option string) int {
	for i, names := range x.args {
		for n := range strings.SplitSeq(strings.TrimPrefix(names, "&"), "/") {
			if n == option {
				return i
			}
		}
	}
	return -1
}
