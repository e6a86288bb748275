package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/control/analytics"
	"manifold/internal/control/audit"
	"manifold/internal/control/rest"
	"manifold/internal/control/schedule"
	"manifold/internal/control/service"
	"manifold/internal/data/gc"
	"manifold/internal/fs"
	"manifold/internal/identity/attempts"
	"manifold/internal/ports"
	"manifold/internal/settings"
	"manifold/internal/telemetry"
	"manifold/internal/wire/smb"
)

// Options shape a server. DataDir is required.
type Options struct {
	// DataDir is made if its parent exists.
	DataDir string
	// Ports move, disable and restrict what is bound.
	Ports ports.Options
	// AdminPassword for a first run; "" makes one.
	AdminPassword settings.Secret
	// Drain is how long stopping waits for what is under way; 0 is 20 s.
	Drain time.Duration
	// SlowOp is how long a call or request may take before it is logged; 0 is 5 s.
	SlowOp time.Duration
	// StrictLocking makes byte ranges and share modes of SMB bind NFS and other
	// protocols, and locks of NFS bind SMB.
	StrictLocking bool
	// Logger; nil discards.
	Logger *slog.Logger
	// Out gets the banner; nil discards. Terminal: a person reads it, so that a
	// password may be shown.
	Out      io.Writer
	Terminal bool
	// Ready, if set, is called with the ports as bound once everything serves.
	Ready func(*ports.Ledger)
}

// Serve runs a node until ctx ends, then drains it. Ports come first: a
// conflict is reported before anything is created or opened.
func Serve(ctx context.Context, o Options) (err error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Drain == 0 {
		o.Drain = 20 * time.Second
	}
	if o.SlowOp <= 0 {
		o.SlowOp = 5 * time.Second
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	limitMemory()
	raiseFiles(o.Logger)
	o.Ports.Logger = o.Logger
	ledger, err := ports.New(o.Ports)
	if err != nil {
		return err
	}
	var open closers
	defer func() {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil // asked to stop while it was starting
		}
		err = errors.Join(err, open.Close())
	}()

	socks, foreign, err := bind(ctx, ledger, probeRPCBind(ledger))
	if err != nil {
		return err
	}
	open.add("sockets", func() error { return closeSockets(socks) })

	st, err := openStorage(ctx, storageOptions{dir: o.DataDir, create: true, log: o.Logger})
	if err != nil {
		return err
	}
	open.add("storage", st.Close)
	if err := st.openFS(ctx); err != nil {
		return err
	}
	st.fs.SetStrict(o.StrictLocking)
	m := thisMachine()
	made, err := firstRun(ctx, st, st.fs.Superblock().UUID, m, o.AdminPassword, o.Terminal)
	if err != nil {
		return err
	}
	if err := ensureMetricsFile(ctx, st.config, st.dir); err != nil {
		return err
	}
	cluster, err := st.config.Cluster(ctx)
	if err != nil {
		return err
	}
	build := BuildInfo()
	metrics := telemetry.New()
	describe(metrics, st.fs, build, cluster.Value.Name, cluster.Value.UUID)
	hardware{"/proc", "/sys"}.describe(metrics)

	auditLog, err := openAudit(st, ledger, m.name, o.Logger)
	if err != nil {
		return err
	}
	open.add("audit log", auditLog.Close)
	activity := analytics.New(analytics.Options{Reclaimed: st.fs.Reclaimed})
	describeAudit(metrics, auditLog)
	files := audit.Wrap(activity.Wrap(st.fs), auditLog)
	history := analytics.NewHistory(analytics.HistoryOptions{FS: st.fs, Store: st.config, Logger: o.Logger})
	// One count of failed sign-ins for all doors of the node.
	tr := &trail{log: auditLog, files: files, config: st.config, attempts: attempts.New(time.Now)}
	st.fs.OnExpiry(func(s fs.Snapshot) { tr.snapshot("snapshot_delete_snapshot", s.Name, nil) })

	collector, err := gc.New(st.kv, st.data, gc.Options{Logger: o.Logger})
	if err != nil {
		return fmt.Errorf("garbage collector: %w", err)
	}
	scrubber, err := newScrubber(ctx, st, o.Logger)
	if err != nil {
		return err
	}
	scrubber.describe(metrics)
	certs := &certificates{config: st.config}
	svc := service.New(service.Options{FS: files, Auth: st.config, Sessions: st.config, Principals: st.config, Roles: st.config, Attempts: tr.attempts})
	var api http.Handler // the shell of SSH works through it
	remote, err := newRemote(ctx, remoteOptions{
		fs: files, logins: &logins{config: st.config, svc: svc, trail: tr},
		api:    http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { api.ServeHTTP(w, r) }),
		ledger: ledger, certs: certs, prompt: cluster.Value.Name, metrics: metrics, drain: o.Drain, log: o.Logger,
	})
	if err != nil {
		return err
	}
	var smbServer *smb.Server
	var smbAdmin control.SMBServer
	if socks[ports.CIFS] != nil {
		if smbServer, err = newSMB(ctx, st, files, ledger, tr, metrics, o.Logger); err != nil {
			return err
		}
		smbAdmin = smbView{smbServer}
		st.fs.SetBreaker(smbServer)
	}
	objects := newS3(st, files, svc, tr, metrics, o.SlowOp, o.Logger)
	s3door := s3Door(objects, st, certs, ledger, o.Drain, metrics, o.Logger)
	open.add("sockets of protocols", func() error { s3door.unbind(); remote.unbind(); return nil })
	if err := bindDoors(ctx, append(remote.doors(), s3door)...); err != nil {
		return err
	}
	dns := newResolver(st.config, ledger)
	ntp := newClock(st.config, ledger, dns, o.Logger)
	ntp.describe(metrics)
	api = rest.New(rest.Options{
		General: st.config, Clock: ntp, Resolver: dns, FSSettings: st.config,
		Service: svc, FTP: remote.ftpAdmin(), SSH: remote.sshAdmin(), SSHKeys: remote.sshAdmin(),
		FS: files, Auth: st.config, Sessions: st.config, Principals: st.config, Members: st.config, Exports: st.config, NFS: st.config, Shares: st.config, SMB: st.config, SMBServer: smbAdmin,
		Roles: st.config, Accounts: remote.users(), Tokens: st.config, Identities: st.config, Policies: st.config, FSKeys: st.config, Settings: st.config, Audit: auditLog,
		S3Settings: s3Switch{st.config, s3door}, S3Keys: st.config, S3Buckets: st.config, S3: s3Protocol{objects, st.config},
		Metrics: metrics, MetricsReaders: st.config, Ports: ledger,
		Scrubber: scrubber, News: st.config,
		Network: newNetwork(ledger), Analytics: activity, Capacity: st.config,
		Release:  control.Release{BuildID: build.String(), Date: build.Time},
		Stopping: ctx.Done(),
		Logger:   o.Logger,
	})
	policies := schedule.New(schedule.Options{Policies: st.config, FS: scheduled{st.fs, tr}, Logger: o.Logger})
	parts := []part{
		{name: "garbage collector", serve: func(ctx context.Context) error { collector.Run(ctx); return nil }},
		{name: "clock", serve: func(ctx context.Context) error { ntp.Run(ctx); return nil }},
		{name: "scrub", serve: func(ctx context.Context) error { scrubber.run(ctx); return nil }},
		{name: "audit log", serve: func(ctx context.Context) error { runAudit(ctx, auditLog, st.config); return nil }},
		{name: "analytics", serve: func(ctx context.Context) error { activity.Run(ctx); return nil }},
		{name: "capacity history", serve: func(ctx context.Context) error { history.Run(ctx); return nil }},
		{name: "snapshot policies", serve: func(ctx context.Context) error { policies.Run(ctx); return nil }},
		{name: "sessions", serve: func(ctx context.Context) error { sweep(ctx, st.config, o.Logger); return nil }},
		{name: "S3 uploads", serve: func(ctx context.Context) error { expireUploads(ctx, objects, st.config, o.Logger); return nil }},
		s3door.part(),
	}
	if s := socks[ports.REST]; s != nil {
		parts = append(parts, httpsPart("REST", s.Listeners, api, certs, newHTTPCounter(metrics, "rest", slowLog(o.SlowOp, o.Logger)), o.Logger))
	}
	for _, d := range remote.doors() {
		parts = append(parts, d.part())
	}
	if p, ok := watchdogPart(st.fs, o.Logger); ok {
		parts = append(parts, p)
	}

	if s := socks[ports.NFS]; s != nil {
		srv, locks, err := newNFS(ctx, st, files, ledger, dns, m.name, tr, metrics, o.SlowOp, o.Logger)
		if err != nil {
			return err
		}
		// After the last call has been answered and before the storage closes.
		open.add("lock manager", func() error {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			return locks.Shutdown(ctx)
		})
		if err := locks.Start(ctx); err != nil {
			return err
		}
		parts = append(parts, nfsPart(srv, s))
	}

	if s := socks[ports.CIFS]; s != nil {
		parts = append(parts, smbPart(smbServer, st.config, s))
	}

	entries := rpcEntries(socks[ports.NFS], ledger.Number(ports.NFS))
	if s := socks[ports.RPCBind]; s != nil {
		parts = append(parts, rpcbindPart(s, ledger.Number(ports.RPCBind), entries, o.Logger))
	}
	noLocks := false
	if foreign {
		r, found, err := register(ctx, ledger, entries, o.Logger)
		if err != nil {
			return err
		}
		open.add("registration with rpcbind", func() error {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			return r.Close(ctx)
		})
		noLocks = !found
		made.notes = append(made.notes, "The rpcbind of this machine tells clients our ports.")
	}

	if remote.foreignSSH {
		made.notes = append(made.notes, "Port 22 belongs to another SSH server of this machine, so ours is not there; --port ssh=N moves it.")
	}

	b := banner{build: build, noLocks: noLocks, dataDir: st.dir.path, ledger: ledger, addrs: m.addrs, registered: foreign, password: made.password, notes: made.notes}
	for _, x := range st.config.ExportTable().AllRules() {
		b.exports = append(b.exports, x.Path)
	}
	if st.config.SMBInForce().Dialects != nil {
		for _, x := range st.config.ShareTable().All() {
			b.shares = append(b.shares, x.Value.Name)
		}
	}
	return runParts(ctx, o.Logger, o.Drain, parts, func() {
		if err := b.write(o.Out); err != nil {
			o.Logger.WarnContext(ctx, "banner not written", "error", err)
		}
		o.Logger.InfoContext(ctx, "serving", "data", st.dir.path, "nfs", ledger.Number(ports.NFS), "rest", ledger.Number(ports.REST), "smb", ledger.Number(ports.CIFS))
		notify(o.Logger, daemon.SdNotifyReady)
		if o.Ready != nil {
			o.Ready(ledger)
		}
		context.AfterFunc(ctx, func() { notify(o.Logger, daemon.SdNotifyStopping) })
	})
}

// notify tells the service manager, if there is one.
func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("service manager not notified", "state", state, "error", err)
	}
}

// sweep removes expired sessions now and then until ctx ends.
func sweep(ctx context.Context, c *config.Store, log *slog.Logger) {
	const rest = 10 * time.Minute
	t := time.NewTimer(time.Minute)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		more, err := c.Sweep(ctx)
		if err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "expired sessions not removed; tried again later", "error", err)
		}
		if more {
			t.Reset(time.Second)
		} else {
			t.Reset(rest)
		}
	}
}
