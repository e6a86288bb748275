// Package settings knows how options are described, layered and validated. It
// reads the struct tags of a room's own Options: `name`, `help`, `default`,
// `unit`.
//
// Invariants: the zero value of an Options struct plus its defaults works;
// layers are applied in the order defaults, environment, command line, and
// every error names the option and where its value came from.
//
// The package must not know any option: each room owns its own.
package settings

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Secret is a string that refuses to print.
type Secret string

// String hides the value.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "(hidden)"
}

// GoString hides the value from %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalJSON hides the value.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(strconv.Quote(s.String())), nil }

// Reveal returns the value.
func (s Secret) Reveal() string { return string(s) }

// Field is one option. It is a flag.Value of the standard library and of pflag.
type Field struct {
	Name, Help, Default, Unit string
	// Env is the variable that sets it: MANIFOLD_ and the name.
	Env string
	v   reflect.Value
	set bool
}

// Fields lists the options of the struct that ptr points to, in their order.
// Fields without a name tag are not options; embedded structs are flattened.
func Fields(ptr any) ([]*Field, error) {
	v := reflect.ValueOf(ptr)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("settings: %T is no pointer to a struct", ptr)
	}
	var out []*Field
	var walk func(v reflect.Value) error
	walk = func(v reflect.Value) error {
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.Anonymous && f.Type.Kind() == reflect.Struct {
				if err := walk(v.Field(i)); err != nil {
					return err
				}
				continue
			}
			name := f.Tag.Get("name")
			if name == "" {
				continue
			}
			fd := &Field{Name: name, Help: f.Tag.Get("help"), Default: f.Tag.Get("default"), Unit: f.Tag.Get("unit"), v: v.Field(i)}
			fd.Env = "MANIFOLD_" + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(name))
			if !supported(fd.v) {
				return fmt.Errorf("settings: option %s has a type that cannot be read: %s", name, f.Type)
			}
			out = append(out, fd)
		}
		return nil
	}
	return out, walk(v.Elem())
}

// Load applies defaults to options that are still zero, then the environment.
// Command-line flags are applied by the caller through Field.Set afterwards.
func Load(ptr any, env func(string) (string, bool)) ([]*Field, error) {
	fields, err := Fields(ptr)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, f := range fields {
		if f.Default != "" && f.v.IsZero() {
			if err := assign(f.v, f.Default); err != nil {
				errs = append(errs, fmt.Errorf("option %s: default %q: %w", f.Name, f.Default, err))
			}
		}
		if env == nil {
			continue
		}
		if s, ok := env(f.Env); ok {
			if err := assign(f.v, s); err != nil {
				errs = append(errs, fmt.Errorf("environment variable %s: %w", f.Env, err))
			}
		}
	}
	return fields, errors.Join(errs...)
}

// Validate calls Validate on ptr if it has the method.
func Validate(ptr any) error {
	if v, ok := ptr.(interface{ Validate() error }); ok {
		return v.Validate()
	}
	return nil
}

// Set parses s. A list that is set more than once grows; its first setting
// replaces what earlier layers gave.
func (f *Field) Set(s string) error {
	if f.v.Kind() == reflect.Slice && f.set {
		before := reflect.AppendSlice(reflect.MakeSlice(f.v.Type(), 0, f.v.Len()+1), f.v)
		if err := assign(f.v, s); err != nil {
			f.v.Set(before)
			return err
		}
		f.v.Set(reflect.AppendSlice(before, f.v))
		return nil
	}
	f.set = true
	return assign(f.v, s)
}

// String renders the present value.
func (f *Field) String() string {
	if f == nil || !f.v.IsValid() {
		return ""
	}
	if f.v.Kind() == reflect.Slice {
		var parts []string
		for i := range f.v.Len() {
			parts = append(parts, fmt.Sprint(f.v.Index(i).Interface()))
		}
		return strings.Join(parts, ",")
	}
	return fmt.Sprint(f.v.Interface())
}

// Type names the kind of value for help texts.
func (f *Field) Type() string {
	switch {
	case f.Unit != "":
		return f.Unit
	case f.v.Type() == reflect.TypeFor[time.Duration]():
		return "duration"
	case f.v.Kind() == reflect.Slice:
		return "list"
	case f.v.Kind() == reflect.Bool:
		return "bool"
	case f.v.CanInt(), f.v.CanUint():
		return "number"
	}
	return "string"
}

// IsBoolFlag lets "--flag" stand for "--flag=true" in the flag package.
func (f *Field) IsBoolFlag() bool { return f.v.Kind() == reflect.Bool }

func supported(v reflect.Value) bool {
	if v.CanAddr() {
		if _, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
			return true
		}
	}
	switch v.Kind() {
	case reflect.String, reflect.Bool:
		return true
	case reflect.Slice:
		return supported(reflect.New(v.Type().Elem()).Elem())
	}
	return v.CanInt() || v.CanUint()
}

func assign(v reflect.Value, s string) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(s))
	}
	switch {
	case v.Type() == reflect.TypeFor[time.Duration]():
		d, err := time.ParseDuration(s)
		if err != nil {
			return fmt.Errorf("%q is no duration such as 90s or 10m", s)
		}
		v.SetInt(int64(d))
	case v.Kind() == reflect.String:
		v.SetString(s)
	case v.Kind() == reflect.Bool:
		b, err := strconv.ParseBool(s)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", s)
		}
		v.SetBool(b)
	case v.Kind() == reflect.Slice:
		out := reflect.MakeSlice(v.Type(), 0, 4)
		for part := range strings.SplitSeq(s, ",") {
			if part = strings.TrimSpace(part); part == "" {
				continue
			}
			e := reflect.New(v.Type().Elem()).Elem()
			if err := assign(e, part); err != nil {
				return err
			}
			out = reflect.Append(out, e)
		}
		v.Set(out)
	case v.CanInt():
		n, err := parseSize(s)
		if err != nil || v.OverflowInt(n) {
			return fmt.Errorf("%q is no number that fits", s)
		}
		v.SetInt(n)
	case v.CanUint():
		n, err := parseSize(s)
		if err != nil || n < 0 || v.OverflowUint(uint64(n)) {
			return fmt.Errorf("%q is no number that fits", s)
		}
		v.SetUint(uint64(n))
	}
	return nil
}

// parseSize reads a number with an optional binary suffix K, M, G or T.
func parseSize(s string) (int64, error) {
	shift := 0
	if s != "" {
		if i := strings.IndexByte("KMGT", s[len(s)-1]); i >= 0 {
			shift = 10 * (i + 1)
			s = s[:len(s)-1]
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, err
	}
	if shifted := n << shift; shifted>>shift == n {
		return shifted, nil
	}
	return 0, strconv.ErrRange
}
