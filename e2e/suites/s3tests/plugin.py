# Loaded by pytest beside the suite: runs the tests that the list names, gives
# each a bucket prefix of its own, so that what one cannot clean up does not
# fail the next, and writes a table of results.
import os
import random
import string
import sys

import pytest

# Tests that alter requests expect the client's own signer.
os.environ["BOTO_DISABLE_CRT"] = "true"

wanted = set(open(os.environ["RUN_TESTS"]).read().split())
results = {}


def name(nodeid):
    return nodeid.split("/")[-1].replace(".py::", "::")


def pytest_collection_modifyitems(config, items):
    items[:] = [i for i in items if name(i.nodeid) in wanted]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    suite = sys.modules.get("s3tests.functional")
    if suite and suite.prefix is not None:
        suite.prefix = "s3t-" + "".join(random.choices(string.ascii_lowercase + string.digits, k=20)) + "-"


def pytest_runtest_logreport(report):
    n = name(report.nodeid)
    if report.when == "setup" and not report.passed:
        results[n] = "skip" if report.skipped else "fail"
    elif report.when == "call":
        results[n] = "pass" if report.passed else "skip" if report.skipped else "fail"
    if report.when != "teardown" and not report.passed:
        crash = getattr(report.longrepr, "reprcrash", None)
        why = crash.message if crash else str(report.longrepr)
        print("\n%s: %s" % (n, " ".join(why.split())[:300]), file=sys.stderr)


def pytest_sessionfinish(session):
    with open(os.environ["RUN_RESULTS"], "w") as f:
        for n in sorted(results):
            f.write("%s\t%s\n" % (n, results[n]))
