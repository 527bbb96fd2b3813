# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks behind both sides, several CHILD SAs by port, and reloads under a stream that must not notice.

	back (172.31.5.10) - vps ===== tunnel ===== home - lan (192.168.77.10)

Needs no foreign servers.
"""
import sys
import time

import testlib
from testlib import answered, check, require, wait_for

lab, net = testlib.start()
import cast  # noqa: E402

vps, home = cast.tunnel(net)
back = lab.machine("back")
lab.link(net.vps, "back", back, "eth0")
net.vps.addr("back", "172.31.5.1/24", "fd55::1/64")
back.addr("eth0", "172.31.5.10/24", "fd55::10/64")
net.home.addr("lan", "192.168.77.1/24", "fd77::1/64")
net.lan.addr("eth0", "192.168.77.10/24", "fd77::10/64")
for m, via4, via6 in ((back, "172.31.5.1", "fd55::1"), (net.lan, "192.168.77.1", "fd77::1")):
    m.run(["ip", "route", "replace", "default", "via", via4])
    m.run(["ip", "-6", "route", "replace", "default", "via", via6])
for m in (net.vps, net.home):
    m.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)

VPS = """[posternd]
identity = vps.example.net
private-key = keys/vps.key
tunnel-address = 10.99.0.1, fd99::1

[peer home]
identity = home.example.net
public-key = keys/home.pub
assign = 10.99.0.2, fd99::2
"""
HOME = """[posternd]
identity = home.example.net
private-key = keys/home.key

[peer vps]
address = vps.example.net
identity = vps.example.net
public-key = keys/vps.pub
networks = 10.99.0.1, fd99::1
start = always
"""
BACK = "172.31.5.0/24, fd55::/64"
LAN = "192.168.77.0/24, fd77::/64"


def conf(side, text):
    side.m.write("/etc/postern/postern.conf", text)


def reload(side, text):
    conf(side, text)
    p = side.cli("reload", check=False)
    check(f"{side.tag}: the reload is taken", p.returncode == 0, p.stdout)


def ping(m, to, wait="3"):
    return m.run(["ping", "-c1", f"-W{wait}", to], check=False).returncode == 0


def children(side, peer):
    return (side.peer(peer).get("ike") or {}).get("children", [])


def spis(side, peer):
    return {c["name"]: c["spi_in"] for c in children(side, peer)}


SINK = """
import hashlib, socket, sys
s = socket.create_server((sys.argv[1], int(sys.argv[2])), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
print("ready", flush=True)
while True:
    c, _ = s.accept(); h, n = hashlib.sha256(), 0
    while d := c.recv(1 << 16): h.update(d); n += len(d)
    print(n, h.hexdigest(), flush=True)
    c.sendall(b"done"); c.close()
"""
SOURCE = """
import hashlib, socket, sys, time
c = socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[4])); c.settimeout(30)
h = hashlib.sha256(); block = bytes(range(256)) * 64; end = time.monotonic() + float(sys.argv[3]); n = 0; worst = 0; last = time.monotonic()
while True:
    c.sendall(block); h.update(block); n += len(block)
    now = time.monotonic(); worst = max(worst, now - last); last = now
    if now >= end: break
    time.sleep(0.002)
c.shutdown(socket.SHUT_WR); c.recv(10)
print(n, h.hexdigest(), worst)
"""
sinks = {}


def sink(m, address, port):
    if (m.name, address, port) not in sinks:
        p = m.start([sys.executable, "-c", SINK, address, str(port)], log=f"sink-{port}-{address.replace(':', '_')}")
        wait_for("the sink listens", lambda: "ready" in open(p.log).read())
        sinks[m.name, address, port] = p
    return sinks[m.name, address, port]


def stream(m, to, server, port=5001, seconds=0, wait=15):
    """TCP that arrives whole; the longest pause in seconds, or None."""
    p = sink(server, to, port)
    got = m.python(SOURCE, to, str(port), str(seconds), str(wait), check=False, timeout=90).stdout.split()
    if len(got) != 3:
        return None
    wait_for("the sink has it", lambda: got[1] in open(p.log).read(), 10)
    return float(got[2])


# --- up, without the networks
conf(vps, VPS)
conf(home, HOME)
vps.start_posternd()
wait_for("posternd on the VPS answers", lambda: vps.status())
home.start_posternd()
require("the tunnel comes up", wait_for("ping", lambda: ping(net.home, "10.99.0.1", "0.2"), 20, 0.05))
wait_for("up", lambda: home.up("vps") and vps.up("home"))
check("nothing reaches the LAN yet", not ping(net.vps, "192.168.77.10"))
ike = home.peer("vps")["ike"]["spi_i"]

# --- a reload of one side after the other, with a stream under way
sink(net.vps, "10.99.0.1", 5001)
runs = net.home.start([sys.executable, "-c", SOURCE, "10.99.0.1", "5001", "8", "15"], log="source")
time.sleep(1)
reload(vps, VPS + f"networks = {LAN}\nlocal-ts = 10.99.0.1, fd99::1, {BACK}\n")
time.sleep(1)
check("one side alone changes nothing for the other", not ping(net.vps, "192.168.77.10"))
reload(home, HOME + f"networks = {BACK}\nlocal-ts = assigned, {LAN}\n")
check("the VPS reaches the LAN, IPv4", wait_for("ping", lambda: ping(net.vps, "192.168.77.10"), 10))
runs.wait(60)
sent = open(runs.log).read().split()
check("the stream arrived whole", len(sent) == 3 and sent[1] in open(sinks["vps", "10.99.0.1", 5001].log).read(), sent)
print(f"     longest pause {float(sent[2]) * 1000:.0f} ms, while the CHILD SA was made anew")
check("the IKE SA is the one that it was", home.peer("vps")["ike"]["spi_i"] == ike)
check("there is one CHILD SA", len(wait_for("one child", lambda: len(children(home, "vps")) == 1 and children(home, "vps"), 15)) == 1)

# --- who reaches whom
for what, m, to in (("the VPS reaches the LAN, IPv6", net.vps, "fd77::10"),
                    ("the LAN reaches the VPS's tunnel address, IPv4", net.lan, "10.99.0.1"),
                    ("the LAN reaches the VPS's tunnel address, IPv6", net.lan, "fd99::1"),
                    ("the LAN reaches the network behind the VPS, IPv4", net.lan, "172.31.5.10"),
                    ("the LAN reaches the network behind the VPS, IPv6", net.lan, "fd55::10"),
                    ("and that reaches the LAN, IPv4", back, "192.168.77.10"),
                    ("and that reaches the LAN, IPv6", back, "fd77::10"),
                    ("home reaches the network behind the VPS, IPv4", net.home, "172.31.5.10"),
                    ("home reaches the network behind the VPS, IPv6", net.home, "fd55::10")):
    check(what, answered(m, to))
for what, m, to, server in (("LAN to the network behind the VPS", net.lan, "172.31.5.10", back),
                            ("the same, IPv6", net.lan, "fd55::10", back),
                            ("network behind the VPS to LAN", back, "192.168.77.10", net.lan),
                            ("VPS to LAN, IPv6", net.vps, "fd77::10", net.lan)):
    check(f"TCP, {what}", stream(m, to, server, seconds=0.3) is not None)
check("what is not in the selectors does not pass", not ping(net.vps, "192.168.7.10"))

# --- the same peers by port: three CHILD SAs, by a reload again
before = home.peer("vps")["ups"]
CHILDREN = """
[child mail-in]
peer = {peer}
local-ts = {own25}
remote-ts = {their}
{life}
[child mail-out]
peer = {peer}
local-ts = {own}
remote-ts = {their25}
{life}
[child ping]
peer = {peer}
local-ts = {ownping}
remote-ts = {theirping}
{life}
"""


def by_port(peer, own, their, life=""):
    def each(names, what4, what6=None):
        return ", ".join(f"{n}[{what6 if ':' in n and what6 else what4}]" for n in names)
    assigned = "assigned[icmp], assigned[icmpv6]"
    return CHILDREN.format(peer=peer, own25=each(own, "tcp/25"), own=each(own, "tcp"), their25=each(their, "tcp/25"),
                           their=each(their, "tcp"), life=life,
                           ownping=assigned if own == ["assigned"] else each(own, "icmp", "icmpv6"),
                           theirping=assigned if their == ["assigned"] else each(their, "icmp", "icmpv6"))


ADDRS = ["10.99.0.1", "fd99::1"]
life = "lifetime-packets = 1000"
reload(home, HOME + by_port("vps", ["assigned"], ADDRS, life))
reload(vps, VPS + by_port("home", ADDRS, ["assigned"], life))


def three():
    return [sorted(c["name"] for c in children(*x)) == ["mail-in", "mail-out", "ping"] for x in ((home, "vps"), (vps, "home"))] == [True, True]


check("three CHILD SAs stand on both sides", wait_for("three", three, 40), children(vps, "home"))
check("without a new call", home.peer("vps")["ups"] == before, home.peer("vps")["ups"])
for what, m, to, server in (("home to VPS", net.home, "10.99.0.1", net.vps), ("VPS to home", net.vps, "10.99.0.2", net.home),
                            ("home to VPS, IPv6", net.home, "fd99::1", net.vps), ("VPS to home, IPv6", net.vps, "fd99::2", net.home)):
    check(f"SMTP passes, {what}", stream(m, to, server, 25, 0.2) is not None)
    check(f"and ping, {what}", answered(m, to))
    check(f"another port does not, {what}", stream(m, to, server, 5001, 0.1, 2) is None)
check("the LAN is out of reach again", not ping(net.vps, "192.168.77.10"))
counts = {c["name"]: c["tx_packets"] + c["rx_packets"] for c in children(home, "vps")}
check("each has carried its own", all(n > 0 for n in counts.values()) and counts["ping"] < 50, counts)
text = home.cli("status").stdout
check("status names them and their limits", all(x in " ".join(text.split()) for x in ("mail-in: ", "mail-out: ", "or at 1000 packets")), text)
print("\n".join("     " + line for line in text.splitlines()))

# --- a limit in packets: the keys of the one that is used are renewed, and nobody else's
old = spis(home, "vps")
check("more packets than the limit pass, and whole", stream(net.home, "10.99.0.1", net.vps, 25, 6) is not None)
check("with new keys", wait_for("rekeyed", lambda: three() and spis(home, "vps")["mail-out"] != old["mail-out"], 10))
check("ping has kept its own", spis(home, "vps")["ping"] == old["ping"])

# --- one section gone: the others keep their SPIs
old = spis(home, "vps")
text = HOME + by_port("vps", ["assigned"], ADDRS, life)
reload(home, text[:text.index("[child ping]")])
check("ping is over", wait_for("no ping", lambda: not ping(net.home, "10.99.0.1", "0.3"), 5))
now = spis(home, "vps")
check("and the others stay", set(now) == {"mail-in", "mail-out"} and all(now[n] == old[n] for n in now), (old, now))
testlib.done()
