package node

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"cloudburst/names"
)

// setting is one field of one section of a Config, as files, the environment and flags name it.
type setting struct {
	section, key string
	value        reflect.Value
}

func (s setting) name() string { return s.section + "." + s.key }

// ownSections are the fields of Config that are sections, and in each the fields that only the node itself sets.
func (c *Config) sections() []struct {
	name    string
	section any
	hidden  []string
} {
	return []struct {
		name    string
		section any
		hidden  []string
	}{
		{"node", &c.Node, nil},
		{"nats", &c.NATS, nil},
		{"cluster", &c.Cluster, nil},
		{"anna", &c.Anna, []string{"replicas", "member_file", "guest", "name"}},
		{"cache", &c.Cache, nil},
		{"executor", &c.Executor, []string{"member"}},
		{"scheduler", &c.Scheduler, nil},
		{"gateway", &c.Gateway, []string{"version"}},
		{"resp", &c.RESP, []string{"version", "token", "sole_master"}},
		{"log", &c.Log, nil},
	}
}

// settings returns every setting of c, to be read and written.
func (c *Config) settings() []setting {
	var all []setting
	for _, s := range c.sections() {
		v := reflect.ValueOf(s.section).Elem()
		for i := range v.NumField() {
			f := v.Type().Field(i)
			key := names.Snake(f.Name)
			if !f.IsExported() || !settable(f.Type) || slices.Contains(s.hidden, key) {
				continue
			}
			all = append(all, setting{s.name, key, v.Field(i)})
		}
	}
	return all
}

func settable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int64, reflect.Uint32, reflect.Uint64, reflect.Float64:
		return true
	case reflect.Slice:
		return t.Elem().Kind() == reflect.String
	}
	return false
}

const hidden = "hidden"

// hidePasswords leaves users and passwords out of a list of addresses.
func hidePasswords(addresses string) string {
	list := strings.Split(addresses, ",")
	for i, address := range list {
		if scheme, rest, ok := strings.Cut(address, "://"); ok {
			if at := strings.LastIndexByte(rest, '@'); at >= 0 {
				list[i] = scheme + "://" + hidden + rest[at:]
			}
		}
	}
	return strings.Join(list, ",")
}

// secret reports whether a setting is not to be shown.
func (s setting) secret() bool { return s.key == "token" || s.key == "secret" }

// parse sets a setting from text, as in the environment and in flags.
func (s setting) parse(text string) error {
	v := s.value
	if v.Type() == reflect.TypeFor[time.Duration]() {
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is not a duration; write it as 300ms, 30s or 5m", text)
		}
		v.SetInt(int64(d))
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		v.SetBool(b)
	case reflect.Slice:
		list := []string{}
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
		v.Set(reflect.ValueOf(list))
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("%q is not a number", text)
		}
		v.SetFloat(f)
	default:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", text)
		}
		return s.setInt(n)
	}
	return nil
}

func (s setting) setInt(n int64) error {
	v := s.value
	switch {
	case v.CanInt() && !v.OverflowInt(n):
		v.SetInt(n)
	case v.CanUint() && n >= 0 && !v.OverflowUint(uint64(n)):
		v.SetUint(uint64(n))
	default:
		return fmt.Errorf("%d is out of range", n)
	}
	return nil
}

// set sets a setting from what a TOML file has.
func (s setting) set(from any) error {
	v := s.value
	switch x := from.(type) {
	case string:
		if v.Kind() == reflect.String || v.Type() == reflect.TypeFor[time.Duration]() {
			return s.parse(x)
		}
	case bool:
		if v.Kind() == reflect.Bool {
			v.SetBool(x)
			return nil
		}
	case int64:
		switch {
		case v.Type() == reflect.TypeFor[time.Duration]():
			return fmt.Errorf(`a duration needs its unit, such as "%ds"`, x)
		case v.CanInt() || v.CanUint():
			return s.setInt(x)
		case v.CanFloat():
			v.SetFloat(float64(x))
			return nil
		}
	case float64:
		if v.CanFloat() {
			v.SetFloat(x)
			return nil
		}
	case []any:
		if v.Kind() == reflect.Slice {
			list := make([]string, len(x))
			for i := range x {
				text, ok := x[i].(string)
				if !ok {
					return fmt.Errorf("element %d is not a string", i+1)
				}
				list[i] = text
			}
			v.Set(reflect.ValueOf(list))
			return nil
		}
	}
	return fmt.Errorf("%v is not %s", from, s.kind())
}

// kind names for people what a setting takes.
func (s setting) kind() string {
	v := s.value
	switch {
	case v.Type() == reflect.TypeFor[time.Duration]():
		return `a duration such as "30s"`
	case v.Kind() == reflect.Bool:
		return "true or false"
	case v.Kind() == reflect.String:
		return "a string"
	case v.Kind() == reflect.Slice:
		return "a list of strings"
	case v.CanFloat():
		return "a number"
	}
	return "a whole number"
}

// toml returns the value as a TOML file has it.
func (s setting) toml() string {
	v := s.value
	switch {
	case s.key == "url":
		return quote(hidePasswords(v.String()))
	case v.Type() == reflect.TypeFor[time.Duration]():
		return quote(shortDuration(time.Duration(v.Int())))
	case v.Kind() == reflect.String:
		return quote(v.String())
	case v.Kind() == reflect.Slice:
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = quote(v.Index(i).String())
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case v.CanFloat():
		text := strconv.FormatFloat(v.Float(), 'g', -1, 64)
		if !strings.ContainsAny(text, ".e") {
			text += ".0"
		}
		return text
	}
	return fmt.Sprint(v.Interface())
}

// quote writes a string as JSON does, which TOML reads alike.
func quote(text string) string {
	quoted, err := json.Marshal(strings.ToValidUTF8(text, "�"))
	if err != nil {
		return `""`
	}
	return string(quoted)
}

// shortDuration leaves out the zeros that time.Duration writes: "5m", not "5m0s".
func shortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
