package main

import (
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/spf13/cobra"

	"manifold/internal/node"
	"manifold/internal/ports"
)

// portFlags are the flags that serve and ports share.
type portFlags struct {
	offset          int
	moves, disables []string
	listen          []string
}

func (f *portFlags) register(c *cobra.Command) {
	fl := c.Flags()
	fl.IntVar(&f.offset, "port-offset", 0, "add `N` to the number of every fixed port")
	fl.StringArrayVar(&f.moves, "port", nil, "move one port: `NAME=N`, 0 lets the system choose (repeatable)")
	fl.StringSliceVar(&f.disables, "disable", nil, "do without the port `NAME` (repeatable)")
}

func (f *portFlags) registerListen(c *cobra.Command) {
	c.Flags().StringSliceVar(&f.listen, "listen", nil, "`ADDR` to listen on (repeatable; default: all addresses)")
}

func (f *portFlags) options() (ports.Options, error) {
	o := ports.Options{Offset: f.offset, Move: map[ports.ID]uint16{}}
	for _, m := range f.moves {
		id, n, err := ports.ParseMove(m)
		if err != nil {
			return o, err
		}
		o.Move[id] = n
	}
	for _, d := range f.disables {
		o.Disable = append(o.Disable, ports.ID(d))
	}
	for _, s := range f.listen {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return o, fmt.Errorf("--listen %q: not an IP address", s)
		}
		o.Addresses = append(o.Addresses, a)
	}
	return o, nil
}

func newPorts() *cobra.Command {
	var f portFlags
	var format string
	c := &cobra.Command{
		Use:   "ports",
		Short: "Every port of the product, as the same flags of serve would bind it",
		Long: "Lists every inbound and outbound port of the product with the number that serve\n" +
			"would use for the same flags. Ports marked planned are reserved; nothing uses them yet.",
		Example: "  manifold ports\n  manifold ports --port-offset 20000 --format nft | sudo nft -f -",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o, err := f.options()
			if err != nil {
				return err
			}
			l, err := ports.New(o)
			if err != nil {
				return err
			}
			w, rows := c.OutOrStdout(), l.Listings()
			switch format {
			case "table":
				return ports.WriteTable(w, rows)
			case "json":
				return ports.WriteJSON(w, rows)
			case "nft":
				return ports.WriteNFT(w, rows)
			}
			return fmt.Errorf("--format %q: want table, json or nft", format)
		},
	}
	f.register(c)
	c.Flags().StringVar(&format, "format", "table", "`FORMAT`: table, json or nft")
	return c
}

func newVersion() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version",
		Short: "What this binary is",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			b := node.BuildInfo()
			if asJSON {
				e := json.NewEncoder(c.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(b)
			}
			_, err := fmt.Fprintln(c.OutOrStdout(), b)
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return c
}
