package cli

import (
	"fmt"
	"regexp"
	"strings"
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
