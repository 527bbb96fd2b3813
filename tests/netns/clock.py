# SPDX-License-Identifier: GPL-3.0-or-later
"""A router without a battery: the clock says 1970 at the start, and jumps by decades while the tunnel is up. Keys need no
clock; the dates of certificates are judged when it is right.
"""
import ctypes
import os
import struct
import time

import testlib
from testlib import check, require, wait_for

SHIM = os.path.join(testlib.BUILD, "tests", "netns", "libwall.so")
if not os.path.exists(SHIM):
    testlib.skip(f"{SHIM} is not built")
if "asan" in testlib.BUILD:
    testlib.skip("a sanitizer wants to be loaded first")
lab, net = testlib.start()
import cast  # noqa: E402

vps, home = cast.tunnel(net)
YEAR = 365 * 86400


def clock(seconds):
    """Home's wall clock is the true one plus so much."""
    with open(f"/proc/{net.home.pid}/root/etc/wall", "r+b") as f:
        f.write(struct.pack("=q", seconds))


def ring(pid, fd):
    """That timer of the process goes off, as the kernel lets those of the wall clock do after a sleep."""
    libc, pidfd = ctypes.CDLL(None, use_errno=True), os.pidfd_open(pid)
    mine = libc.syscall(438, pidfd, fd, 0)  # pidfd_getfd
    assert mine >= 0 and libc.timerfd_settime(mine, 0, struct.pack("=4q", 0, 0, 0, 1), None) == 0, ctypes.get_errno()
    os.close(mine)
    os.close(pidfd)


def sleep(seconds):
    """Home has slept for so long, all its sleeps together, and the kernel says so."""
    with open(f"/proc/{net.home.pid}/root/etc/wall", "r+b") as f:
        f.seek(8)
        f.write(struct.pack("=q", seconds))
    for pid in net.home.child_pids(home.d):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            if "timerfd" in os.readlink(f"/proc/{pid}/fd/{fd}"):
                ring(pid, int(fd))


def sent(seconds, begin=lambda: None):
    """How many packets home sends in that time; asking it itself would wake it."""
    def count():
        return int(net.cgnat.run(["nft", "list", "table", "inet", "watch"]).stdout.split("packets ")[1].split()[0])
    before = count()
    begin()
    time.sleep(seconds)
    return count() - before



def ping(m=net.home, to="10.99.0.1"):
    return m.run(["ping", "-c1", "-W0.5", to], check=False).returncode == 0


def year():
    return int(net.home.python("import time; print(time.gmtime().tm_year)").stdout)


vps.start_posternd()
wait_for("posternd answers", lambda: vps.status())
net.home.run(["sh", "-c", "head -c 16 /dev/zero >/etc/wall"])
net.home.write("/etc/ld.so.preload", SHIM + "\n")
clock(-int(time.time()) + 60)
require("home's clock is in 1970", year() == 1970, year())
home.start_posternd()
check("a start in 1970: the tunnel comes up", wait_for("ping", ping, 20))
with open(home.d.log) as f:
    check("the daemon believes it too", f.read(4) == "1970")
ups, moved = home.peer("vps")["ups"], []
for seconds in (0, -10 * YEAR, 30 * YEAR, -int(time.time()) + 60, 0):
    clock(seconds)
    time.sleep(1)
    moved.append(ping() and ping(net.vps, "10.99.0.2"))
home.cli("rekey", "--ike", "vps")
moved.append(bool(wait_for("a rekey", lambda: home.up("vps") and ping(), 10)))
check("a clock that is set back and forth moves nothing (case 96)", all(moved) and home.peer("vps")["ups"] == ups, (moved, ups, home.peer("vps")))

# --- suspend: the boot clock goes on, and nothing is due
net.cgnat.nft("table inet watch {\n chain seen { type filter hook prerouting priority -400\n  iifname inner ip saddr 100.64.0.2 udp dport 4500 counter\n }\n}")
asked = []
for nap in (6, 12, 18, 24):
    wait_for("a moment in which nothing is said", lambda: sent(1.5) == 0, 30)
    asked.append(sent(0.15, lambda: sleep(nap)))
check("the other side is asked at once after each sleep (case 95)", all(asked), asked)
check("and the tunnel is as it was", ping() and home.peer("vps")["ups"] == ups, (ups, home.peer("vps")))
with open(home.d.log) as f:
    check("the log says so", "this machine slept for 6 s" in f.read())
testlib.done()
