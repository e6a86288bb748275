package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Sample is one value of the metrics.
type Sample struct {
	// Name with its suffix, as "qumulo_protocol_operations_count".
	Name   string
	Labels map[string]string
	Value  float64
}

// Metrics reads all metrics of the node, histograms with all their buckets.
func (c *Client) Metrics(ctx context.Context) ([]Sample, error) {
	const path = "/v2/metrics/endpoints/internal/data"
	resp, err := c.Send(ctx, Request{Method: "GET", Path: path})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	s, err := ParseMetrics(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", path, err)
	}
	return s, nil
}

// ParseMetrics reads OpenMetrics text without timestamps and exemplars. Text
// without its end mark was cut short and is an error.
func ParseMetrics(r io.Reader) ([]Sample, error) {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	var out []Sample
	for sc.Scan() {
		line := sc.Text()
		switch {
		case line == "# EOF":
			return out, nil
		case line == "" || line[0] == '#':
			continue
		}
		s, err := parseSample(line)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	if err := sc.Err(); err != nil {
		return nil, err
	}
	return nil, errors.New("metrics: the text ends early")
}

func parseSample(line string) (s Sample, err error) {
	bad := fmt.Errorf("metrics: cannot read %q", line)
	i := strings.IndexAny(line, "{ ")
	if i <= 0 {
		return s, bad
	}
	s.Name, line = line[:i], line[i:]
	if line[0] == '{' {
		s.Labels = map[string]string{}
		for line = line[1:]; !strings.HasPrefix(line, "}"); line = strings.TrimPrefix(line, ",") {
			name, rest, ok := strings.Cut(line, "=")
			if !ok || !strings.HasPrefix(rest, `"`) {
				return s, bad
			}
			value, n := unquote(rest[1:])
			if n < 0 {
				return s, bad
			}
			s.Labels[name], line = value, rest[1+n:]
		}
		line = line[1:]
	}
	if s.Value, err = strconv.ParseFloat(strings.TrimSpace(line), 64); err != nil {
		return s, bad
	}
	return s, nil
}

// unquote reads up to and including the closing quote and answers how many
// bytes that were, -1 if there is none.
func unquote(s string) (string, int) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), i + 1
		case c == '\\' && i+1 < len(s):
			if i++; s[i] == 'n' {
				b.WriteByte('\n')
			} else {
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", -1
}
