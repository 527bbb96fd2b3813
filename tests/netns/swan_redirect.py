# SPDX-License-Identifier: GPL-3.0-or-later
"""IKE redirect (RFC 5685) with strongSwan. As the client it follows Postern in each of the three exchanges. As the
server it can say it within a session alone (swanctl --redirect): in IKE_SA_INIT and IKE_AUTH only a plugin of one's
own makes it, and it comes with none.

usage: swan_redirect.py [client | server [RELEASE]]; without an argument both, one lab after the other.
"""
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
VPS2 = "198.51.100.11"
lab, net = testlib.start(hosts=[("vps2", VPS2)])
import cast  # noqa: E402
import swan  # noqa: E402

RELEASE = WHICH[1] if len(WHICH) > 1 else None
two = cast.Side(net.vps2, "vps2")


def ping():
    return net.home.run(["ping", "-c1", "-W0.3", "10.99.0.1"], check=False).returncode == 0


def client():
    one, charon = cast.Side(net.vps, "vps"), swan.Swan(net.home, RELEASE)
    print("strongSwan", charon.version())
    for side, other in ((one, VPS2), (two, net.VPS4)):
        swan.postern_server(side, f"redirect-to = {other}")
        side.start_posternd()
    wait_for("both servers answer", lambda: one.status() and two.status())
    charon.start()
    charon.load(swan.client(net.VPS4))

    def initiate():
        charon.ctl("--initiate", "--child", "net", "--timeout", "8", check=False)

    def at(side, seconds=15):
        try:
            wait_for("it is there", lambda: (side.up("home") and ping()) or charon.p.poll() is not None, seconds)
        except testlib.Failed:
            return False
        return charon.p.poll() is None

    def hang_up():
        charon.ctl("--terminate", "--ike", "net", "--timeout", "5", check=False)
        wait_for("it is gone", lambda: not one.up("home") and not two.up("home"), 15)

    one.cli("drain")
    initiate()
    check("IKE_SA_INIT: strongSwan follows", at(two), charon.sas())
    check("and the first server took nobody in", not one.peer("home").get("ike"), one.peer("home"))
    one.cli("drain", "--off")
    two.cli("drain")
    check("INFORMATIONAL: strongSwan follows", at(one), charon.sas())
    check("and has left the other", wait_for("left", lambda: not two.peer("home").get("ike"), 15), two.peer("home"))
    two.cli("drain", "--off")
    hang_up()
    swan.postern_server(one, peer=f"redirect-to = {VPS2}")
    one.cli("reload")
    size = charon.log_size()
    initiate()
    # 5.9.8 follows, frees something twice while it does, and is aborted by its C library: that is as far as it can be seen.
    check("IKE_AUTH: strongSwan follows", at(two) or (charon.version() == "5.9.8" and charon.p.poll() is not None and
          f"initiating IKE_SA net[3] to {VPS2}" in charon.log(size)), charon.log(size)[-1500:])
    check("it was told there and not before", "sent elsewhere" in open(one.d.log).read() and
          "IKE_AUTH response 1 [ IDr AUTH N(REDIR) ]" in charon.log(size), charon.log(size)[-1500:])
    check("and the first server keeps nothing of it", wait_for("left", lambda: not one.peer("home").get("ike"), 15))
    if charon.p.poll() is not None:
        print("     charon ended:", charon.log(size).strip().split("\n")[-1])
        net.home.run(["rm", "-f", "/run/charon.vici", "/run/charon.pid"])
    else:
        hang_up()
    # One that does not follow is served where it calls, and gets no answer from who drains.
    charon.start(extra="  follow_redirects = no")
    charon.load(swan.client(net.VPS4))
    initiate()
    check("one that does not follow is served by the first", at(one), charon.sas())
    hang_up()
    one.cli("drain")
    initiate()
    check("and not taken in while that drains", not one.up("home") and not two.up("home"))


def server():
    home, charon = cast.Side(net.home, "home"), swan.Swan(net.vps, RELEASE)
    print("strongSwan", charon.version())
    net.vps.addr("lo", "10.99.0.1/32")
    swan.postern_client(home, net.VPS4)
    swan.postern_server(two)
    charon.start()
    charon.load(swan.server(net.VPS4))
    two.start_posternd()
    wait_for("the other server answers", lambda: two.status())
    home.start_posternd()
    require("the tunnel comes up at strongSwan", wait_for("up", lambda: home.up("vps") and ping(), 30))
    p = net.home.start(["ping", "-i", "0.1", "-w", "10", "10.99.0.1"], log="ping")
    time.sleep(1)
    charon.ctl("--redirect", "--ike", "net", "--gateway", VPS2)
    check("INFORMATIONAL: Postern follows strongSwan", wait_for("there", lambda: two.up("home") and ping(), 15), home.peer("vps"))
    check("and has left it", wait_for("left", lambda: "ESTABLISHED" not in charon.sas(), 15), charon.sas())
    p.wait(60)
    gap = testlib.silence(p.log, 0.1)
    check("without more than a moment's pause", gap is not None and gap < 2, gap)
    print(f"     pause {gap} s")


client() if WHICH[0] == "client" else server()
testlib.done()
