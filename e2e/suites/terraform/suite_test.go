// Package terraform runs the acceptance tests of the public Terraform provider
// for this API, with a real terraform, against a server of ours.
package terraform

import (
	_ "embed"
	"flag"
	"os/exec"
	"testing"

	"manifold/e2e/harness"
	"manifold/e2e/netns"
	"manifold/e2e/suites"
	"manifold/e2e/suites/gosuite"
)

//go:embed known_failures.txt
var known string

var update = flag.Bool("update", false, "write docs/conformance/terraform.md")

var suite = gosuite.Suite{
	Name: "terraform", Title: "Terraform provider", TreeEnv: "TERRAFORM_PROVIDER_DIR", Package: "./qumulo", Pattern: "^TestAcc",
	About:    "The acceptance tests of Qumulo/terraform-provider-qumulo, driven by terraform itself.\n",
	Programs: []string{"terraform"}, Known: known,
}

func TestKnown(t *testing.T) {
	if _, err := suites.ParseKnown(known); err != nil {
		t.Fatal(err)
	}
}

func TestManifold(t *testing.T) {
	suite.Tree(t)
	terraform, err := exec.LookPath("terraform")
	if err != nil {
		t.Fatal(err)
	}
	suite.Env = []string{
		"TF_ACC=1", "TF_ACC_TERRAFORM_PATH=" + terraform, "CHECKPOINT_DISABLE=1",
		"QUMULO_HOST=" + netns.Server, "QUMULO_PORT=8000", "QUMULO_USERNAME=admin", "QUMULO_PASSWORD=" + harness.Password,
	}
	gosuite.Run(t, harness.StartServer(t), suite, *update)
}
