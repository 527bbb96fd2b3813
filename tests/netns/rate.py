# SPDX-License-Identifier: GPL-3.0-or-later
"""Two peers of one VPS: one has a rate-limit and gets close to it in each direction, the other notices nothing; a
reload changes the limit without touching the tunnel.
"""
import json
import sys
import time

import testlib
from testlib import check, require, wait_for

lab, net = testlib.start(hosts=[("branch", "198.51.100.40")])
import cast  # noqa: E402

vps, home = cast.tunnel(net, vps_peer="rate-limit = 8M\n\n[peer branch]\nidentity = branch.example.net\n"
                        "public-key = keys/branch.pub\nassign = 10.99.0.3, fd99::3\n")
branch = cast.Side(net.branch, "branch")
branch.m.run(["mkdir", "-p", "/etc/postern/keys"])
branch.cli("keygen", "/etc/postern/keys/branch.key")
vps.m.write("/etc/postern/keys/branch.pub", branch.m.read("/etc/postern/keys/branch.pub"))
branch.m.write("/etc/postern/keys/vps.pub", vps.m.read("/etc/postern/keys/vps.pub"))
branch.m.write("/etc/postern/postern.conf", cast.HOME_CONF.replace("home", "branch").format(
    extra="", peer="", address="198.51.100.10"))
for side in (vps, home, branch):
    side.start_posternd()

SINK = """import json, socket, sys, time
l = socket.create_server((sys.argv[1], int(sys.argv[2])))
c, _ = l.accept()
begin, total = time.monotonic() + float(sys.argv[3]), 0
end = begin + float(sys.argv[4])
while time.monotonic() < end:
    n = len(c.recv(262144))
    if time.monotonic() >= begin:
        total += n
print(json.dumps(total * 8 / (end - begin)))
"""
SOURCE = """import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
try:
    while True:
        s.sendall(b'x' * 65536)
except OSError:
    pass
"""


class Flow:
    def __init__(self, src, dst, to, port, warm=1.5, seconds=4):
        self.sink = dst.start([sys.executable, "-c", SINK, to, port, warm, seconds], log=f"sink-{port}")
        wait_for("the sink listens", lambda: f":{port} " in dst.run(["ss", "-ltnH"]).stdout)
        src.start([sys.executable, "-c", SOURCE, to, port], log=f"source-{port}")

    def bits(self):
        self.sink.wait(120)
        with open(self.sink.log) as f:
            return json.loads(f.read().splitlines()[-1])


def pings(m, to):
    return m.run(["ping", "-c1", "-W1", to], check=False).returncode == 0


wait_for("both tunnels are up", lambda: vps.up("home") and vps.up("branch") and pings(net.home, "10.99.0.1")
         and pings(net.branch, "10.99.0.1"), 40)
limit = vps.peer("home").get("rate_limit") or {}
check("status tells the limit", limit.get("in") == limit.get("out") == 8000000, limit)
check("and that there is none", vps.peer("branch").get("rate_limit") is None)


def measure(port):
    """To home, from home, to branch, from branch: all at once, each direction for itself."""
    flows = [Flow(net.vps, net.home, "10.99.0.2", port), Flow(net.home, net.vps, "10.99.0.1", port + 1),
             Flow(net.vps, net.branch, "10.99.0.3", port + 2), Flow(net.branch, net.vps, "10.99.0.1", port + 3)]
    return [f.bits() / 1e6 for f in flows]


# A machine that stands still for a second makes a rate look smaller, or larger where a sink then reads what had
# waited: one good measurement of three shows the limit, and a wrong one is seen in all.
for attempt in range(3):
    seen = measure(7001 + 4 * attempt)
    print("8 Mbit/s: to home, from home, to branch, from branch:", [round(v, 1) for v in seen])
    if 8 * 0.6 < min(seen[:2]) and max(seen[:2]) < 10 and min(seen[2:]) > 12:
        break
check("what goes to the limited peer stays below its rate", seen[0] < 10, seen)
check("and what comes from it", seen[1] < 10, seen)
check("both come close to it", min(seen[:2]) > 8 * 0.6, seen)
check("the other peer is not held back", min(seen[2:]) > 12, seen)
limit = vps.peer("home").get("rate_limit") or {}
check("what was dropped or had to wait is counted for the peer", limit.get("in_dropped", 0) > 0 and limit.get("out_held", 0) > 0, limit)
counters = json.loads(vps.cli("status", "--counters", "--json").stdout).get("counters", {})
check("and in all", counters.get("rate_limit_in", 0) > 0 and counters.get("rate_limit_out", 0) > 0)

before = [c.get("spi_in") for c in vps.peer("home")["ike"]["children"]]
conf = vps.m.read("/etc/postern/postern.conf")
vps.m.write("/etc/postern/postern.conf", conf.replace("rate-limit = 8M", "rate-limit-in = 24M"))
vps.cli("reload")
wait_for("the new limit holds", lambda: (vps.peer("home").get("rate_limit") or {}).get("in") == 24000000)
check("a reload changes it and not the tunnel",
      before == [c.get("spi_in") for c in vps.peer("home")["ike"]["children"]], before)
for attempt in range(3):
    to, back = (Flow(net.vps, net.home, "10.99.0.2", 7021 + 2 * attempt),
                Flow(net.home, net.vps, "10.99.0.1", 7022 + 2 * attempt))
    seen = [to.bits() / 1e6, back.bits() / 1e6]
    print("none, 24 Mbit/s:", [round(v, 1) for v in seen])
    if seen[0] > 12 and 9 < seen[1] < 30:
        break
check("the direction without a limit is free", seen[0] > 12, seen)
check("the other has the new one", 9 < seen[1] < 30, seen)
testlib.done()
