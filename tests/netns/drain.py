# SPDX-License-Identifier: GPL-3.0-or-later
"""postern drain: a VPS sends its homes to another one (RFC 5685), those that are here and those that call; a home goes
there without a break, and no further than it should.
"""
import time

import testlib
from testlib import check, require, wait_for

VPS2 = "198.51.100.11"
lab, net = testlib.start(hosts=[("vps2", VPS2)])
import cast  # noqa: E402
from lab import Internet as I  # noqa: E402

vps, home = cast.tunnel(net, extra=f"redirect-to = {VPS2}", address=I.VPS4)
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


def there(address, seconds=20):
    try:
        return wait_for(f"home is at {address}", lambda: at(address), seconds)
    except testlib.Failed:
        return False


vps.start_posternd()
two.start_posternd()
wait_for("both answer", lambda: vps.status() and two.status())
home.start_posternd()
require("the tunnel comes up at the first", wait_for("ping", ping, 20) and there(I.VPS4))

# --- in a session: the home goes, and takes its connections along
p = net.home.start(["ping", "-D", "-i", "0.1", "-w", "12", "10.99.0.1"], log="ping")
time.sleep(1)
vps.cli("drain")
check("the home is sent to the other gateway", there(VPS2), home.peer("vps"))
check("inner traffic passes there", wait_for("ping", ping, 10))
check("the first one has no IKE SA with it any more",
      wait_for("gone", lambda: not vps.peer("home").get("ike"), 10), vps.peer("home"))
check("and says how far it is", (vps.status().get("drain") or {}).get("told") == 1 and vps.status()["drain"]["left"] == 0,
      vps.status().get("drain"))
p.wait(60)
with open(p.log) as f:
    times = [float(line[1:line.index("]")]) for line in f if "bytes from" in line]
gap = max(b - a for a, b in zip(times, times[1:]))
check("the way costs no more than a moment", gap < 2, gap)
print(f"     pause {gap:.2f} s")

# --- who calls is sent in place of an answer with keys
home.cli("down", "vps")
home.cli("up", "vps")
check("a home that calls again begins where it is", there(VPS2) or there(I.VPS4), home.peer("vps"))
home.d.terminate()
home.d.wait(20)
home.start_posternd()
check("after its own start it calls the first, and is sent on", there(VPS2), home.peer("vps"))
check("the first one took nobody in", not vps.peer("home").get("ike"), vps.peer("home"))

# --- both drain, and send it to each other: that ends, and it stays where it is
two.cli("drain")
time.sleep(8)
with open(home.d.log) as f:
    sent = f.read().count("sent elsewhere")
check("two gateways that send it to each other are not followed for ever", 2 <= sent < 12, sent)
check("and it stays up", home.up("vps") and wait_for("ping", ping, 10), home.peer("vps"))
vps.cli("drain", "--off")
two.cli("drain", "--off")

# --- without redirect-to, and from a home that does not follow: no answer
home.m.write("/etc/postern/postern.conf", home.m.read("/etc/postern/postern.conf") + "redirect = ignore\n")
home.cli("reload")
check("a home that does not follow stays up", wait_for("ping", ping, 20))
home.cli("down", "vps")
wait_for("down", lambda: not home.up("vps"))
vps.cli("drain")
home.cli("up", "vps")
time.sleep(5)
check("and is not taken in while the gateway drains", not home.up("vps") and not vps.peer("home").get("ike"),
      home.peer("vps"))
vps.cli("drain", "--off")
check("but is when that is over", wait_for("ping", ping, 20))
testlib.done()
