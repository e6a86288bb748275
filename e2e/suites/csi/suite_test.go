// Package csi runs the tests of the public Kubernetes CSI driver for this API
// against a server of ours.
package csi

import (
	_ "embed"
	"flag"
	"testing"

	"manifold/e2e/harness"
	"manifold/e2e/netns"
	"manifold/e2e/suites"
	"manifold/e2e/suites/gosuite"
)

//go:embed known_failures.txt
var known string

var update = flag.Bool("update", false, "write docs/conformance/csi.md")

var suite = gosuite.Suite{
	Name: "csi", Title: "Kubernetes CSI driver", TreeEnv: "CSI_DRIVER_DIR", Package: "./pkg/qumulo", Known: known,
	About: "The tests of NCarter3/csi-driver-qumulo, those that need a live cluster included.\n",
	Env: []string{
		"QUMULO_TEST_HOST=" + netns.Server, "QUMULO_TEST_PORT=8000", "QUMULO_TEST_USERNAME=admin",
		"QUMULO_TEST_PASSWORD=" + harness.Password, "QUMULO_TEST_ROOT=/",
	},
}

func TestKnown(t *testing.T) {
	if _, err := suites.ParseKnown(known); err != nil {
		t.Fatal(err)
	}
}

func TestManifold(t *testing.T) {
	suite.Tree(t)
	gosuite.Run(t, harness.StartServer(t), suite, *update)
}
