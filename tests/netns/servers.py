# SPDX-License-Identifier: GPL-3.0-or-later
"""A peer with two servers: two VPS with identities of their own. One dies as a whole; inner traffic goes on by the
other, and returns to the preferred one when that is back to stay. One inner TCP connection with a machine behind both
lives through all of it.
"""
import os
import re
import time

import testlib
from testlib import check, require, wait_for

VPS1, VPS2, FAR = "198.51.100.10", "198.51.100.11", "198.51.100.50"
lab, net = testlib.start(hosts=[("vps2", VPS2), ("far", FAR)])
import cast  # noqa: E402
import echo  # noqa: E402

vps, home = cast.tunnel(net, address="198.51.100.10")
two = cast.Side(net.vps2, "vps2")
two.m.run(["mkdir", "-p", "/etc/postern/keys"])
two.cli("keygen", "/etc/postern/keys/vps2.key")
two.m.write("/etc/postern/keys/home.pub", home.m.read("/etc/postern/keys/home.pub"))
home.m.write("/etc/postern/keys/vps2.pub", two.m.read("/etc/postern/keys/vps2.pub"))
two.m.write("/etc/postern/postern.conf", """[posternd]
identity = vps2.example.net
private-key = keys/vps2.key
tunnel-address = 10.99.0.1, fd99::1
[peer home]
identity = home.example.net
public-key = keys/home.pub
networks = 10.99.0.2, fd99::2
""")
vps.m.write("/etc/postern/postern.conf", vps.m.read("/etc/postern/postern.conf").replace("assign =", "networks ="))
for side in (vps, two):
    side.m.write("/etc/postern/postern.conf", side.m.read("/etc/postern/postern.conf").replace(
        "[peer home]", f"[peer home]\nlocal-ts = 10.99.0.1, fd99::1, {FAR}"))
    side.m.sysctl(net__ipv4__ip_forward=1)


def configure(how):
    home.m.write("/etc/postern/postern.conf", f"""[posternd]
identity = home.example.net
private-key = keys/home.key
tunnel-address = 10.99.0.2, fd99::2
[peer vps]
address = 198.51.100.10
identity = vps.example.net
public-key = keys/vps.pub
networks = {FAR}, 10.99.0.1, fd99::1
start = always
servers = {how}
[server second]
peer = vps
address = {VPS2}
identity = vps2.example.net
public-key = keys/vps2.pub
""")


def servers():
    return {s["peer"]: s for s in home.peer("vps").get("servers") or []}


def active():
    return [name for name, s in servers().items() if s["active"]]


def ping(to="10.99.0.1"):
    return net.home.run(["ping", "-c1", "-W0.3", to], check=False).returncode == 0


def die(side):
    """The machine is gone: nobody is left who could say so."""
    side.m.run(["ip", "link", "set", "wan", "down"])
    for pid in side.m.child_pids(side.d) + [side.d.pid]:
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            pass
    side.d.wait(60)


def live(side, address):
    side.m.run(["ip", "link", "set", "wan", "up"])
    side.start_posternd()
    wait_for("it answers", lambda: side.status(), 20)


def stream(seconds):
    """Pings, ten a second."""
    p = net.home.start(["ping", "-i", "0.1", "-w", str(seconds), "10.99.0.1"], log=f"ping-{time.monotonic_ns()}")
    return p


def gap(p):
    p.wait(120)
    return testlib.silence(p.log, 0.1)


vps.start_posternd()
two.start_posternd()
wait_for("both servers answer", lambda: vps.status() and two.status())
configure("standby")
home.start_posternd()
require("the tunnel comes up", wait_for("ping", ping, 20))
check("the preferred server carries, the other one stands by",
      wait_for("servers", lambda: active() == ["vps"] and servers()["vps/second"]["state"] == "standby", 10), servers())
check("the second server has heard nothing", not two.peer("home").get("ike"))
echo.serve(net.far, FAR)
echo.follow(net.far, "10.99.0.2", VPS1, VPS2)
far = echo.Connection(net.home, FAR, 3600)
events = net.home.start([testlib.POSTERN, "watch", "--json"], log="watch")

p = stream(25)
time.sleep(3)
die(vps)
check("the second server takes over", wait_for("active", lambda: active() == ["vps/second"], 20), servers())
seen = gap(p)
check("inner traffic goes on by the second server within seconds", seen is not None and seen < 15, seen)
print(f"     pause {seen:.1f} s, longest answer in inner TCP {far.longest():.1f} s")
check("the inner TCP connection goes on", far.goes_on() is not None, far.lines()[-1:])

live(vps, "198.51.100.10")
wait_for("the preferred one is up again", lambda: servers()["vps"]["state"] == "up", 30)
check("but it does not carry at once", active() == ["vps/second"], servers())
p = stream(45)
check("it does when it stays", wait_for("active", lambda: active() == ["vps"], 60), servers())
check("and the second one stands by again",
      wait_for("standby", lambda: servers()["vps/second"]["state"] == "standby", 30), servers())
seen = gap(p)
check("the way back costs nothing", seen is not None and seen < 2, seen)
check("nor the inner TCP connection, which goes on", far.goes_on() is not None, far.lines()[-1:])
time.sleep(0.5)
with open(events.log) as f:
    told = f.read()
check("others are told of one peer", '"vps"' in told and "vps/second" not in re.sub(r'"event": ?"(roam|route)[^\n]*', "", told), told)

configure("all")
home.cli("reload")
check("with servers = all both are up",
      wait_for("both", lambda: [s["state"] for s in servers().values()] == ["up", "up"], 20), servers())
check("and the preferred one carries on", active() == ["vps"] and wait_for("ping", ping), servers())
p = stream(25)
time.sleep(3)
die(vps)
check("the other one takes over", wait_for("active", lambda: active() == ["vps/second"], 20), servers())
seen = gap(p)
check("within seconds", seen is not None and seen < 15, seen)
print(f"     pause {seen:.1f} s, longest answer in inner TCP {far.longest():.1f} s")
check("the inner TCP connection goes on", far.goes_on() is not None, far.lines()[-1:])
check("one inner TCP connection lived through it all", far.alive(), far.lines()[-1:])
far.stop()
home.cli("down", "vps")
check("down means all of them", wait_for("off", lambda: {s["state"] for s in servers().values()} == {"off"}, 10), servers())
events.terminate()
testlib.done()
