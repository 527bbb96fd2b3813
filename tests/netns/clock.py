# SPDX-License-Identifier: GPL-3.0-or-later
"""A router without a battery: the clock says 1970 at the start, and jumps by decades while the tunnel is up. Keys need no
clock; the dates of certificates are judged when it is right.
"""
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


def ping(m=net.home, to="10.99.0.1"):
    return m.run(["ping", "-c1", "-W0.5", to], check=False).returncode == 0


def year():
    return int(net.home.python("import time; print(time.gmtime().tm_year)").stdout)


vps.start_posternd()
wait_for("posternd answers", lambda: vps.status())
net.home.run(["sh", "-c", "head -c 8 /dev/zero >/etc/wall"])
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
testlib.done()
