package cli

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"manifold/client"
)

func (a *app) policyCommand() *cobra.Command {
	return noun("policy", "Snapshots taken by a schedule", a.policyList(),
		a.verb("show ID", "One policy", cobra.ExactArgs(1), a.onPolicy(func(ctx context.Context, c *client.Client, id uint64) error {
			p, err := c.Policy(ctx, id)
			if err != nil {
				return err
			}
			return a.show(p, "Id", strconv.FormatUint(p.ID, 10), "Name", p.Name, "Directory", p.Path, "Enabled", onOff(p.Enabled), "When", when(&p.Schedule.Creation),
				"Time zone", p.Schedule.Creation.Timezone, "Kept for", p.Schedule.TimeToLive, "Names", p.Template, "Locked with key", deref(p.LockKey))
		})),
		a.policyAdd(), a.policyModify(),
		a.verb("rm ID", "Remove a policy; its snapshots stay", cobra.ExactArgs(1), a.onPolicy(func(ctx context.Context, c *client.Client, id uint64) error {
			return c.RemovePolicy(ctx, id)
		})))
}

func (a *app) onPolicy(fn func(ctx context.Context, c *client.Client, id uint64) error) action {
	return func(ctx context.Context, c *client.Client, args []string) error {
		id, err := strconv.ParseUint(args[0], 10, 64)
		if err != nil {
			return fmt.Errorf("%q is no policy id; list them with: manifold snapshot policy list", args[0])
		}
		return fn(ctx, c, id)
	}
}

func (a *app) policyList() *cobra.Command {
	return a.verb("list", "List policies", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string) error {
		ps, err := c.Policies(ctx)
		if err != nil {
			return err
		}
		return listing(a, ps, "ID NAME DIRECTORY ENABLED KEPT WHEN", func(p *client.Policy) []string {
			return []string{strconv.FormatUint(p.ID, 10), p.Name, p.Path, onOff(p.Enabled), p.Schedule.TimeToLive, when(&p.Schedule.Creation)}
		})
	})
}

// when renders a schedule as it is given on the command line.
func when(s *client.Schedule) string {
	at := fmt.Sprintf("%02d:%02d", s.Hour, s.Minute)
	switch s.Frequency {
	case "SCHEDULE_MONTHLY":
		if s.DayOfMonth == lastDay {
			return "last day of the month at " + at
		}
		return fmt.Sprintf("day %d of the month at %s", s.DayOfMonth, at)
	case "SCHEDULE_HOURLY_OR_LESS":
		unit := "m"
		if s.FireEveryInterval == "FIRE_IN_HOURS" {
			unit = "h"
		}
		return fmt.Sprintf("every %d%s from %02d:%02d to %02d:%02d on %s", s.FireEvery, unit, s.WindowStartHour, s.WindowStartMinute, s.WindowEndHour, s.WindowEndMinute, strings.Join(s.OnDays, ","))
	}
	return "at " + at + " on " + strings.Join(s.OnDays, ",")
}

// lastDay is the day of the month that is its last.
const lastDay = 128

// policyFlags describe a policy on the command line.
type policyFlags struct {
	name, template, ttl, key, zone, at, every, window, day string
	days                                                   []string
	disabled                                               bool
}

func (f *policyFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.template, "names", "", "how snapshots are named, as {ID}_{Policy}_{Directory}")
	fl.StringVar(&f.ttl, "ttl", "", "how long they live, as 2days or 6months; never for ever")
	fl.StringVar(&f.key, "lock-key", "", "key that locks them until they expire")
	fl.StringVar(&f.zone, "timezone", "UTC", "time zone of the clock that counts")
	fl.StringVar(&f.at, "at", "", "time of the day, as 02:30")
	fl.StringVar(&f.every, "every", "", "in place of --at: time between two, as 15m or 4h")
	fl.StringVar(&f.window, "window", "00:00-00:00", "with --every: part of the day")
	fl.StringSliceVar(&f.days, "on", nil, "days of the week, as mon,thu; every day without it")
	fl.StringVar(&f.day, "day-of-month", "", "with --at: 1 to 27, or last")
	fl.BoolVar(&f.disabled, "disabled", false, "take none for now")
}

// clock reads a time of the day.
func clock(s string) (hour, minute int, err error) {
	t, err := time.Parse("15:04", s)
	if err != nil {
		return 0, 0, fmt.Errorf("%q: want a time of the day as 02:30", s)
	}
	return t.Hour(), t.Minute(), nil
}

// schedule is what the flags say, nil if they say nothing of it.
func (f *policyFlags) schedule() (*client.Schedule, error) {
	s := &client.Schedule{Timezone: f.zone, OnDays: []string{"EVERY_DAY"}}
	if f.days != nil {
		s.OnDays = nil
		for _, d := range f.days {
			s.OnDays = append(s.OnDays, strings.ToUpper(d))
		}
	}
	var err error
	switch {
	case f.at != "" && f.every != "":
		return nil, errors.New("--at and --every exclude each other")
	case f.at == "" && f.every == "":
		return nil, nil
	case f.every != "":
		s.Frequency, s.FireEveryInterval = "SCHEDULE_HOURLY_OR_LESS", "FIRE_IN_MINUTES"
		n, hours := strings.CutSuffix(f.every, "h")
		if hours {
			s.FireEveryInterval = "FIRE_IN_HOURS"
		} else {
			n = strings.TrimSuffix(n, "m")
		}
		if s.FireEvery, err = strconv.Atoi(n); err != nil || s.FireEvery < 1 {
			return nil, fmt.Errorf("--every %q: want a time as 15m or 4h", f.every)
		}
		from, to, _ := strings.Cut(f.window, "-")
		if s.WindowStartHour, s.WindowStartMinute, err = clock(from); err == nil {
			s.WindowEndHour, s.WindowEndMinute, err = clock(to)
		}
		return s, err
	}
	if s.Hour, s.Minute, err = clock(f.at); err != nil {
		return nil, err
	}
	switch {
	case f.day == "":
		s.Frequency = "SCHEDULE_DAILY_OR_WEEKLY"
	case f.day == "last":
		s.Frequency, s.OnDays, s.DayOfMonth = "SCHEDULE_MONTHLY", nil, lastDay
	default:
		s.Frequency, s.OnDays = "SCHEDULE_MONTHLY", nil
		if s.DayOfMonth, err = strconv.Atoi(f.day); err != nil {
			return nil, fmt.Errorf("--day-of-month %q: want 1 to 27, or last", f.day)
		}
	}
	return s, nil
}

// ttl is how the API writes a time to live.
func ttl(s string) string {
	if s == "never" {
		return ""
	}
	return s
}

func (a *app) policyAdd() *cobra.Command {
	var f policyFlags
	c := &cobra.Command{Use: "add NAME PATH", Short: "Take snapshots of a directory by a schedule", Args: cobra.ExactArgs(2),
		Example: "  manifold snapshot policy add nightly /projects --at 02:30 --timezone Europe/Berlin --ttl 14days\n  manifold snapshot policy add often / --every 15m --window 08:00-18:00 --on mon,tue,wed,thu,fri --ttl 2days"}
	f.add(c)
	c.RunE = a.run(func(ctx context.Context, cl *client.Client, args []string) error {
		s, err := f.schedule()
		if err != nil {
			return err
		}
		if s == nil {
			return errors.New("say when: --at 02:30, or --every 15m")
		}
		at, err := cl.Attributes(ctx, client.Ref(args[1]), 0)
		if err != nil {
			return err
		}
		enabled := !f.disabled
		in := client.PolicyBody{Name: &args[0], Dir: at.ID, Enabled: &enabled, Schedule: &client.PolicySchedule{Creation: *s, TimeToLive: ttl(f.ttl)}}
		if f.template != "" {
			in.Template = &f.template
		}
		if f.key != "" {
			in.LockKey = &f.key
		}
		p, err := cl.AddPolicy(ctx, in)
		if err != nil {
			return err
		}
		return a.show(p, "Id", strconv.FormatUint(p.ID, 10), "When", when(&p.Schedule.Creation))
	})
	return c
}

func (a *app) policyModify() *cobra.Command {
	var f policyFlags
	c := &cobra.Command{Use: "modify ID", Short: "Change parts of a policy", Args: cobra.ExactArgs(1)}
	f.add(c)
	c.Flags().StringVar(&f.name, "name", "", "new name")
	c.RunE = a.run(a.onPolicy(func(ctx context.Context, cl *client.Client, id uint64) error {
		p, err := cl.Policy(ctx, id)
		if err != nil {
			return err
		}
		s, err := f.schedule()
		if err != nil {
			return err
		}
		changed := c.Flags().Changed
		var in client.PolicyBody
		if changed("name") {
			in.Name = &f.name
		}
		if changed("names") {
			in.Template = &f.template
		}
		if changed("disabled") {
			enabled := !f.disabled
			in.Enabled = &enabled
		}
		if changed("lock-key") {
			in.LockKey = &f.key
		}
		if s != nil || changed("ttl") {
			next := p.Schedule
			if s != nil {
				next.Creation = *s
			}
			if changed("ttl") {
				next.TimeToLive = ttl(f.ttl)
			}
			in.Schedule = &next
		}
		if p, err = cl.ChangePolicy(ctx, id, in, p.ETag); err != nil {
			return err
		}
		return a.show(p, "Id", strconv.FormatUint(p.ID, 10), "When", when(&p.Schedule.Creation))
	}))
	return c
}

func (a *app) keyCommand() *cobra.Command {
	showKey := func(k client.FSKey) error {
		return a.show(k, "Id", k.ID.String(), "Name", k.Name, "Comment", k.Comment, "Enabled", onOff(!k.Disabled), "Public key", strings.TrimSpace(k.PublicKey))
	}
	return noun("key", "ECDSA keys that lock snapshots",
		a.verb("list", "List keys", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string) error {
			ks, err := c.FSKeys(ctx)
			if err != nil {
				return err
			}
			return listing(a, ks, "ID NAME ENABLED COMMENT", func(k *client.FSKey) []string { return []string{k.ID.String(), k.Name, onOff(!k.Disabled), k.Comment} })
		}),
		a.verb("show KEY", "One key, by id or name", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string) error {
			k, err := c.FSKey(ctx, args[0])
			if err != nil {
				return err
			}
			return showKey(k)
		}),
		a.keyAdd(), a.keyModify(), a.keyReplace(),
		a.verb("rm KEY", "Remove a key that nothing uses", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string) error {
			return c.RemoveFSKey(ctx, args[0])
		}),
		a.verb("uses KEY", "Snapshots and policies that use a key", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string) error {
			us, err := collect(c.FSKeyUses(ctx, args[0]))
			if err != nil {
				return err
			}
			return listing(a, us, "TYPE ID", func(u *client.FSKeyUse) []string { return []string{u.Type, u.ID} })
		}))
}

// maxKeyFile bounds the file of a private key.
const maxKeyFile = 64 << 10

// privateKey reads an ECDSA key in PEM. It never leaves this machine.
func (a *app) privateKey(file string) (*ecdsa.PrivateKey, error) {
	b, err := a.read(file, maxKeyFile)
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if k, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
			return k, nil
		}
		if k, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			if e, ok := k.(*ecdsa.PrivateKey); ok {
				return e, nil
			}
		}
	}
	return nil, fmt.Errorf("%s holds no ECDSA key in PEM; make one with: openssl ecparam -name prime256v1 -genkey -noout -out key.pem", file)
}

// sign signs a text as the server verifies it: ASN.1 over SHA-256, in base64.
func sign(k *ecdsa.PrivateKey, text string) (string, error) {
	h := sha256.Sum256([]byte(text))
	sig, err := ecdsa.SignASN1(rand.Reader, k, h[:])
	return base64.StdEncoding.EncodeToString(sig), err
}

func publicPEM(k *ecdsa.PrivateKey) (string, error) {
	b, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: b})), err
}

func (a *app) keyAdd() *cobra.Command {
	var comment string
	c := a.verb("add NAME PRIVATE-KEY-FILE", "Register the public part of a key; the private one stays here and proves that it is yours", cobra.ExactArgs(2),
		func(ctx context.Context, c *client.Client, args []string) error {
			k, err := a.privateKey(args[1])
			if err != nil {
				return err
			}
			n := client.NewFSKey{Name: args[0], Comment: comment}
			if n.PublicKey, err = publicPEM(k); err != nil {
				return err
			}
			if n.Signature, err = sign(k, args[0]); err != nil {
				return err
			}
			made, err := c.AddFSKey(ctx, n)
			if err != nil {
				return err
			}
			return a.show(made, "Id", made.ID.String())
		})
	c.Flags().StringVar(&comment, "comment", "", "text for people")
	return c
}

func (a *app) keyModify() *cobra.Command {
	var name, comment string
	var disabled bool
	c := a.verb("modify KEY", "Change name, comment or state of a key", cobra.ExactArgs(1), nil)
	c.Flags().StringVar(&name, "name", "", "new name")
	c.Flags().StringVar(&comment, "comment", "", "text for people")
	c.Flags().BoolVar(&disabled, "disabled", false, "lock nothing more with it")
	c.RunE = a.run(func(ctx context.Context, cl *client.Client, args []string) error {
		var in client.FSKeyChange
		if c.Flags().Changed("name") {
			in.Name = &name
		}
		if c.Flags().Changed("comment") {
			in.Comment = &comment
		}
		if c.Flags().Changed("disabled") {
			in.Disabled = &disabled
		}
		k, err := cl.ChangeFSKey(ctx, args[0], in)
		if err != nil {
			return err
		}
		return a.show(k, "Id", k.ID.String(), "Name", k.Name, "Enabled", onOff(!k.Disabled))
	})
	return c
}

func (a *app) keyReplace() *cobra.Command {
	return a.verb("replace KEY OLD-PRIVATE-KEY-FILE NEW-PRIVATE-KEY-FILE", "Put another key in the place of one; both private keys stay here", cobra.ExactArgs(3),
		func(ctx context.Context, c *client.Client, args []string) error {
			before, err := a.privateKey(args[1])
			if err != nil {
				return err
			}
			after, err := a.privateKey(args[2])
			if err != nil {
				return err
			}
			text, err := c.FSKeyChallenge(ctx, args[0])
			if err != nil {
				return err
			}
			public, err := publicPEM(after)
			if err != nil {
				return err
			}
			oldSig, err := sign(before, text)
			if err != nil {
				return err
			}
			newSig, err := sign(after, text)
			if err != nil {
				return err
			}
			k, err := c.ReplaceFSKey(ctx, args[0], public, oldSig, newSig)
			if err != nil {
				return err
			}
			return a.show(k, "Id", k.ID.String(), "Name", k.Name)
		})
}

func (a *app) snapshotLock() *cobra.Command {
	return a.verb("lock ID KEY", "Keep a snapshot until it expires, or who has the key unlocks it", cobra.ExactArgs(2), func(ctx context.Context, c *client.Client, args []string) error {
		id, err := snapshotID(args[0])
		if err != nil {
			return err
		}
		return c.LockSnapshot(ctx, id, args[1])
	})
}

func (a *app) snapshotUnlock() *cobra.Command {
	return a.verb("unlock ID PRIVATE-KEY-FILE", "Unlock a snapshot; the private key stays here", cobra.ExactArgs(2), func(ctx context.Context, c *client.Client, args []string) error {
		id, err := snapshotID(args[0])
		if err != nil {
			return err
		}
		k, err := a.privateKey(args[1])
		if err != nil {
			return err
		}
		text, err := c.SnapshotChallenge(ctx, id)
		if err != nil {
			return err
		}
		sig, err := sign(k, text)
		if err != nil {
			return err
		}
		return c.UnlockSnapshot(ctx, id, sig)
	})
}

func (a *app) snapshotFileDiff() *cobra.Command {
	return a.verb("file-diff OLDER NEWER FILE", "Regions of a file that changed between two snapshots", cobra.ExactArgs(3), func(ctx context.Context, c *client.Client, args []string) error {
		older, err := snapshotID(args[0])
		if err != nil {
			return err
		}
		newer, err := snapshotID(args[1])
		if err != nil {
			return err
		}
		rs, err := collect(c.FileChanges(ctx, newer, older, client.Ref(args[2])))
		if err != nil {
			return err
		}
		return listing(a, rs, "OFFSET SIZE TYPE", func(r *client.Region) []string { return []string{r.Offset.String(), r.Size.String(), r.Type} })
	})
}
