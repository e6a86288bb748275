package ports

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Range renders the number or range, "-" where the peer chooses.
func (p *Port) Range() string {
	switch {
	case p.High == 0:
		return "-"
	case p.Low == p.High:
		return strconv.Itoa(int(p.Low))
	}
	return fmt.Sprintf("%d-%d", p.Low, p.High)
}

// status of a row in listings: as built, as disabled, as bound.
func (l *Listing) status() string {
	switch {
	case l.Disabled:
		return "disabled"
	case l.Listening:
		return "listening"
	}
	return string(l.State)
}

// Unbound renders the table as built, before any process has bound it.
func Unbound() []Listing {
	var ls []Listing
	for _, p := range Table() {
		ls = append(ls, Listing{Port: p})
	}
	return ls
}

// WriteTable renders rows for people.
func WriteTable(w io.Writer, rows []Listing) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "NAME\tPORT\tTRANSPORT\tDIRECTION\tPLANE\tSTATE\tTLS\tPURPOSE")
	for _, r := range rows {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, r.Range(), strings.Join(r.Transports, "+"), r.Direction, r.Plane, r.status(), r.TLS, r.Purpose)
	}
	return tw.Flush()
}

// WriteJSON renders rows for programs.
func WriteJSON(w io.Writer, rows []Listing) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(map[string]any{"entries": rows})
}

// WriteNFT renders nftables rules that let in what is served, a table of its
// own that `nft -f` loads atomically.
func WriteNFT(w io.Writer, rows []Listing) error {
	var b strings.Builder
	b.WriteString("# Lets clients reach manifold; load with: nft -f FILE\n")
	b.WriteString("table inet manifold\ndelete table inet manifold\ntable inet manifold {\n\tchain input {\n")
	b.WriteString("\t\ttype filter hook input priority filter; policy accept;\n")
	for _, r := range rows {
		if !r.inbound() || r.State == Planned || r.Disabled || r.High == 0 {
			continue
		}
		for _, t := range r.Transports {
			fmt.Fprintf(&b, "\t\t%s dport %s accept comment \"%s\"\n", t, r.Range(), r.ID)
		}
	}
	b.WriteString("\t}\n}\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteMarkdown renders the reference page.
func WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString("# Ports\n\nGenerated from internal/ports/table.go. \"planned\" ports are reserved: nothing listens on or dials them yet.\n")
	b.WriteString("\nFixed inbound ports move together with `--port-offset N`, one by one with `--port NAME=N`, and are left out with `--disable NAME`.\n")
	titles := map[Direction]string{In: "From clients", Node: "Between nodes", Out: "To other services", PeerChosen: "To ports that the peer names"}
	for _, d := range []Direction{In, Node, Out, PeerChosen} {
		fmt.Fprintf(&b, "\n## %s\n\n| Name | Port | Transport | Plane | Room | Moved by | State | TLS | Purpose |\n|---|---|---|---|---|---|---|---|---|\n", titles[d])
		for _, p := range Table() {
			if p.Direction != d {
				continue
			}
			moved := "-"
			if p.Setting != "" {
				moved = p.Setting
				if strings.HasPrefix(moved, "--") {
					moved = "`" + moved + "`"
				}
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", p.ID, p.Range(), strings.Join(p.Transports, ", "), p.Plane, p.Room, moved, p.State, p.TLS, p.Purpose)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
