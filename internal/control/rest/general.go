package rest

import (
	"math"
	"time"

	"manifold/internal/config"
	"manifold/internal/control"
)

type webUISettings struct {
	Inactivity *nanoseconds `json:"inactivity_timeout"`
	Banner     *string      `json:"login_banner"`
}

// webUIPatch are settings of which any may be missing; null takes one away.
type webUIPatch struct {
	Inactivity optional[nanoseconds] `json:"inactivity_timeout,omitzero"`
	Banner     optional[string]      `json:"login_banner,omitzero"`
}

type atimeSettings struct {
	Enabled     bool   `json:"enabled"`
	Granularity string `json:"granularity"`
}

type atimePatch struct {
	Enabled     *bool   `json:"enabled,omitempty"`
	Granularity *string `json:"granularity,omitempty"`
}

type permissionsSettings struct {
	Mode string `json:"mode"`
}

type notifySettings struct {
	RecursiveMode string `json:"recursive_mode"`
}

type tlsCiphers struct {
	TLS12 []string `json:"tls_1_2"`
	TLS13 []string `json:"tls_1_3"`
}

func tlsRoutes() []route {
	get, set := verbs(general, control.General.TLS, control.General.SetTLS)
	return singleton[config.TLS, tlsCiphers]{
		path: "/v2/cluster/settings/ssl/ciphers", read: control.ClusterRead, write: control.ClusterWrite, out: tlsCiphers{}, get: get, set: set,
		about:  "Cipher suites that are accepted, by their names at IANA; all of TLS 1.3 and two of TLS 1.2 are required",
		render: plain(func(v config.TLS) tlsCiphers { return tlsCiphers{listOf(v.TLS12), listOf(v.TLS13)} }),
		merge:  func(_ *request, in tlsCiphers, v *config.TLS) error { *v = config.TLS(in); return nil },
	}.routes("PUT")
}

func webUIRoutes() []route {
	get, set := verbs(general, control.General.WebUI, control.General.SetWebUI)
	return singleton[config.WebUI, webUIPatch]{
		path: "/v1/web-ui/settings", public: true, write: control.WebUIWrite, about: "Settings of the web console", out: webUISettings{}, get: get, set: set,
		render: plain(func(v config.WebUI) webUISettings {
			out := webUISettings{Banner: v.Banner}
			if v.Inactivity != 0 {
				out.Inactivity = &nanoseconds{num(uint64(v.Inactivity))}
			}
			return out
		}),
		merge: func(_ *request, in webUIPatch, v *config.WebUI) error {
			if in.Inactivity.Given {
				n := in.Inactivity.Value.Nanoseconds.N
				if n > math.MaxInt64 {
					return decodeError("inactivity_timeout is too long")
				}
				v.Inactivity = time.Duration(n)
			}
			switch {
			case in.Banner.Null:
				v.Banner = nil
			case in.Banner.Given:
				v.Banner = &in.Banner.Value
			}
			return nil
		},
	}.routes("PUT", "PATCH")
}

func fsSettingsRoutes() []route {
	const r, w = control.FSSettingsRead, control.FSSettingsWrite
	getAtime, setAtime := verbs(fsSettings, control.FSSettings.Atime, control.FSSettings.SetAtime)
	rs := singleton[config.Atime, atimePatch]{
		path: "/v1/file-system/settings/atime", read: r, write: w, about: "Whether reading a file changes its access time, and how old it grows before", out: atimeSettings{},
		def: config.Atime{Granularity: config.GranularityHour}, get: getAtime, set: setAtime,
		render: plain(func(v config.Atime) atimeSettings { return atimeSettings(v) }),
		merge: func(_ *request, in atimePatch, v *config.Atime) error {
			given(in.Enabled, &v.Enabled)
			given(in.Granularity, &v.Granularity)
			return nil
		},
	}.routes("PUT", "PATCH")
	getMode, setMode := verbs(fsSettings, control.FSSettings.Permissions, control.FSSettings.SetPermissions)
	rs = append(rs, singleton[config.Permissions, permissionsSettings]{
		path: "/v1/file-system/settings/permissions", read: r, write: w, about: "Whether a chmod limits an ACL (CROSS_PROTOCOL) or replaces it (NATIVE)", out: permissionsSettings{},
		get: getMode, set: setMode,
		render: plain(func(v config.Permissions) permissionsSettings { return permissionsSettings(v) }),
		merge:  func(_ *request, in permissionsSettings, v *config.Permissions) error { v.Mode = in.Mode; return nil },
	}.routes("PUT")...)
	getNotify, setNotify := verbs(fsSettings, control.FSSettings.Notify, control.FSSettings.SetNotify)
	return append(rs, singleton[config.Notify, notifySettings]{
		path: "/v1/file-system/settings/notify", read: r, write: w, about: "What a request for the changes of a whole tree gets", out: notifySettings{},
		get: getNotify, set: setNotify,
		render: plain(func(v config.Notify) notifySettings { return notifySettings(v) }),
		merge: func(_ *request, in notifySettings, v *config.Notify) error {
			v.RecursiveMode = in.RecursiveMode
			return nil
		},
	}.routes("PUT")...)
}
