package cli

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// conversions make the value of one of our options of what the reference
// command line is given for one of its own.
var conversions = map[string]func(values []string) (string, error){
	"rights": aliasRights,
	"words":  aliasWords,
	"list":   func(values []string) (string, error) { return strings.Join(values, ","), nil },
	"days":   aliasDays,
	"period": aliasPeriod,
	"from":   aliasOne, "to": aliasOne, // of a window
	"one":  aliasOne,
	"drop": func([]string) (string, error) { return "", nil },
	"bool": aliasBool,
	// dashes turns DISABLED_ERROR into disabled-error.
	"dashes": func(values []string) (string, error) {
		return strings.ToLower(strings.ReplaceAll(values[0], "_", "-")), nil
	},
	"dialects": aliasDialects,
	"but none": func(values []string) (string, error) {
		return strings.Join(slices.DeleteFunc(slices.Clone(values), func(s string) bool { return s == "NONE" }), ","), nil
	},
	"in days":  aliasIn(func(n int) time.Time { return time.Now().AddDate(0, 0, n) }),
	"in years": aliasIn(func(n int) time.Time { return time.Now().AddDate(n, 0, 0) }),
}

// takesList are the conversions of options that take words up to the next option.
var takesList = map[string]bool{"rights": true, "words": true, "list": true, "days": true, "period": true, "dialects": true, "but none": true}

// convert converts values; a name that ends in : is put before the value, and what
// follows a + behind it.
func convert(name string, values []string) (string, error) {
	if after, ok := strings.CutPrefix(name, "+"); ok {
		return values[0] + after, nil
	}
	if strings.HasSuffix(name, ":") {
		return name + values[0], nil
	}
	return conversions[name](values)
}

func aliasBool(values []string) (string, error) {
	v := strings.ToLower(values[0])
	if v != "true" && v != "false" {
		return "", fmt.Errorf("%q: want true or false", values[0])
	}
	return v, nil
}

// aliasDialects takes SMB2_DIALECT_3_11, ALL, or an empty one for none.
func aliasDialects(values []string) (string, error) {
	var out []string
	for _, v := range values {
		switch v = strings.ToUpper(v); v {
		case "ALL":
			out = append(out, "2_002", "2_1", "3_0", "3_11")
		default:
			out = append(out, strings.TrimPrefix(v, "SMB2_DIALECT_"))
		}
	}
	return strings.Join(out, ","), nil
}

func aliasIn(in func(int) time.Time) func([]string) (string, error) {
	return func(values []string) (string, error) {
		n, err := strconv.Atoi(values[0])
		if err != nil || n < 1 {
			return "", fmt.Errorf("%q: want a number above 0", values[0])
		}
		return in(n).UTC().Format(time.RFC3339), nil
	}
}

func aliasOne(values []string) (string, error) { return values[0], nil }

// aliasWords turns "Object inherit" into OBJECT_INHERIT.
func aliasWords(values []string) (string, error) {
	var out []string
	for w := range strings.SplitSeq(strings.Join(values, ","), ",") {
		if w = strings.TrimSpace(w); w != "" {
			out = append(out, strings.ToUpper(strings.ReplaceAll(w, " ", "_")))
		}
	}
	return strings.Join(out, ","), nil
}

// aliasRightNames are the words for rights, in lower case without separators.
var aliasRightNames = map[string]string{
	"all":  "READ,READ_EA,READ_ATTR,READ_ACL,WRITE_EA,WRITE_ATTR,WRITE_ACL,CHANGE_OWNER,WRITE_GROUP,DELETE,EXECUTE,MODIFY,EXTEND,ADD_FILE,ADD_SUBDIR,DELETE_CHILD,SYNCHRONIZE",
	"read": "READ,READ_EA,READ_ATTR,READ_ACL", "writefile": "WRITE_ATTR,WRITE_EA,EXTEND,MODIFY", "takeownership": "CHANGE_OWNER,WRITE_GROUP",
	"writedirectory": "WRITE_ATTR,WRITE_EA,ADD_FILE,ADD_SUBDIR",
	"readcontents":   "READ", "readea": "READ_EA", "readattr": "READ_ATTR", "readacl": "READ_ACL", "writeea": "WRITE_EA", "writeattr": "WRITE_ATTR", "writeacl": "WRITE_ACL",
	"changeowner": "CHANGE_OWNER", "writegroup": "WRITE_GROUP", "delete": "DELETE", "execute": "EXECUTE", "traverse": "EXECUTE", "execute/traverse": "EXECUTE",
	"writedata": "MODIFY", "extendfile": "EXTEND", "addfile": "ADD_FILE", "addsubdir": "ADD_SUBDIR", "deletechild": "DELETE_CHILD", "synchronize": "SYNCHRONIZE",
}

// aliasRights takes rights as people write them, one word after another with
// commas or without: the longest name that fits counts.
func aliasRights(values []string) (string, error) {
	words := strings.Fields(strings.NewReplacer(",", " ", "_", " ").Replace(strings.ToLower(strings.Join(values, " "))))
	var out []string
	seen := map[string]bool{}
	for len(words) > 0 {
		rights, n := "", 0
		for l := min(2, len(words)); l > 0 && n == 0; l-- {
			if r, ok := aliasRightNames[strings.Join(words[:l], "")]; ok {
				rights, n = r, l
			}
		}
		if n == 0 {
			return "", fmt.Errorf("%q is no right", words[0])
		}
		words = words[n:]
		for r := range strings.SplitSeq(rights, ",") {
			if !seen[r] {
				seen[r] = true
				out = append(out, r)
			}
		}
	}
	return strings.Join(out, ","), nil
}

// aliasDays takes MON,TUE; every day is our default, which is empty.
func aliasDays(values []string) (string, error) {
	d := strings.ToLower(strings.Join(values, ","))
	if d == "all" {
		return "", nil
	}
	return d, nil
}

var periodText = regexp.MustCompile(`^([0-9]+) *(m|min|mins|minutes?|h|hours?)$`)

// aliasPeriod takes 15minutes or 4hours.
func aliasPeriod(values []string) (string, error) {
	m := periodText.FindStringSubmatch(strings.ToLower(strings.Join(values, " ")))
	if m == nil {
		return "", fmt.Errorf("%q is no period as 15minutes or 4hours", strings.Join(values, " "))
	}
	return m[1] + m[2][:1], nil
}
