# SPDX-License-Identifier: GPL-3.0-or-later
"""Behind worse NATs: one that is restarted, mappings that die under load whatever passes, a neighbour with the same
private subnet and the same source port, another NAT behind the first.
"""
import threading
import time

import testlib
from testlib import answered, best, case, check, require, wait_for

lab, net = testlib.start(wire=True)
import cast  # noqa: E402
import cgnat  # noqa: E402

nat = cgnat.model(net, lifetime=40)
vps, home = cast.tunnel(net, home_extra="port = 4500\n")


def ping(to="10.99.0.1", m=net.home, wait="1"):
    return m.run(["ping", "-c1", f"-W{wait}", to], check=False).returncode == 0


vps.start_posternd()
wait_for("posternd answers", lambda: vps.status())
home.start_posternd()
require("the tunnel comes up", wait_for("ping", ping, 20))

# --- the NAT is restarted while nothing passes: half of the silence from then on, and both sides know of it
time.sleep(11)  # all questions after a start are answered
wait_for("a keepalive", lambda: vps.peer("home")["heard_age_s"] < 1, 30, 0.2)
nat.lifetime(120).rebind()
wait_for("the VPS sees another port", lambda: vps.peer("home")["moves"] > 0, 30, 0.2)
wait_for("home learns of it", lambda: home.peer("vps")["keepalive"]["interval_s"] < 15, 10)
known = home.peer("vps")["keepalive"]
check("half of the silence", 5 <= known["interval_s"] <= 8 and not known["rebinding"], known)
known = vps.peer("home")["keepalive"]
check("the VPS remembers after which silence", known["rebind_gap_s"] > 5, known)

# --- 90: mappings die every 2 to 3 s, whatever passes; 50 Mbit/s for the home
net.wire.set(delay=10)
SINK = """
import socket, sys, time
s = socket.create_server(("10.99.0.2", 5001)); c, _ = s.accept()
c.settimeout(20); last = time.monotonic(); worst = total = 0; began = last
while True:
    try:
        n = len(c.recv(1 << 16))
    except TimeoutError:
        break
    now = time.monotonic()
    if not n:
        break
    if now - began > 1:
        worst = max(worst, now - last)
    last, total = now, total + n
print(worst, total * 8 / 1e6 / (last - began))
"""
SOURCE = """
import socket, sys, time
c = socket.create_connection(("10.99.0.2", 5001)); c.settimeout(60)
chunk, end, due = bytes(31250), time.monotonic() + float(sys.argv[1]), time.monotonic()
while due < end:
    c.sendall(chunk); due += 0.005
    time.sleep(max(0, due - time.monotonic()))
"""


def load(seconds):
    """50 Mbit/s of TCP from the VPS: the longest pause at home, and Mbit/s."""
    out = []
    sink = threading.Thread(target=lambda: out.append(net.home.python(SINK, timeout=180).stdout))
    sink.start()
    wait_for("the sink listens", lambda: ":5001" in net.home.run(["ss", "-Hlnt"]).stdout, 10)
    net.vps.python(SOURCE, str(seconds), timeout=180)
    sink.join()
    return [float(x) for x in out[0].split()]


def dying():
    """(longest pause, that without mappings that die, how many died, moves of the VPS)"""
    calm, _ = load(4)
    moves = vps.peer("home")["moves"]
    nat.absolute(2, 3)
    worst, rate = load(12)
    nat.stop()
    moved = vps.peer("home")["moves"] - moves
    print(f"     {rate:.0f} Mbit/s, {nat.deaths} mappings died, {moved} moves; longest pause {worst * 1000:.0f} ms, "
          f"{calm * 1000:.0f} ms without")
    return worst, calm, nat.deaths, moved


def nothing_stalled(seen):
    worst, calm, deaths, moved = seen
    return deaths >= 3 and moved >= 3 and worst <= 0.3 + calm


seen = best(dying, nothing_stalled)
case("ike_case_090_an_absolute_lifetime_under_load_stalls_nothing", nothing_stalled(seen), seen)
known = home.peer("vps")["keepalive"]
check("it is known for what it is", known["rebinding"] and known["interval_s"] == 15, known)
net.wire.reset()

# --- 91: a neighbour in the same private subnet, with the same source port
second = nat.client("home2")
other = cast.Side(second, "home2")
second.write("/etc/hosts", f"127.0.0.1 localhost home2\n{cast.I.VPS4} vps.example.net\n")
second.run(["mkdir", "-p", "/etc/postern/keys"])
other.cli("keygen", "/etc/postern/keys/home.key")
vps.m.write("/etc/postern/keys/home2.pub", second.read("/etc/postern/keys/home.pub"))
second.write("/etc/postern/keys/vps.pub", home.m.read("/etc/postern/keys/vps.pub"))
second.write("/etc/postern/postern.conf",
             home.m.read("/etc/postern/postern.conf").replace("home.example.net", "home2.example.net"))
vps.m.write("/etc/postern/postern.conf", vps.m.read("/etc/postern/postern.conf") + """
[peer home2]
identity = home2.example.net
public-key = keys/home2.pub
assign = 10.99.0.3, fd99::3
""")
vps.cli("reload")
other.start_posternd()
wait_for("the neighbour's tunnel", lambda: ping(m=second), 20)
ways = ((net.home, "10.99.0.1"), (second, "10.99.0.1"), (net.vps, "10.99.0.2"), (net.vps, "10.99.0.3"))
# A mapping that died last, after the load, lets the first packet of home be answered to where it was.
both = best(lambda: [ping(to, m, "5") for m, to in ways for _ in range(2)], all)
ends = [vps.peer(n)["endpoint"] for n in ("home", "home2")]
local = [s.peer("vps")["local"] for s in (home, other)]
case("ike_case_091_two_clients_behind_one_nat_with_the_same_port_both_work",
     all(both) and ends[0] != ends[1] and local == ["100.64.0.2:4500", "100.64.0.3:4500"], (both, ends, local))

# --- two NATs in a row, of which the far one rebinds
far = nat.second(lifetime=40)
wait_for("through both", ping, 20)
time.sleep(1.5)  # one move a second
before = vps.peer("home")["endpoint"]
far.rebind()
ping()  # its answer may be on its way to the old port already
check("one packet, and the VPS has another port", wait_for("it", lambda: vps.peer("home").get("endpoint") not in (None, before)), before)
check("where the way back is", answered(net.vps, "10.99.0.2") and answered(net.home, "10.99.0.1"))
testlib.done()
