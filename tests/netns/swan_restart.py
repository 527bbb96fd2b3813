# SPDX-License-Identifier: GPL-3.0-or-later
"""Postern and strongSwan, one of them killed and started again without a word, in both roles: inner traffic is back
by itself.

usage: swan_restart.py [client | server [RELEASE]]	strongSwan as the client or as the server; without an argument
both, one lab after the other.
"""
import os
import subprocess
import sys
import time

WHICH = sys.argv[1:] or None
if not WHICH:
    results = [subprocess.run([sys.executable, __file__, which]).returncode for which in ("client", "server")]
    sys.exit(1 if any(r not in (0, 77) for r in results) else 77 if all(r == 77 for r in results) else 0)

import testlib  # noqa: E402
from testlib import check, require, wait_for  # noqa: E402

testlib.need_scratch()
lab, net = testlib.start()
import cast  # noqa: E402
import swan  # noqa: E402

RELEASE = WHICH[1] if len(WHICH) > 1 else None


def ping():
    return net.home.run(["ping", "-c1", "-W0.3", "10.99.0.1"], check=False).returncode == 0


def kill_posternd(side):
    for pid in [side.d.pid] + side.m.child_pids(side.d):
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            pass
    side.d.wait(60)
    side.start_posternd()
    wait_for("posternd answers", lambda: side.status())


def back(what, seconds, act, ike):
    """Inner traffic, which never stops, is back after @act (@seconds: see wait_for()), on another IKE SA; @ike says on which it is."""
    was, t = ike(), time.monotonic()
    act()
    try:
        ok = wait_for("traffic", lambda: ping() and ike() not in (None, was), seconds)
    except testlib.Failed:
        ok = False
    print(f"     {what}: {time.monotonic() - t:.1f} s")
    check(f"{what}: inner traffic is back by itself", ok)


def strongswan_is_the_client():
    us, charon = cast.Side(net.vps, "vps"), swan.Swan(net.home, RELEASE)
    # What its documentation advises a client that is to stay up.
    conf = swan.client(net.VPS4, "keyingtries = 0", "start_action = start\n        dpd_action = restart\n        close_action = start")
    retransmits = "  retransmit_tries = 3\n  retransmit_timeout = 1"
    swan.postern_server(us)
    us.start_posternd()
    wait_for("posternd answers", lambda: us.status())
    charon.start(retransmits)
    charon.load(conf)
    require("the tunnel comes up", wait_for("up", lambda: us.up("home") and ping(), 30))

    def ike():
        return (us.peer("home").get("ike") or {}).get("spi_i")

    def restart_charon():
        charon.kill()
        charon.start(retransmits)
        charon.load(conf)
    back("strongSwan, which calls, killed", 20, restart_charon, ike)
    back("Postern, which it calls, killed", 40, lambda: kill_posternd(us), ike)


def strongswan_is_the_server():
    us, charon = cast.Side(net.home, "home"), swan.Swan(net.vps, RELEASE)
    net.vps.addr("lo", "10.99.0.1/32")
    swan.postern_client(us, net.VPS4)
    charon.start()
    charon.load(swan.server(net.VPS4))
    us.start_posternd()
    require("the tunnel comes up", wait_for("up", lambda: us.up("vps") and ping(), 30))

    def ike():
        return (us.peer("vps").get("ike") or {}).get("spi_i")

    def restart_charon():
        charon.kill()
        charon.start()
        charon.load(swan.server(net.VPS4))
    back("strongSwan, which we call, killed", 25, restart_charon, ike)
    back("Postern, which calls, killed", 20, lambda: kill_posternd(us), ike)


print("strongSwan as the", WHICH[0])
strongswan_is_the_client() if WHICH[0] == "client" else strongswan_is_the_server()
testlib.done()
