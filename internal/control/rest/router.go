package rest

import (
	"net/url"
	"slices"
	"strings"
)

// router finds routes by the segments of the escaped path. A segment of a
// pattern is literal, or "{name}" for anything but nothing.
type router struct {
	root routeNode
}

type routeNode struct {
	literal map[string]*routeNode
	param   *routeNode
	name    string            // of param
	methods map[string]*route // of the path that ends here
}

func (t *router) add(r *route) {
	n := &t.root
	for _, seg := range strings.Split(strings.TrimPrefix(r.Path, "/"), "/") {
		if name, ok := strings.CutPrefix(seg, "{"); ok {
			name = strings.TrimSuffix(name, "}")
			if n.param == nil {
				n.param = &routeNode{}
				n.name = name
			}
			n = n.param
			continue
		}
		if n.literal[seg] == nil {
			if n.literal == nil {
				n.literal = map[string]*routeNode{}
			}
			n.literal[seg] = &routeNode{}
		}
		n = n.literal[seg]
	}
	if n.methods == nil {
		n.methods = map[string]*route{}
	}
	n.methods[r.Method] = r
}

// find answers the route of a request and its parameters, unescaped, or the
// methods that the path does offer.
func (t *router) find(method, escaped string) (*route, []string, []string) {
	rest, ok := strings.CutPrefix(escaped, "/")
	if !ok {
		return nil, nil, nil
	}
	var values []string
	n := t.root.find(rest, &values)
	if n == nil {
		return nil, nil, nil
	}
	r := n.methods[method]
	if r == nil {
		var allowed []string
		for m := range n.methods {
			allowed = append(allowed, m)
		}
		slices.Sort(allowed)
		return nil, nil, allowed
	}
	return r, values, nil
}

// find descends; literal segments win, and a parameter is tried when the
// literal leads nowhere. Depth is bounded by the patterns.
func (n *routeNode) find(rest string, values *[]string) *routeNode {
	seg, tail, more := strings.Cut(rest, "/")
	if next := n.literal[seg]; next != nil {
		if found := next.descend(tail, more, values); found != nil {
			return found
		}
	}
	if n.param == nil || seg == "" {
		return nil
	}
	value, err := url.PathUnescape(seg)
	if err != nil {
		return nil
	}
	mark := len(*values)
	*values = append(*values, value)
	if found := n.param.descend(tail, more, values); found != nil {
		return found
	}
	*values = (*values)[:mark]
	return nil
}

func (n *routeNode) descend(tail string, more bool, values *[]string) *routeNode {
	if more {
		return n.find(tail, values)
	}
	if n.methods == nil {
		return nil
	}
	return n
}
