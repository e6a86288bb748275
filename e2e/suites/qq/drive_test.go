package qq

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestDrive(t *testing.T) {
	port := os.Getenv("QQ_DRIVE")
	if port == "" {
		return
	}
	steps, _ := parse(script)
	dir := t.TempDir()
	fixtures(dir)
	n := 0
	for _, r := range walk(steps, map[string]string{"TMP": dir, "PASSWORD": "Harness-1"}, func(args []string, input string) (string, bool, error) {
		var out bytes.Buffer
		cmd := exec.Command(os.Getenv("QUMULO_API_PYTHON"), append([]string{filepath.Join(dir, "start.py"), "--host", os.Getenv("QQ_HOST"), "--port", port}, args...)...)
		cmd.Env = append(os.Environ(), "PYTHONPATH="+os.Getenv("QUMULO_API_DIR"), "PYTHONDONTWRITEBYTECODE=1", "PYTHONIOENCODING=utf-8", "HOME="+dir)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &out
		err := cmd.Run()
		return out.String(), err == nil, nil
	}) {
		if r.err != nil {
			n++
			t.Errorf("line %d: %s: %v\n%s", r.step.line, strings.Join(r.step.args, " "), r.err, r.out)
		}
	}
	t.Logf("%d of %d failed", n, len(steps))
}
