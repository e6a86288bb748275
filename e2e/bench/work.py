# work.py DIR TAR - the work that is measured, inside the guest. For each row it
# prints "begin NAME" and "end NAME OPERATIONS SECONDS". ROWS chooses rows by
# their first word, MIB and FILES set the sizes of all clients together. CLIENTS
# processes do each row at the same time, each in a directory of its own; a row
# lasts until the last of them is done.
import os, subprocess, sys, time

top, tar = sys.argv[1], sys.argv[2]
clients = int(os.environ.get("CLIENTS", "1"))
mib, files = int(os.environ["MIB"]) // clients, int(os.environ["FILES"]) // clients
rows = os.environ["ROWS"].split(",")
dirs = [os.path.join(top, "c%d" % i) for i in range(clients)]
for d in dirs:
    os.makedirs(d)


def drop():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("3")


def every(work):
    """All clients do it at once. Returns the sum of what they return."""
    children = []
    for d in dirs:
        r, w = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.chdir(d)
                os.write(w, str(work() or 0).encode())
                code = 0
            finally:
                os._exit(code)
        os.close(w)
        children.append((pid, r))
    total = 0
    for pid, r in children:
        with os.fdopen(r) as f:
            said = f.read()
        if os.waitpid(pid, 0)[1] != 0:
            sys.exit("a client failed")
        total += float(said)
    return total


def row(name, work):
    print("begin", name, flush=True)
    time.sleep(0.1)  # lets the host look at the server's CPU time
    start = time.monotonic()
    n, seconds = every(work), time.monotonic() - start
    print("end", name, n, "%.6f" % seconds, flush=True)
    time.sleep(0.1)


def seqwrite():
    block = os.urandom(1 << 20)
    fd = os.open("seq", os.O_CREAT | os.O_WRONLY, 0o644)
    for _ in range(mib):
        os.write(fd, block)
    os.fsync(fd)
    os.close(fd)
    return mib


def seqread():
    fd, n = os.open("seq", os.O_RDONLY), 0
    while b := os.read(fd, 1 << 20):
        n += len(b)
    os.close(fd)
    return n / (1 << 20)


def rand(mode, depth):
    out = subprocess.run(
        ["fio", "--minimal", "--name=r", "--filename=rand", "--rw=rand" + mode, "--bs=4k", "--size=%dM" % (mib // 4),
         "--direct=1", "--ioengine=libaio", "--iodepth=%d" % depth, "--runtime=5", "--time_based", "--randseed=1"],
        check=True, capture_output=True, text=True).stdout
    fields = [l for l in out.splitlines() if l.startswith("3;")][0].split(";")
    kib = fields[5] if mode == "read" else fields[46]
    return int(kib) / 4


def each(f):
    for i in range(files):
        f("m/f%06d" % i)
    return files


def create(p):
    os.close(os.open(p, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))


def sh(command, n):
    subprocess.run(["bash", "-c", command], check=True)
    return n


if "seq" in rows:
    row("seqwrite", seqwrite)
    drop()
    row("seqread", seqread)
    every(lambda: os.unlink("seq"))
if "rand" in rows:
    every(lambda: sh("dd if=/dev/urandom of=rand bs=1M count=%d conv=fsync 2>/dev/null" % (mib // 4), 0))
    drop()
    for mode in "read", "write":
        for depth in 1, 16:
            row("rand%s%d" % (mode, depth), lambda: rand(mode, depth))
    every(lambda: os.unlink("rand"))
if "meta" in rows:
    every(lambda: os.mkdir("m"))
    row("create", lambda: each(create))
    drop()
    row("stat", lambda: each(os.stat))
    drop()
    row("readdir", lambda: len(os.listdir("m")))
    row("unlink", lambda: each(os.unlink))
    every(lambda: os.rmdir("m"))
if "tree" in rows:
    n = int(os.environ["ENTRIES"])
    row("untar", lambda: sh("tar xf %s && sync" % tar, n))
    drop()
    row("findcat", lambda: sh("find . -type f -print0 | xargs -0 cat >/dev/null", n))
    row("rmtree", lambda: sh("rm -rf ./*", n))
for d in dirs:
    os.rmdir(d)
os.rmdir(top)
