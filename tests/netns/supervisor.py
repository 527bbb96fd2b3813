# SPDX-License-Identifier: GPL-3.0-or-later
"""What a supervisor does with real processes: on demand and back to sleep, a boot long before the network, a way that
carries one direction alone, a machine that slept while its carrier forgot it.
"""
import os
import signal
import time

import testlib
from testlib import case, check, require, wait_for

lab, net = testlib.start(wire=True)
import cast  # noqa: E402

vps, home = cast.tunnel(net, peer="inactivity = 10s")
conf = home.m.read("/etc/postern/postern.conf")
on_demand = conf.replace("start = always", "start = on-demand")


def ping(to="10.99.0.1", m=net.home, wait="0.3"):
    return m.run(["ping", "-c1", f"-W{wait}", to], check=False).returncode == 0


def took(what, probe, seconds):
    began = time.monotonic()
    wait_for(what, probe, seconds, 0.05)
    return time.monotonic() - began


def pids(side):
    return [side.d.pid] + side.m.child_pids(side.d)


# --- inactivity without on-demand is refused, with the line
bad = home.cli("check", "/etc/postern/postern.conf", check=False)
check("inactivity with start = always is refused, with its line", bad.returncode and "inactivity" in bad.stdout, bad.stdout)

# --- on demand
home.m.write("/etc/postern/postern.conf", on_demand)
vps.start_posternd()
wait_for("posternd answers", lambda: vps.status())
home.start_posternd()
wait_for("posternd answers", lambda: home.status())
time.sleep(3)
check("on demand nothing is called before a packet", home.peer("vps")["state"] == "idle", home.peer("vps")["state"])
out = home.m.run(["ping", "-c4", "-i3", "-W3", "10.99.0.1"], check=False).stdout
lost = 4 - out.count("bytes from")
require("the first packet calls, at most it is lost", lost <= 1, out)
check("while somebody sends it stays", home.up("vps") and vps.up("home"))
end = time.monotonic() + 12
while time.monotonic() < end:
    ping()
    time.sleep(1)
check("longer than the time-out", home.up("vps") and home.peer("vps")["ups"] == 1, home.peer("vps")["ups"])
took("idle", lambda: home.peer("vps")["state"] == "idle", 40)
check("without packets it is closed on both sides", wait_for("waiting", lambda: vps.peer("home")["state"] == "waiting", 10))
out = home.m.run(["ping", "-c4", "-i3", "-W3", "10.99.0.1"], check=False).stdout
check("and the next packet brings it back", 4 - out.count("bytes from") <= 1, out)
home.d.terminate()
home.d.wait(60)

# --- a boot without a network
home.m.write("/etc/postern/postern.conf", conf.replace("inactivity = 10s", ""))
home.m.run(["ip", "link", "set", "wan", "down"])
home.start_posternd()
wait_for("posternd answers", lambda: home.status())
time.sleep(10)
home.m.run(["ip", "link", "set", "wan", "up"])
home.m.run(["ip", "route", "replace", "default", "via", "100.64.0.1"])
seconds = took("ping", ping, 60)
case("ike_case_098_a_boot_without_a_network_is_up_soon_after_it_comes", seconds < 15, f"{seconds:.2f} s")
print(f"     {seconds:.2f} s")

# --- one direction is lost: both sides see it, and that it is over
for way, name in (("b2a", "ike_case_094_packets_lost_to_the_home_are_seen_by_both"),
                  ("a2b", "ike_case_094_packets_lost_from_the_home_are_seen_by_both")):
    traffic = [home.m.start(["ping", "-q", "-i", "0.5", "10.99.0.1"]),
               vps.m.start(["ping", "-q", "-i", "0.5", "10.99.0.2"])]
    time.sleep(2)
    net.wire.set(way, cut=1)
    began = time.monotonic()
    wait_for("both are silent", lambda: home.peer("vps")["state"] == "silent" and vps.peer("home")["state"] == "silent", 90, 0.2)
    seconds = time.monotonic() - began
    net.wire.reset()
    again = took("ping both ways", lambda: ping() and ping("10.99.0.2", net.vps), 60)
    wait_for("both know", lambda: home.up("vps") and vps.up("home"), 30)
    case(name, seconds < 60 and again < 15, (seconds, again))
    print(f"     seen after {seconds:.1f} s, mended after {again:.2f} s")
    for t in traffic:
        t.terminate()

# --- the machine sleeps, and its carrier forgets it
for p in pids(home):
    os.kill(p, signal.SIGSTOP)
net.nat_rebind()
time.sleep(12)
for p in reversed(pids(home)):
    os.kill(p, signal.SIGCONT)
seconds = took("ping from the VPS", lambda: ping("10.99.0.2", net.vps), 60)
case("ike_case_095_after_sleep_the_far_side_reaches_us_at_once", seconds < 15, f"{seconds:.2f} s")
print(f"     {seconds:.2f} s")
testlib.done()
