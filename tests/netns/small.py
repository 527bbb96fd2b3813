# SPDX-License-Identifier: GPL-3.0-or-later
"""A small router at home: 64 MiB for all of posternd's processes, one core, no AES instructions. It asks for ChaCha20, and
a hundred streams both ways and a flood of small datagrams neither have it killed nor stop the tunnel.
"""
import os
import platform
import sys
import time

import cgroup
import testlib
from testlib import check, require, wait_for

MIB = 1 << 20
MOST = (80 if "asan" in testlib.BUILD else 64) * MIB  # what a sanitizer keeps counts too: gcc 14's 10 MiB more than gcc 12's
LIMIT = cgroup.limit(MOST)
if not LIMIT:
    testlib.skip("no memory controller of cgroups to make a limit with")
NO_AES = "~0x200000200000000:~0x60000000000"  # AES, PCLMULQDQ; VAES, VPCLMULQDQ: as OPENSSL_ia32cap(3) counts
STREAMS = 100
lab, net = testlib.start()
import cast  # noqa: E402
import usage  # noqa: E402

LOAD = os.path.join(testlib.BUILD, "bench", "udp_load")
SINK = """import selectors, socket, sys, time
l = socket.create_server((sys.argv[1], 5001), backlog=200)
print("ready", flush=True)
s, got = selectors.DefaultSelector(), {}
for _ in range(int(sys.argv[2])):
    c = l.accept()[0]
    got[c] = 0
    s.register(c, selectors.EVENT_READ)
end = time.monotonic() + 60
while s.get_map() and time.monotonic() < end:
    for key, _ in s.select(1):
        n = len(key.fileobj.recv(65536))
        got[key.fileobj] += n
        if not n:
            s.unregister(key.fileobj)
print(sum(got.values()), sum(n > 0 for n in got.values()), flush=True)
"""
SOURCE = """import selectors, socket, sys, time
s, conns = selectors.DefaultSelector(), []
for _ in range(int(sys.argv[2])):
    c = socket.create_connection((sys.argv[1], 5001), 20)
    c.setblocking(False)
    s.register(c, selectors.EVENT_WRITE)
    conns.append(c)
end = time.monotonic() + 3
while time.monotonic() < end:
    for key, _ in s.select(0.2):
        try:
            key.fileobj.send(b"x" * 16384)
        except BlockingIOError:
            pass
"""


def be_small():
    """In the process that becomes posternd: what it has, its children have too."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    LIMIT.enter()


def ping(m=net.home, to="10.99.0.1"):
    return m.run(["ping", "-c1", "-W1", to], check=False).returncode == 0


def pids(side):
    return [side.d.pid] + side.m.child_pids(side.d)


def streams(client, server, address):
    """(bytes, how many of the streams had some)"""
    sink = server.start([sys.executable, "-c", SINK, address, STREAMS], log=f"sink-{address}-{time.monotonic_ns()}")
    wait_for("the sink listens", lambda: "ready" in open(sink.log).read())
    client.python(SOURCE, address, STREAMS, check=False, timeout=90)
    sink.wait(90)
    return [int(x) for x in open(sink.log).read().split()[-2:]]


def flood(client, server, address):
    sink = server.start([LOAD, "sink", address, "7000"], log="flood")
    wait_for("the sink listens", lambda: ":7000 " in server.run(["ss", "-Hlun"]).stdout)
    client.run([LOAD, "send", address, "7000", "64", "0", "2", "1"])
    sink.terminate()
    sink.wait(60)


def suites(side, peer):
    p = side.peer(peer)
    return [p["ike"]["suite"]] + [c["suite"] for c in p["ike"]["children"]]


vps, home = cast.tunnel(net)
conf = home.m.read("/etc/postern/postern.conf")
vps.start_posternd()
wait_for("posternd on the VPS answers", lambda: vps.status())
for io in ("epoll", "io_uring"):
    home.m.write("/etc/postern/postern.conf", conf.replace("[peer vps]", f"io = {io}\n[peer vps]"))
    home.start_posternd(env={"OPENSSL_ia32cap": NO_AES}, preexec_fn=be_small)
    require(f"{io}: the tunnel is up", wait_for("ping", ping, 20) and wait_for("up", lambda: home.up("vps"), 5))
    began = pids(home)
    check(f"{io}: all of its processes have one core",
          all(len(os.sched_getaffinity(int(t))) == 1 for pid in began for t in os.listdir(f"/proc/{pid}/task")))
    if platform.machine() == "x86_64":
        found = suites(home, "vps")
        check(f"{io}: without AES instructions IKE and the data are under ChaCha20, though the VPS has them",
              len(found) > 1 and all(s.startswith("chacha20poly1305") for s in found), found)
        crypto = home.status()["dataplane"]["crypto"]
        check(f"{io}: and what OpenSSL is not to use ipsec-mb does not use either", "ipsec-mb" not in crypto, crypto)
    for what, args in (("up", (net.home, net.vps, "10.99.0.1")), ("down", (net.vps, net.home, "10.99.0.2"))):
        total, some = streams(*args)
        check(f"{io}: {STREAMS} streams {what} carry {total / MIB:.0f} MiB, each some", some == STREAMS and total > 4 * MIB, some)
        flood(*args)
        check(f"{io}: after a flood of datagrams {what} a ping passes", wait_for("ping", ping, 10))
    check(f"{io}: none of its processes was ended for memory, the limit's most was {LIMIT.peak() / MIB:.1f} MiB, "
          f"their own {usage.pss(pids(home)) / 1024:.1f}", LIMIT.killed() == 0 and LIMIT.peak() <= MOST and pids(home) == began)
    home.d.terminate()
    require(f"{io}: posternd ends", wait_for("end", lambda: home.d.poll() is not None, 15))
testlib.done()
