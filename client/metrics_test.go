package client

import (
	"maps"
	"strings"
	"testing"
)

func TestParseMetrics(t *testing.T) {
	const text = "# HELP a text\n# TYPE a gauge\na 5\nb_count{x=\"1\",y=\"q\\\"\\\\\\n,}\"} 2.5\nc_bucket{le=\"+Inf\"} 1e+20\nd{} 1\n# EOF\n"
	got, err := ParseMetrics(strings.NewReader(text))
	if err != nil || len(got) != 4 {
		t.Fatalf("%v %v", got, err)
	}
	if got[0].Name != "a" || got[0].Value != 5 || got[2].Value != 1e20 {
		t.Errorf("%v", got)
	}
	if got[1].Name != "b_count" || !maps.Equal(got[1].Labels, map[string]string{"x": "1", "y": "q\"\\\n,}"}) {
		t.Errorf("%v", got[1])
	}
	for _, s := range []string{"", "a 1\n", "a\n# EOF", "a b\n# EOF", "a{x=1} 2\n# EOF", "a{x=\"1} 2\n# EOF", "a{x=\"1\" 2\n# EOF", "{} 1\n# EOF"} {
		if got, err := ParseMetrics(strings.NewReader(s)); err == nil {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func FuzzParseMetrics(f *testing.F) {
	f.Add("a{x=\"y\\\\\",z=\"\"} 1\n# EOF\n")
	f.Fuzz(func(t *testing.T, s string) {
		samples, err := ParseMetrics(strings.NewReader(s))
		if err != nil && samples != nil {
			t.Error("samples and an error")
		}
	})
}
