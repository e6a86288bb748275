# work.py DIR TAR - the work that is measured, inside the guest. For each row it
# prints "begin NAME" and "end NAME OPERATIONS SECONDS". ROWS chooses rows by
# their first word, MIB and FILES set the sizes.
import os, subprocess, sys, time

top, tar = sys.argv[1], sys.argv[2]
mib, files = int(os.environ["MIB"]), int(os.environ["FILES"])
rows = os.environ["ROWS"].split(",")
os.makedirs(top)
os.chdir(top)


def drop():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("3")


def row(name, work):
    print("begin", name, flush=True)
    time.sleep(0.1)  # lets the host look at the server's CPU time
    start = time.monotonic()
    n, seconds = work(), time.monotonic() - start
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
    os.unlink("seq")
if "rand" in rows:
    sh("dd if=/dev/urandom of=rand bs=1M count=%d conv=fsync 2>/dev/null" % (mib // 4), 0)
    drop()
    for mode in "read", "write":
        for depth in 1, 16:
            row("rand%s%d" % (mode, depth), lambda: rand(mode, depth))
    os.unlink("rand")
if "meta" in rows:
    os.mkdir("m")
    row("create", lambda: each(create))
    drop()
    row("stat", lambda: each(os.stat))
    drop()
    row("readdir", lambda: len(os.listdir("m")))
    row("unlink", lambda: each(os.unlink))
    os.rmdir("m")
if "tree" in rows:
    n = int(os.environ["ENTRIES"])
    row("untar", lambda: sh("tar xf %s && sync" % tar, n))
    drop()
    row("findcat", lambda: sh("find . -type f -print0 | xargs -0 cat >/dev/null", n))
    row("rmtree", lambda: sh("rm -rf ./*", n))
os.chdir("/")
os.rmdir(top)
