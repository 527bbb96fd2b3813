# SPDX-License-Identifier: GPL-3.0-or-later
"""postern drain: a VPS sends its homes to another one (RFC 5685), those that are here and those that call; a home goes
there without a break, and no further than it should. Inner TCP with a machine behind both lives through it; with the
VPS itself it cannot.
"""
import time

import testlib
from testlib import check, require, wait_for

VPS2, FAR = "198.51.100.11", "198.51.100.50"
lab, net = testlib.start(hosts=[("vps2", VPS2), ("far", FAR)])
import cast  # noqa: E402
import echo  # noqa: E402
from lab import Internet as I  # noqa: E402

vps, home = cast.tunnel(net, extra=f"redirect-to = {VPS2}", address=I.VPS4)
home.m.write("/etc/postern/postern.conf", home.m.read("/etc/postern/postern.conf").replace(
    "networks = 10.99.0.1", f"networks = {FAR}, 10.99.0.1").replace(f"redirect-to = {VPS2}\n", ""))
vps.m.write("/etc/postern/postern.conf", vps.m.read("/etc/postern/postern.conf").replace(
    "[peer home]", f"[peer home]\nlocal-ts = 10.99.0.1, fd99::1, {FAR}"))
two = cast.Side(net.vps2, "vps2")
# The other gateway is the same peer: same identity, same key, same address for the home.
two.m.run(["mkdir", "-p", "/etc/postern/keys"])
two.m.write("/etc/postern/keys/vps.key", vps.m.read("/etc/postern/keys/vps.key"), mode=0o600)
two.m.write("/etc/postern/keys/home.pub", home.m.read("/etc/postern/keys/home.pub"))
two.m.write("/etc/postern/postern.conf", vps.m.read("/etc/postern/postern.conf").replace(
    f"redirect-to = {VPS2}", f"redirect-to = {I.VPS4}"))


def ping(to="10.99.0.1"):
    return net.home.run(["ping", "-c1", "-W0.3", to], check=False).returncode == 0


def at(address):
    return (home.peer("vps").get("endpoint") or "").startswith(address + ":") and home.up("vps")


def kill_child(side):
    """kill -9 of the process that moves packets, until its parent has started it anew."""
    side.kill_process("child")
    wait_for("it answers", side.status)


def draining(side):
    return (side.status().get("drain") or {}).get("on")


def there(*addresses, seconds=20):
    try:
        return wait_for(f"home is at {' or '.join(addresses)}", lambda: any(map(at, addresses)), seconds)
    except testlib.Failed:
        return False


vps.start_posternd()
two.start_posternd()
wait_for("both answer", lambda: vps.status() and two.status())
home.start_posternd()
require("the tunnel comes up at the first", wait_for("ping", ping, 20) and there(I.VPS4))
for side in (vps, two):
    side.m.sysctl(net__ipv4__ip_forward=1)
echo.serve(net.far, FAR)
echo.serve(net.vps, "10.99.0.1")
echo.follow(net.far, "10.99.0.2", I.VPS4, VPS2)

# --- in a session: the home goes, and takes its connections along
p = net.home.start(["ping", "-i", "0.1", "-w", "12", "10.99.0.1"], log="ping")
far, near = echo.Connection(net.home, FAR, 3600), echo.Connection(net.home, "10.99.0.1", 3600)
time.sleep(1)
vps.cli("drain")
check("the home is sent to the other gateway", there(VPS2), home.peer("vps"))
check("inner traffic passes there", wait_for("ping", ping, 10))
check("the first one has no IKE SA with it any more",
      wait_for("gone", lambda: not vps.peer("home").get("ike"), 10), vps.peer("home"))
check("and says how far it is", wait_for("told", lambda: [(vps.status().get("drain") or {}).get(w) for w in ("told", "left")] == [1, 0]),
      vps.status().get("drain"))
p.wait(60)
gap = testlib.silence(p.log, 0.1)
check("the way costs no more than a moment", gap is not None and gap < 2, gap)
print(f"     pause {gap} s")
check("inner TCP with a machine behind both lives through it", far.goes_on() is not None, far.lines()[-1:])
print(f"     longest answer in it {far.longest():.2f} s")
check("inner TCP with the first VPS itself does not: the other has no such connection", wait_for("its end", lambda: not near.alive(), 40))
far.stop()

# --- the process that moves packets is lost meanwhile: the drain goes on
kill_child(vps)
check("a drain outlives that process", wait_for("drain", lambda: draining(vps) is True, 10), vps.status().get("drain"))

# --- who calls is sent in place of an answer with keys
home.cli("down", "vps")
home.cli("up", "vps")
check("a home that calls again begins where it is", there(VPS2, I.VPS4), home.peer("vps"))
home.d.terminate()
home.d.wait(60)
home.start_posternd()
check("after its own start it calls the first, and is sent on", there(VPS2), home.peer("vps"))
check("the first one took nobody in", not vps.peer("home").get("ike"), vps.peer("home"))

# --- both drain, and send it to each other: that ends, and it stays where it is
two.cli("drain")


def sent_elsewhere():
    with open(home.d.log) as f:
        return f.read().count("sent elsewhere")


wait_for("it was sent to and fro", lambda: sent_elsewhere() >= 2)
time.sleep(8)
sent = sent_elsewhere()
check("two gateways that send it to each other are not followed for ever", 2 <= sent < 12, sent)
check("and it stays up", wait_for("ping", lambda: home.up("vps") and ping()), home.peer("vps"))
vps.cli("drain", "--off")
two.cli("drain", "--off")
kill_child(vps)
check("and so does its end", wait_for("no drain", lambda: draining(vps) is False), vps.status().get("drain"))

# --- without redirect-to, and from a home that does not follow: no answer
home.m.write("/etc/postern/postern.conf", home.m.read("/etc/postern/postern.conf") + "redirect = ignore\n")
home.cli("reload")
check("a home that does not follow stays up", wait_for("ping", ping, 20))
home.cli("down", "vps")
wait_for("down", lambda: not home.up("vps"))
vps.cli("drain")
home.cli("up", "vps")
time.sleep(5)  # by then it is tried by TCP as well
check("and is not taken in while the gateway drains", not home.up("vps") and not vps.peer("home").get("ike"),
      home.peer("vps"))
vps.cli("drain", "--off")
check("but is when that is over", wait_for("ping", ping, 20))
testlib.done()
