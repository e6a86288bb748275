package audit

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

// A method of the contract leaves a record, or it is known why it leaves none.
type method struct {
	// do makes a call that succeeds or is refused; either leaves record.
	do     func(w *wrapped) error
	record string
	// without says why there is none.
	without string
}

const (
	noCaller  = "it names no caller: who asks for it records the verb"
	noContent = "locks hide nothing and change nothing that is kept"
	covered   = "writes were recorded when they were made"
)

// contract are the methods of the file system.
var contract = map[string]method{
	"Lookup": {record: "fs_read_metadata", do: func(w *wrapped) error {
		_, err := w.Lookup(w.ctx, w.nobody(), w.secret(), "x", 0)
		return err
	}},
	"LookupFold": {record: "fs_read_metadata", do: func(w *wrapped) error {
		_, _, err := w.LookupFold(w.ctx, w.nobody(), w.secret(), "x", 0)
		return err
	}},
	"Resolve": {record: "fs_read_metadata", do: func(w *wrapped) error {
		w.secret()
		_, err := w.FS.Resolve(w.ctx, w.nobody(), "/secret/x", 0)
		return err
	}},
	"ReadDir": {record: "fs_list_directory", do: func(w *wrapped) error {
		_, err := w.ReadDir(w.ctx, w.c, fs.Root, 0, 0, func(*fs.Dirent) bool { return true })
		return err
	}},
	"ReadDirByName": {record: "fs_list_directory", do: func(w *wrapped) error {
		_, err := w.ReadDirByName(w.ctx, w.c, fs.Root, "", 0, func(*fs.Dirent) bool { return true })
		return err
	}},
	"Create": {record: "fs_create_directory", do: func(w *wrapped) error { w.create(fs.Root, "d", fs.Directory); return nil }},
	"Link": {record: "fs_create_hard_link", do: func(w *wrapped) error {
		_, err := w.Link(w.ctx, w.c, w.file(), fs.Root, "l")
		return err
	}},
	"Remove": {record: "fs_delete", do: func(w *wrapped) error {
		w.file()
		_, err := w.Remove(w.ctx, w.c, fs.Root, "f", fs.RemoveAny)
		return err
	}},
	"Rename": {record: "fs_rename", do: func(w *wrapped) error {
		w.file()
		_, err := w.Rename(w.ctx, w.c, fs.Root, "f", fs.Root, "g", fs.RenameOptions{})
		return err
	}},
	"Retype": {record: "fs_create_symlink", do: func(w *wrapped) error {
		_, err := w.Retype(w.ctx, w.c, w.file(), &fs.RetypeSpec{Type: fs.Symlink, Target: []byte("t")})
		return err
	}},
	"Readlink": {record: "fs_read_link", do: func(w *wrapped) error {
		_, err := w.Readlink(w.ctx, w.c, w.create(fs.Root, "s", fs.Symlink))
		return err
	}},
	"PathOf": {without: "a path is shown with what was found by it"}, "Contains": {without: noCaller},

	"GetAttr": {record: "fs_read_metadata", do: func(w *wrapped) error {
		_, err := w.GetAttr(w.ctx, w.c, fs.Root, 0)
		return err
	}},
	"SetAttr": {record: "fs_write_metadata", do: func(w *wrapped) error {
		mode := fs.Mode(0o700)
		_, err := w.SetAttr(w.ctx, w.c, w.file(), &fs.SetAttr{Mode: &mode})
		return err
	}},
	"Read": {record: "fs_read_data", do: func(w *wrapped) error {
		_, err := w.Read(w.ctx, w.c, w.file(), &fs.ReadRequest{}, make([]byte, 1))
		return err
	}},
	"Write": {record: "fs_write_data", do: func(w *wrapped) error {
		_, err := w.Write(w.ctx, w.c, w.file(), &fs.WriteRequest{Data: []byte("x")})
		return err
	}},
	"Commit": {without: covered},
	"Zero": {record: "fs_write_data", do: func(w *wrapped) error {
		_, err := w.Zero(w.ctx, w.c, w.file(), 0, 0, 1)
		return err
	}},
	"Regions": {record: "fs_read_metadata", do: func(w *wrapped) error {
		return w.Regions(w.ctx, w.c, w.file(), 0, 0, func(fs.Region) bool { return true })
	}},
	"CopyRange": {record: "fs_copy_chunk", do: func(w *wrapped) error {
		_, err := w.CopyRange(w.ctx, w.c, w.file(), 0, 0, w.create(fs.Root, "to", fs.File), 0, 0, 1)
		return err
	}},
	"WriteVerifier": {without: "it is about no file"},

	"Access": {record: "fs_read_metadata", do: func(w *wrapped) error {
		_, err := w.Access(w.ctx, w.c, fs.Root, fs.RightRead)
		return err
	}},
	"GetACL": {record: "fs_read_metadata", do: func(w *wrapped) error {
		_, err := w.GetACL(w.ctx, w.c, fs.Root)
		return err
	}},
	"SetACL": {record: "fs_write_metadata", do: func(w *wrapped) error {
		_, err := w.SetACL(w.ctx, w.c, w.file(), &fs.ACL{})
		return err
	}},
	"GetMeta": {record: "fs_read_user_metadata", do: func(w *wrapped) error {
		_, err := w.GetMeta(w.ctx, w.c, w.file(), fs.MetaS3, "k")
		return err
	}},
	"SetMeta": {record: "fs_write_user_metadata", do: func(w *wrapped) error {
		_, err := w.SetMeta(w.ctx, w.c, w.file(), fs.MetaS3, "k", nil, fs.MetaUpsert)
		return err
	}},
	"RemoveMeta": {record: "fs_write_user_metadata", do: func(w *wrapped) error {
		_, err := w.RemoveMeta(w.ctx, w.c, w.file(), fs.MetaS3, "k")
		return err
	}},
	"ListMeta": {record: "fs_read_user_metadata", do: func(w *wrapped) error {
		return w.ListMeta(w.ctx, w.c, w.file(), fs.MetaS3, "", func(string, int) bool { return true })
	}},
	"Streams": {record: "fs_read_metadata", do: func(w *wrapped) error {
		_, err := w.Streams(w.ctx, w.c, w.file())
		return err
	}},
	"CreateStream": {record: "fs_create_stream", do: func(w *wrapped) error {
		_, err := w.CreateStream(w.ctx, w.c, w.file(), "s", true)
		return err
	}},
	"SetStreamSize": {record: "fs_write_metadata", do: func(w *wrapped) error {
		n, s := w.stream()
		_, err := w.SetStreamSize(w.ctx, w.c, n, s, 1)
		return err
	}},
	"RenameStream": {record: "fs_rename", do: func(w *wrapped) error {
		n, s := w.stream()
		return w.RenameStream(w.ctx, w.c, n, s, "t")
	}},
	"RemoveStream": {record: "fs_delete", do: func(w *wrapped) error {
		n, s := w.stream()
		return w.RemoveStream(w.ctx, w.c, n, s)
	}},

	"Open": {record: "fs_open", do: func(w *wrapped) error {
		h, err := w.open()
		if err != nil {
			return err
		}
		return h.Close(w.ctx)
	}},
	"Opens": {without: noCaller},

	"Lock": {without: noContent}, "LockWait": {without: noContent}, "Unlock": {without: noContent}, "TestLock": {without: noContent},
	"ReleaseClient": {without: noCaller}, "ReleaseOwner": {without: noCaller}, "LockList": {without: noCaller}, "SetGrace": {without: noCaller}, "SetStrict": {without: noCaller}, "CheckIO": {without: "the read or write that it asks for leaves its own"},

	"TakeSnapshot": {without: noCaller}, "Snapshot": {without: noCaller}, "ListSnapshots": {without: noCaller}, "ModifySnapshot": {without: noCaller},
	"DeleteSnapshot": {without: noCaller}, "SnapshotsKeep": {without: noCaller}, "DiffSnapshots": {without: noCaller}, "DiffFile": {without: noCaller},

	"TotalsOf": {without: noCaller}, "ChildTotalsOf": {without: noCaller},
	"StatFS": {record: "fs_fsstat", do: func(w *wrapped) error {
		_, err := w.StatFS(w.ctx, w.c, fs.Root)
		return err
	}},
	"Quota": {without: noCaller}, "SetQuota": {without: noCaller}, "RemoveQuota": {without: noCaller}, "ListQuotas": {without: noCaller},

	"StartTreeDelete": {record: "fs_tree_delete", do: func(w *wrapped) error {
		_, err := w.StartTreeDelete(w.ctx, w.c, w.create(fs.Root, "d", fs.Directory).ID)
		return err
	}},
	"TreeDelete": {without: noCaller}, "ListTreeDeletes": {without: noCaller}, "CancelTreeDelete": {without: noCaller},

	"Stage": {without: "what has no name is nothing to anybody yet"}, "Unstage": {without: "what had no name is gone"},
	"Publish": {record: "fs_create_file", do: func(w *wrapped) error {
		n, err := w.Stage(w.ctx, w.c, &fs.StageSpec{Dir: fs.Root})
		w.must(err)
		_, err = w.Publish(w.ctx, w.c, n, fs.Root, "p", &fs.PublishSpec{})
		return err
	}},
	"Rearrange": {record: "fs_rename", do: func(w *wrapped) error {
		w.file()
		from, to := fs.Entry{Dir: fs.Root, Name: "f"}, fs.Entry{Dir: fs.Root, Name: "moved"}
		return w.Rearrange(w.ctx, w.c, []fs.Move{{From: from, To: to}}, fs.Node{})
	}},
	"Splice": {record: "fs_read_data", do: func(w *wrapped) error {
		n, err := w.Stage(w.ctx, w.c, &fs.StageSpec{Dir: fs.Root})
		w.must(err)
		_, err = w.Splice(w.ctx, w.c, n, []fs.Node{w.file()})
		return err
	}},
	"ListStaged": {without: noCaller},
	"Watch":      {without: noCaller},
}

// handles are the methods of what Open answers.
var handles = map[string]method{
	"ID": {without: noCaller}, "Node": {without: noCaller}, "Stream": {without: noCaller}, "Granted": {without: noCaller},
	"Read": {record: "fs_read_data", do: func(w *wrapped) error {
		h, err := w.open()
		w.must(err)
		_, err = h.Read(w.ctx, 0, make([]byte, 1))
		return err
	}},
	"Write": {record: "fs_write_data", do: func(w *wrapped) error {
		h, err := w.open()
		w.must(err)
		_, err = h.Write(w.ctx, &fs.WriteRequest{Data: []byte("x")})
		return err
	}},
	"Flush": {without: covered},
	"GetAttr": {record: "fs_read_metadata", do: func(w *wrapped) error {
		h, err := w.open()
		w.must(err)
		_, err = h.GetAttr(w.ctx, 0)
		return err
	}},
	"SetAttr": {record: "fs_write_metadata", do: func(w *wrapped) error {
		h, err := w.open()
		w.must(err)
		mode := fs.Mode(0o700)
		_, err = h.SetAttr(w.ctx, &fs.SetAttr{Mode: &mode})
		return err
	}},
	"SetDeleteOnClose": {record: "fs_delete", do: closeDeleting},
	"Close":            {record: "fs_delete", do: closeDeleting},
}

func closeDeleting(w *wrapped) error {
	h, err := w.open()
	w.must(err)
	w.must(h.SetDeleteOnClose(w.ctx, true))
	return h.Close(w.ctx)
}

func (w *wrapped) nobody() *fs.Caller {
	c := *w.c
	c.Cred = identity.POSIX(65533, 65533, nil)
	return &c
}

// secret is a directory that nobody may enter.
func (w *wrapped) secret() fs.Node {
	mode := fs.Mode(0)
	r, err := w.FS.FS.Create(w.ctx, w.c, fs.Root, "secret", &fs.CreateSpec{Type: fs.Directory, Set: fs.SetAttr{Mode: &mode}})
	w.must(err)
	return r.Attr.Node
}

// file is one whose making was not recorded.
func (w *wrapped) file() fs.Node {
	r, err := w.FS.FS.Create(w.ctx, w.c, fs.Root, "f", &fs.CreateSpec{Type: fs.File})
	w.must(err)
	return r.Attr.Node
}

func (w *wrapped) stream() (fs.Node, fs.StreamID) {
	n := w.file()
	s, err := w.FS.FS.CreateStream(w.ctx, w.c, n, "s", true)
	w.must(err)
	return n, s.ID
}

func (w *wrapped) open() (fs.Handle, error) {
	w.file()
	h, _, err := w.Open(w.ctx, w.c, &fs.OpenSpec{Dir: fs.Root, Name: "f", Desired: fs.RightRead | fs.RightModify | fs.RightWriteAttr | fs.RightReadAttr | fs.RightDelete, Share: fs.ShareAll, Disposition: fs.OpenExisting})
	return h, err
}

// Every method of the contract is in the table, and does what that says.
func TestContract(t *testing.T) {
	for _, x := range []struct {
		of    reflect.Type
		table map[string]method
	}{{reflect.TypeFor[fs.FS](), contract}, {reflect.TypeFor[fs.Handle](), handles}} {
		for i := range x.of.NumMethod() {
			if _, ok := x.table[x.of.Method(i).Name]; !ok {
				t.Errorf("%v.%s: say here which record it leaves, or why none", x.of, x.of.Method(i).Name)
			}
		}
		for name, m := range x.table {
			if _, ok := x.of.MethodByName(name); !ok {
				t.Errorf("%v has no method %s", x.of, name)
			}
			if (m.do == nil) != (m.without != "") {
				t.Errorf("%v.%s: want a call or a reason", x.of, name)
			}
			if m.do == nil {
				continue
			}
			t.Run(x.of.Name()+"/"+name, func(t *testing.T) {
				w := wrap(t, CSV)
				err := m.do(w)
				var got []string
				for {
					e, ok := w.read()
					if !ok {
						break
					}
					got = append(got, strings.Split(string(e.text), ",")[3])
				}
				if !slices.Contains(got, m.record) {
					t.Errorf("it left %q (error %v), want %s", got, err, m.record)
				}
			})
		}
	}
}
