# SPDX-License-Identifier: GPL-3.0-or-later
"""posternd at home behind a carrier's NAT and posternd on the VPS: up, data both ways, and what disturbs it.

Needs no foreign servers.
"""
import json
import re
import sys
import time

import testlib
from testlib import answered, check, require, wait_for

lab, net = testlib.start()
import cast  # noqa: E402

vps, home = cast.tunnel(net, extra="metrics = 127.0.0.1:9400\n")


def ping(to="10.99.0.1", m=net.home, wait="4"):
    return m.run(["ping", "-c1", f"-W{wait}", to], check=False).returncode == 0


SINK = """
import hashlib, socket, sys
s = socket.create_server((sys.argv[1], 5001), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
print("ready", flush=True)
c, _ = s.accept(); h, n = hashlib.sha256(), 0
while d := c.recv(1 << 16): h.update(d); n += len(d)
print(n, h.hexdigest(), flush=True)
c.sendall(b"done")
"""
SOURCE = """
import hashlib, socket, sys
c = socket.create_connection((sys.argv[1], 5001), 10); c.settimeout(120)
h = hashlib.sha256(); block = bytes(range(256)) * 256; left = int(sys.argv[2])
while left > 0: b = block[:left]; c.sendall(b); h.update(b); left -= len(b)
c.shutdown(socket.SHUT_WR); c.recv(10)
print(h.hexdigest())
"""


def tcp(client, server, address, size):
    """Bytes that arrive unharmed, in order; gives Mbit/s or 0."""
    p = server.start([sys.executable, "-c", SINK, address], log=f"sink-{time.monotonic():.0f}-{address}")
    wait_for("the sink listens", lambda: "ready" in open(p.log).read())
    began = time.monotonic()
    sent = client.python(SOURCE, address, str(size), check=False, timeout=150).stdout.strip()
    took = time.monotonic() - began
    wait_for("the sink ends", lambda: p.poll() is not None)
    got = open(p.log).read().split()[-2:]
    return size * 8 / took / 1e6 if got == [str(size), sent] else 0


def vps_endpoint():
    return vps.peer("home").get("endpoint")


# --- up
vps.start_posternd()
wait_for("posternd on the VPS answers", lambda: vps.status())
began = time.monotonic()
home.start_posternd()
require("a ping passes from home, IPv4", wait_for("ping", lambda: ping(wait="0.1"), 20, 0.01))
print(f"     {(time.monotonic() - began) * 1000:.0f} ms after posternd was started at home")
check("and from the VPS", answered(net.vps, "10.99.0.2"))
check("IPv6 from home", wait_for("ping6", lambda: ping("fd99::1"), 10))
check("IPv6 from the VPS", answered(net.vps, "fd99::2"))
check("both say up", wait_for("up", lambda: home.up("vps") and vps.up("home"), 5))
check("home was given its addresses", home.status()["tun"]["addresses"] == ["10.99.0.2", "fd99::2"],
      home.status().get("tun"))
p = home.peer("vps")
check("the NAT is seen on the right sides", p["nat_local"] and vps.peer("home")["nat_remote"], p)

# --- data
for what, client, server, address in (("home to VPS", net.home, net.vps, "10.99.0.1"),
                                      ("VPS to home", net.vps, net.home, "10.99.0.2"),
                                      ("home to VPS, IPv6", net.home, net.vps, "fd99::1"),
                                      ("VPS to home, IPv6", net.vps, net.home, "fd99::2")):
    rate = tcp(client, server, address, 32 << 20)
    check(f"32 MB of TCP arrive whole, {what}: {rate:.0f} Mbit/s", rate > 0)
check("large pings pass, fragments too", answered(net.home, "10.99.0.1", "-s", "4000"))

# --- what the admin sees
EVENTS = """
import json, socket, sys
s = socket.socket(socket.AF_UNIX); s.connect("/run/postern/events.sock"); s.settimeout(60)
f = s.makefile(); seen = []
while True:
    o = json.loads(f.readline()); seen.append(o)
    if o["event"] == "ready": break
print(json.dumps(seen))
"""
seen = json.loads(net.vps.python(EVENTS).stdout)
check("events.sock greets with hello, peers, ready", [o["event"] for o in seen] == ["hello", "peer", "ready"], seen)
check("and tells who lies where", seen[1] == {"v": 1, "event": "peer", "peer": "home", "identity": "home.example.net",
                                              "state": "up", "inner": ["10.99.0.2", "fd99::2"], "dns": [],
                                              "tun": "postern0"}, seen[1])
metrics = net.vps.python("import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:9400/metrics', timeout=60).read().decode())",
                         check=False).stdout
check("metrics are served", 'postern_peer_up{peer="home",family="ipv4"} 1' in metrics, metrics[:400])
text = vps.cli("status", "--counters").stdout
check("status reads well", "home (home.example.net): up" in text and "out_packets" in text, text)
print("\n".join("     " + line for line in text.splitlines()))

# --- rekeys, with data under way
def unanswered(p, until):
    """Those of the pings of @p up to that number of which no answer has come."""
    with open(p.log) as f:
        return sorted(set(range(1, until + 1)) - {int(n) for n in re.findall(r"bytes from .*icmp_seq=(\d+)", f.read())})


for flag in ([], ["--ike"]):
    for side, peer in ((home, "vps"), (vps, "home")):
        before = side.peer(peer)["ike"]
        pings = net.home.start(["ping", "-i0.02", "10.99.0.1"], log=f"rekey-ping-{side.tag}{len(flag)}")
        wait_for("pings", lambda: len(unanswered(pings, 10)) < 5)
        side.cli("rekey", *flag, peer)

        def renewed():
            now = side.peer(peer).get("ike") or {}
            if flag:
                return now.get("spi_i") not in (None, before["spi_i"])
            kids = {c["spi_in"] for c in now.get("children", [])}
            return kids and not kids & {c["spi_in"] for c in before["children"]}
        ok = wait_for("new SPIs", renewed, 10)
        with open(pings.log) as f:
            last = 50 + max(map(int, re.findall(r"icmp_seq=(\d+)", f.read())))
        try:  # not by what ping says at its end: for its last one it waits 20 ms
            wait_for("all answers", lambda: not unanswered(pings, last), 10)
        except testlib.Failed:
            pass
        pings.terminate()
        check(f"{side.tag} rekeys {'the IKE SA' if flag else 'the CHILD SA'} without losing a packet",
              ok and not unanswered(pings, last), unanswered(pings, last))

# --- the carrier forgets the mapping
old = vps_endpoint()
net.nat_rebind()
began = time.monotonic()
check("after a NAT rebind home reaches the VPS", wait_for("ping", lambda: ping(wait="0.2"), 30, 0.05))
took = time.monotonic() - began
check("the VPS has followed to the new endpoint", wait_for("endpoint", lambda: vps_endpoint() != old, 10), vps_endpoint())
check(f"({took:.2f} s) and reaches home", answered(net.vps, "10.99.0.2"))

# --- the line is cut and comes back
net.cut()
check("the cut is told as down",
      wait_for("down", lambda: (ping(wait="1") or True) and not home.up("vps"), 25), home.peer("vps"))
time.sleep(5)
net.mend()
began = time.monotonic()
check("after the cut a ping passes", wait_for("ping", lambda: ping(wait="0.2"), 30, 0.05))
print(f"     {time.monotonic() - began:.2f} s after the line was back")
check("home is up again", wait_for("up", lambda: home.up("vps") and vps.up("home"), 10))

# --- the admin
home.cli("down", "vps")
check("down takes the tunnel down on both sides", wait_for("down", lambda: not home.up("vps") and not vps.up("home"), 10))
time.sleep(3)
check("and it stays down", not ping() and home.peer("vps")["state"] == "off", home.peer("vps")["state"])
home.cli("up", "vps")
check("up brings it back", wait_for("up", lambda: ping(), 10))
wait_for("both know", lambda: home.up("vps") and vps.up("home"))
ups = home.peer("vps")["ups"]
conf = vps.m.read("/etc/postern/postern.conf")
vps.m.write("/etc/postern/postern.conf", conf + "nonsense = 1\n")
bad = vps.cli("reload", check=False)
check("a reload with a fault is refused and says where", bad.returncode == 1 and
      "unknown key \"nonsense\" in [peer home]" in bad.stdout, bad.stdout)
check("the tunnel does not notice", answered(net.home, "10.99.0.1") and home.peer("vps")["ups"] == ups, (ups, home.peer("vps")))
vps.m.write("/etc/postern/postern.conf", conf + "\n[peer other]\nidentity = other.example.net\npublic-key = keys/home.pub\n"
            "assign = 10.99.0.9\n")
vps.cli("reload")
check("a reload adds a peer", wait_for("other", lambda: vps.peer("other").get("state") == "waiting", 5))
check("and the tunnel does not notice", answered(net.home, "10.99.0.1") and home.peer("vps")["ups"] == ups, (ups, home.peer("vps")))

# --- restarts
vps.d.terminate()
require("posternd ends at SIGTERM", wait_for("end", lambda: vps.d.poll() is not None, 10))
vps.start_posternd()
began = time.monotonic()
check("after a restart of the VPS data passes again", wait_for("ping", lambda: ping(wait="0.2"), 30, 0.05))
print(f"     {time.monotonic() - began:.2f} s after posternd was started on the VPS")
testlib.done()
