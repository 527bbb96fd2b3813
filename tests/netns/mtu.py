# SPDX-License-Identifier: GPL-3.0-or-later
"""The path between home and the VPS gets smaller under a running TCP connection, with ICMP and without, in both
directions and in one; what does not fit is answered with the right number; and the path grows again.
"""
import json
import sys
import time

import testlib
from testlib import best, case, check, require, wait_for

lab, net = testlib.start(wire=True)
import cast  # noqa: E402

vps, home = cast.tunnel(net)
vps.start_posternd()
home.start_posternd()

# Sends as fast as it can, 20 Mbit/s at most by the wire; the sink tells the time of everything that comes.
SOURCE = """import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
while True:
    s.sendall(b'x' * 16384)
"""
SINK = """import json, socket, sys, time
l = socket.create_server((sys.argv[1], int(sys.argv[2])))
c, _ = l.accept()
total = 0
with open(sys.argv[3], 'w', buffering=1) as out:
    last = 0
    while True:
        n = len(c.recv(65536))
        if not n:
            break
        total += n
        now = time.monotonic()
        if now - last > 0.02:
            out.write('%.3f %d\\n' % (now, total))
            last = now
"""


def ping(m, to, size, *args, count=3):
    """More than one, as the queue in the wire that flows leave behind takes no more for a moment: 4 % of the pings beside
    them are lost there. Any answer makes the return code 0."""
    return m.run(["ping", f"-c{count}", "-i0.2", "-W3", "-s", str(size), *args, to], check=False)


def mtu(side, peer):
    return side.peer(peer).get("mtu") or {}


def path(side, peer):
    return mtu(side, peer).get("path")


class Flow:
    """One TCP connection through the tunnel; its arrivals on a clock that all machines share."""

    def __init__(self, src, dst, to, port):
        self.name = f"flow-{port}"
        self.dst, self.file = dst, f"/run/{self.name}"
        self.sink = dst.m.start([sys.executable, "-c", SINK, to, port, self.file], log=self.name + "-sink")
        wait_for("the sink listens", lambda: f":{port} " in dst.m.run(["ss", "-ltnH"]).stdout)
        self.source = src.m.start([sys.executable, "-c", SOURCE, to, port], log=self.name)
        wait_for("bytes flow", lambda: self.arrivals(), 20)

    def arrivals(self):
        p = self.dst.m.run(["cat", self.file], check=False)
        out = []
        for line in p.stdout.splitlines():
            w = line.split()
            if p.returncode == 0 and len(w) == 2:
                out.append((float(w[0]), int(w[1])))
        return out

    def stall(self, since, settle=2.0, limit=60.0):
        """The longest pause in what arrives from @since on, seen once it flows again for @settle seconds; None: it
        did not within @limit."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            times = [since] + [t for t, _ in self.arrivals() if t > since]
            gaps = [b - a for a, b in zip(times, times[1:])]
            if gaps and time.monotonic() - since > settle and max(gaps) < time.monotonic() - since - settle \
                    and time.monotonic() - times[-1] < 0.5 and self.flows_since(times, max(gaps), settle):
                return max(gaps)
            time.sleep(0.2)
        return None

    @staticmethod
    def flows_since(times, longest, settle):
        """Nothing like a stall in the last @settle seconds."""
        late = [t for t in times if t > times[-1] - settle]
        return len(late) > 10 and all(b - a <= max(longest, 0.5) for a, b in zip(late, late[1:]))

    def stop(self):
        self.source.kill()
        self.sink.kill()


wait_for("the tunnel is up", lambda: home.up("vps") and vps.up("home") and ping(net.home, "10.99.0.1", 56).returncode == 0, 40)
wait_for("the path was probed", lambda: mtu(home, "vps").get("last_probe_s") is not None
         and mtu(vps, "home").get("last_probe_s") is not None, 20)
check("a path of 1500 is found to be one, from both ends", wait_for("1500", lambda: path(home, "vps") == 1500 == path(vps, "home")),
      (mtu(home, "vps"), mtu(vps, "home")))
check("and what fits into it is told", mtu(home, "vps").get("inner") == 1438, mtu(home, "vps"))

net.wire.set("both", delay=10, rate=20e6, queue=100000)
flow = Flow(home, vps, "10.99.0.1", 7001)
back = Flow(vps, home, "10.99.0.2", 7002)
time.sleep(2)

# --- ike.md case 110: in mid-flow, in silence and with errors
def widen():
    """The path is large again: a new tunnel begins with what its first link takes, and proves it."""
    net.wire.set("both", mtu=0)
    home.cli("down", "vps")
    home.cli("up", "vps")
    wait_for("1500 again", lambda: path(home, "vps") == 1500 == path(vps, "home"), 30)
    wait_for("and data flows", lambda: flow.stall(time.monotonic(), settle=1.0, limit=6.0) is not None, 20)


def shrink(size, icmp):
    """The longest pauses there and back when the path takes no more than @size."""
    if path(home, "vps") <= size:
        widen()
    since = time.monotonic()
    net.wire.set("both", mtu=size, icmp=icmp)
    return flow.stall(since), back.stall(since)


def short(pauses):
    return None not in pauses and max(pauses) < 6


stalls = {}
for word, icmp in (("in silence", 0), ("with errors", 1)):
    for size in (1280, 1200):
        pauses = best(lambda: shrink(size, icmp), short)
        stalls[f"{size} {word}"] = pauses
        check(f"TCP goes on when the path shrinks to {size} {word}", None not in pauses, pauses)
        check(f"and both ends know {size}", wait_for("both have found it", lambda: (path(home, "vps"), path(vps, "home")) == (size, size)))
    if not icmp:
        widen()
print("longest pauses, s:", json.dumps({k: [v and round(v, 2) for v in s] for k, s in stalls.items()}))
case("ike_case_110_tcp_continues_when_the_path_shrinks_in_mid_flow", all(map(short, stalls.values())), stalls)
flow.stop()
back.stop()

# --- the right number, for who asks: 1200 - 28 of UDP, 32 of ESP around a multiple of four, 2 of its trailer
inner = wait_for("it is told", lambda: mtu(home, "vps").get("inner"))
check("1138 bytes fit into a path of 1200", inner == 1138, inner)
p = ping(net.home, "10.99.0.1", inner - 28, "-M", "do")
check("a ping of just that size passes", p.returncode == 0, (p.stdout, p.stderr))
p = ping(net.home, "10.99.0.1", inner - 28 + 1, "-M", "do", count=2)
told = net.home.run(["ip", "route", "get", "10.99.0.1"]).stdout  # who is refused at once tells no number since iputils 20240905
case("ike_case_110_ping_that_may_not_be_fragmented_gets_the_right_mtu",
     p.returncode != 0 and f" mtu {inner} " in told.replace("\n", " "), (p.stdout, told))
net.lan.run(["ip", "route", "replace", "10.99.0.1", "via", "192.168.7.1"])
net.home.nft("table ip fromlan {\n chain post {\n type nat hook postrouting priority 100\n"
             ' oifname "postern0" ip saddr 192.168.7.0/24 masquerade\n }\n}\n')
check("a machine behind the home reaches the VPS", ping(net.lan, "10.99.0.1", 56, count=3).returncode == 0)
p = ping(net.lan, "10.99.0.1", 1200, "-M", "do", count=2)
check("and is told the same number", f"mtu = {inner}" in p.stdout or f"mtu={inner}" in p.stdout, p.stdout)


def forget():
    """The kernels' memory of what they were told, so that the data plane has to do with it."""
    for m in (net.home, net.vps):
        m.run(["ip", "route", "flush", "cache"])


forget()
check("what may be fragmented passes in both directions, as fragments inside",
      ping(net.lan, "10.99.0.1", 1200, "-M", "dont").returncode == 0
      and ping(net.vps, "10.99.0.2", 1220, "-M", "dont").returncode == 0)
check("IPv6 of 1280 bytes, which nobody may refuse, passes though it does not fit",
      ping(net.home, "fd99::1", 1232, "-M", "do").returncode == 0)
forget()
small = Flow(home, vps, "10.99.0.1", 7005)
mss = net.home.run(["ss", "-tinH", "dport", "=", ":7005"]).stdout
check("a new connection begins with segments that fit", f" mss:{inner - 40 - 12} " in mss, mss)
small.stop()
sides = [json.loads(s.cli("status", "--counters", "--json").stdout).get("counters", {}) for s in (home, vps)]
c = {k: sum(s.get(k, 0) for s in sides) for k in sides[0]}
used = {k: c.get(k) for k in ("inner_fragmented", "outer_may_fragment", "too_big_answered", "mss_clamped", "tcp_recut")}
check("and each way of making it fit was used and counted", all(used[k] for k in list(used)[:4]), used)

# --- only one direction shrinks: the other end, which sends into it, finds out
net.wire.set("both", mtu=0)
home.cli("down", "vps")
home.cli("up", "vps")
wait_for("1500 again", lambda: path(home, "vps") == 1500 == path(vps, "home"), 30)
back = Flow(vps, home, "10.99.0.2", 7003)
since = time.monotonic()
net.wire.set("b2a", mtu=1340, icmp=0)
stall = back.stall(since)
check("TCP from the VPS goes on when only that direction shrinks", stall is not None, stall)
wait_for("the VPS knows", lambda: path(vps, "home") == 1340, 20)
wait_for("home has looked, too", lambda: home.peer("vps").get("mtu", {}).get("last_probe_s", 99) is not None, 10)
back.stop()
check("while home's own direction is as it was", wait_for("1500", lambda: path(home, "vps") == 1500), mtu(home, "vps"))

# --- the first link gets smaller: our own device refuses
net.wire.reset()
net.home.run(["ip", "link", "set", "wan", "mtu", "1400"])
ping(net.home, "10.99.0.1", 1392, "-M", "dont", count=3)
check("a smaller first link is noticed",
      bool(wait_for("1400", lambda: path(home, "vps") == 1400, 20)), mtu(home, "vps"))
check("and packets fit it", ping(net.home, "10.99.0.1", 1392, "-M", "dont").returncode == 0)

# --- `mtu` in the configuration decides, from a reload on and until another
conf = home.m.read("/etc/postern/postern.conf")
home.m.write("/etc/postern/postern.conf", conf.replace("[posternd]\n", "[posternd]\nmtu = 1300\n"))
home.cli("reload")
check("mtu = 1300 holds at once, and nothing is probed",
      wait_for("1300", lambda: home.status().get("tun", {}).get("mtu") == 1300 and not mtu(home, "vps")
               and "mtu 1300" in net.home.run(["ip", "link", "show", "postern0"]).stdout), home.status().get("tun"))
home.m.write("/etc/postern/postern.conf", conf)
home.cli("reload")
check("without it the path is looked for again",
      bool(wait_for("probed", lambda: mtu(home, "vps").get("last_probe_s") is not None and path(home, "vps") == 1400, 20)),
      mtu(home, "vps"))
testlib.done()
