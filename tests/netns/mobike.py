# SPDX-License-Identifier: GPL-3.0-or-later
"""MOBIKE (RFC 4555): home moves between its line behind the carrier's NAT and one with an address of its own; the
IKE SA, the virtual address and an inner TCP connection live through it.

usage: mobike.py [postern | client | server [RELEASE]]	Postern on both sides, or strongSwan as the client or as the
server (of that Debian release); without an argument all three, one lab after the other.
"""
import re
import subprocess
import sys
import time

WHICH = sys.argv[1:] or None
if not WHICH:
    results = [subprocess.run([sys.executable, __file__, which]).returncode for which in ("postern", "client", "server")]
    sys.exit(1 if any(r not in (0, 77) for r in results) else 77 if all(r == 77 for r in results) else 0)

import testlib  # noqa: E402
from testlib import case, check, require, wait_for  # noqa: E402

if WHICH[0] != "postern":
    testlib.need_scratch()
lab, net = testlib.start()
import cast  # noqa: E402
import echo  # noqa: E402
import swan as swanlib  # noqa: E402

ALT = "198.51.100.77"
lab.plug(net.wan, net.home, "alt")  # home's second line: an address of its own, no NAT
net.home.run(["ip", "link", "set", "alt", "down"])

def ping(m, to):
    return m.run(["ping", "-c1", "-W0.5", to], check=False).returncode == 0


def to_alt():
    net.home.run(["sh", "-c", f"ip link set alt up; ip addr add {ALT}/24 dev alt; ip link set wan down"])


def to_wan():
    net.home.run(["sh", "-c", "ip link set wan up; ip route add default via 100.64.0.1; ip addr flush dev alt; ip link set alt down"])


def moves(p, same, where, sees_home_at):
    """There and back, twice; @same gives what must not change, @sees_home_at where the server has home."""
    was = same()
    for move, name, at in ((to_alt, "the line with its own address", ALT), (to_wan, "the line behind the NAT", net.NAT4)) * 2:
        move()
        took = p.goes_on()
        print(f"     {name}: inner TCP goes on after {took if took is None else round(took, 2)} s")
        check(f"{where}: inner TCP lives through the move to {name}", took is not None)
        check(f"{where}: the server has home at {at}", wait_for("moved", lambda: at in sees_home_at(), 10), sees_home_at())
        time.sleep(1.2)  # more moves a second than that are no user's
    check(f"{where}: IKE SA and addresses are the same", same() == was, (was, same()))


def rebind(p, where, same):
    was = same()
    net.nat_rebind()
    took = p.goes_on(40)
    print(f"     NAT rebind: inner TCP goes on after {took if took is None else round(took, 2)} s")
    check(f"{where}: inner TCP lives through a new NAT mapping", took is not None)
    check(f"{where}: by the same IKE SA", same() == was, (was, same()))


def home_addresses():
    return sorted(w.split("/")[0] for w in net.home.run(["ip", "-o", "addr"]).stdout.split() if w.startswith(("10.99.", "fd99:")))


MORE = "198.51.100.12"


def tells(m, where, other_knows):
    """@m gets one more address and loses it, and some that are for nobody; @other_knows gives what the other side was told."""
    dev = m.run(["sh", "-c", "ip -o route get 198.51.100.1 | sed 's/.* dev \\([^ ]*\\).*/\\1/'"]).stdout.strip()
    m.run(["sh", "-c", f"set -e; ip link add gone type veth peer name gone2; ip addr add 198.51.100.13/32 dev gone; ip addr add 2001:db8:ffff::7/128 dev {dev} preferred_lft 0 nodad; "
           f"ip link add lonely type veth peer name lonely2; ip link set lonely up; ip link set lonely2 up; ip addr add 10.55.0.1/24 dev lonely; ip addr add {MORE}/32 dev {dev}"])
    check(f"{where}: a further address is told", wait_for(MORE, lambda: MORE in other_knows(), 10), other_knows())
    said = str(other_knows())
    check(f"{where}: but none that is down, deprecated, or private and leads nowhere",
          not any(a in said for a in ("198.51.100.13", "2001:db8:ffff::7", "10.55.0.1")), said)
    m.run(["sh", "-c", f"ip addr del {MORE}/32 dev {dev}; ip addr del 2001:db8:ffff::7/128 dev {dev}; ip link del gone; ip link del lonely"])


# ---- Postern on both sides

def posterns():
    vps, home = cast.tunnel(net)
    vps.start_posternd()
    wait_for("posternd on the VPS answers", lambda: vps.status())
    home.start_posternd()
    require("the tunnel comes up", wait_for("up", lambda: vps.up("home") and ping(net.home, "10.99.0.1"), 20))
    tells(net.vps, "two Posterns", lambda: home.peer("vps").get("elsewhere", []))
    check("two Posterns: and told again when it is gone", wait_for("gone", lambda: MORE not in home.peer("vps").get("elsewhere", []), 10), home.peer("vps").get("elsewhere"))
    echo.serve(net.vps, "10.99.0.1")
    p = echo.Connection(net.home, "10.99.0.1", 3600)
    moves(p, lambda: (home.peer("vps")["ike"]["spi_i"], home_addresses()), "two Posterns",
          lambda: str(vps.peer("home").get("ike", {})) + str(vps.peer("home").get("endpoint", "")))
    mode = net.vps.run(["stat", "-c", "%a %U", "/var/lib/postern/qcd.secret"]).stdout.strip()
    check("the secret of RFC 6290 is for root alone", mode == "600 root", mode)
    # Started anew without a word, and the last endpoints forgotten: ESP that it does not know is told, the
    # question is answered with the token, and home calls.
    for what, state in (("killed", False), ("killed, its last endpoints lost", True)):
        ike = home.peer("vps")["ike"]["spi_i"]
        vps.d.kill()
        vps.d.wait()
        wait_for("all of it ended", lambda: not net.vps.run(["pgrep", "-f", "posternd"], check=False).stdout.strip() or True)
        if state:
            net.vps.run(["sh", "-c", "rm -f /var/lib/postern/child.*"])
        vps.start_posternd()
        wait_for("posternd on the VPS answers", lambda: vps.status())
        t = time.monotonic()
        back = wait_for("home is back", lambda: ping(net.home, "10.99.0.1") and home.up("vps") and
                        home.peer("vps")["ike"]["spi_i"] != ike, 30)
        took = time.monotonic() - t
        print(f"     VPS {what}: back after {took:.2f} s")
        check(f"the server {what}: home is back", back and took < 15, took)
        if state:
            said = open(home.d.log).read()
            check("by the proof of its token", "proves it by its token" in said)
            case("ike_case_092_a_server_that_forgot_all_is_called_at_once", took < 15, took)
    check("one inner connection lived through it all", p.goes_on() is not None, p.lines()[-2:])
    p.stop()


# ---- strongSwan

def swan(side):
    """strongSwan is the client (at home) or the server (the VPS)."""
    release = WHICH[1] if len(WHICH) > 1 else None
    ours, theirs = (net.vps, net.home) if side == "client" else (net.home, net.vps)
    charon = swanlib.Swan(theirs, release)
    print("strongSwan", charon.version())
    us = cast.Side(ours, "vps" if side == "client" else "home")
    if side == "client":
        swanlib.postern_server(us)
        us.start_posternd()
        wait_for("posternd answers", lambda: us.status())
        charon.start()
        charon.load(swanlib.client(net.VPS4))
        charon.ctl("--initiate", "--child", "net", check=False)
    else:
        net.vps.addr("lo", "10.99.0.1/32")
        swanlib.postern_client(us, net.VPS4)
        charon.start()
        charon.load(swanlib.server(net.VPS4))
        us.start_posternd()
    peer = "home" if side == "client" else "vps"
    require("the tunnel comes up", wait_for("up", lambda: us.up(peer) and ping(net.home, "10.99.0.1"), 30))
    tells(ours, f"strongSwan is the {side}", lambda: re.findall(r"got additional MOBIKE peer address: (\S+)", charon.log()))
    echo.serve(net.vps, "10.99.0.1")
    p = echo.Connection(net.home, "10.99.0.1", 3600)

    def at():
        return (str(us.peer("home")) if side == "client" else charon.sas())
    where = f"strongSwan is the {side}"
    moves(p, lambda: (us.peer(peer)["ike"]["spi_i"], home_addresses()), where, at)
    rebind(p, where, lambda: us.peer(peer)["ike"]["spi_i"])
    check(f"{where}: MOBIKE it was", "MOBIKE" in charon.log())
    p.stop()


posterns() if WHICH[0] == "postern" else swan(WHICH[0])
testlib.done()
