# Starts qq from the tree that PYTHONPATH names; "commands" lists what it has.
import sys

import qumulo.commands
import qumulo.lib.opts as opts
import qumulo.lib.qq as qq


def named(cls):
    for sub in cls.__subclasses__():
        if "NAME" in vars(sub):
            yield sub.NAME
        for name in named(sub):
            yield name


if sys.argv[1:] == ["commands"]:
    print("\n".join(sorted(set(named(opts.Subcommand)))))
    sys.exit(0)
if hasattr(qq, "make_parser"):  # since it is a program of Python 3
    sys.exit(qq.qq_main_PYTHON_ARGCOMPLETE_OK())
sys.argv[0] = "qq"
sys.exit(qq.qq_main())
