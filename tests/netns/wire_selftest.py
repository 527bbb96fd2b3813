# SPDX-License-Identifier: GPL-3.0-or-later
"""The bad wire itself: each fault does what it says and nothing else, both ways."""
import re
import sys

import testlib
from testlib import best, check

lab, net = testlib.start(wire=True)
wire = net.wire

# Nothing of the kernels' own is on the wire: each frame of theirs would have a share of the faults.
ends = ((net.home, "wan", "100.64.0.2"), (net.cgnat, "inner", "100.64.0.1"))
for (m, dev, _), (other, theirs, address) in (ends, ends[::-1]):
    m.sysctl(**{f"net__ipv6__conf__{dev}__disable_ipv6": 1})
    m.run(["ip", "neigh", "replace", address, "dev", dev, "lladdr", other.read(f"/sys/class/net/{theirs}/address").strip(), "nud", "permanent"])

# Numbered packets to the carrier's side and back: prints the numbers in the order in which they came home.
ECHO = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20); s.bind(("0.0.0.0", 9))
while True:
    d, a = s.recvfrom(70000); s.sendto(d[:8], a)
"""
SEND = """
import socket, struct, sys, time
n, size, gap = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(("100.64.0.1", 9)); s.settimeout(0.7)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
if sys.argv[4]: s.setsockopt(0, 10, 2 if sys.argv[4] == "df" else 0)  # IP_MTU_DISCOVER
sent, came, gone = {}, [], 0
def read():
    s.settimeout(0.7 if gone >= n else 0.0001)
    try:
        i = struct.unpack("!Q", s.recv(100))[0]; came.append(i); sent.setdefault(-1 - i, time.monotonic() - sent[i]); return True
    except OSError: return gone < n
for gone in range(n):
    sent[gone] = time.monotonic()
    try: s.send(struct.pack("!Q", gone) + bytes(size - 8))
    except OSError as e: print("errno", e.errno)
    read()
    if gap: time.sleep(gap)
gone = n
while read(): pass
times = sorted(v for k, v in sent.items() if k < 0)
print("came", len(came), "different", len(set(came)), "ordered", int(came == sorted(came)),
      "first", round(times[0] * 1000, 1) if times else -1, "median", round(times[len(times) // 2] * 1000, 1) if times else -1)
"""


def probe(n=200, size=100, gap=0.0, flag=""):
    text = net.home.python(SEND, n, size, gap, flag).stdout
    words = re.search(r"came (\d+) different (\d+) ordered (\d) first (\S+) median (\S+)", text)
    return dict(zip(("came", "different", "ordered", "first", "median"), map(float, words.groups())), text=text)


net.cgnat.start([sys.executable, "-c", ECHO], log="echo")
testlib.wait_for("echo answers", lambda: probe(1)["came"] == 1)

def whole(r):
    return r["came"] == r["different"] == 200 and r["ordered"]


r = best(probe, whole)
check("a perfect wire passes everything once and in order", whole(r), r)
wire.set(delay=40)
good = lambda r: 78 <= r["first"] < 200 and r["ordered"] and r["came"] == 20
r = best(lambda: probe(20), good)
check("a delay of 40 ms each way is 80 ms there and back, and leaves the order", good(r), r)
wire.reset()
wire.set("a2b", delay=40)
good = lambda r: 39 <= r["first"] < 78
r = best(lambda: probe(20), good)
check("one way only: half of it", good(r), r)
wire.reset()


def losses():
    """The same twice."""
    out = []
    for _ in range(2):
        wire.set("a2b", loss=20, seed=7)
        out.append(probe(500)["came"])
    return out


a, b = best(losses, lambda seen: seen[0] == seen[1] and 340 <= seen[0] <= 460)
check("20 % loss loses about 20 %", 340 <= a <= 460, a)
check("the same seed loses the same", a == b, (a, b))
wire.reset()
wire.set("b2a", dup=50)
good = lambda r: r["different"] == 200 and r["came"] > 240
r = best(probe, good)
check("duplicates are more packets with the same numbers", good(r), r)
wire.reset()
wire.set("a2b", reorder=10, behind=30)
good = lambda r: r["different"] == 200 and not r["ordered"]
r = best(lambda: probe(200, gap=0.002), good)
check("reordering loses nothing and overtakes", good(r), r)
wire.reset()
before = wire.stats()["a2b"]["lost"]
wire.set("a2b", burst=2, length=10, seed=7)
r = probe(1000)
lost = wire.stats()["a2b"]["lost"] - before
check("bursts lose more than their frequency", 40 < lost < 600 and r["came"] <= 1000 - lost, (r, lost))
wire.reset()
wire.set("a2b", rate=1000000, queue=20000)
good = lambda r: 10 <= r["came"] < 60 and 50 < r["median"] < 300
r = best(lambda: probe(100, size=1200), good)
check("a bottleneck drops the tail of what it cannot hold, and what it holds waits its turn", good(r), r)
wire.reset()


def all_five(**how):
    return best(lambda: probe(5, **how)["came"], lambda n: n == 5) == 5


wire.set("a2b", mtu=1000)
check("above the MTU without ICMP: gone", probe(5, size=1200, flag="df")["came"] == 0)
check("below it: there", all_five(size=900, flag="df"))
check("without DF: cut and put together", all_five(size=1200, flag="cut"))
wire.set("a2b", icmp=1)
r = best(lambda: probe(5, size=1200, flag="df", gap=0.05), lambda r: "errno 90" in r["text"])
check("with ICMP the sender is told", "errno 90" in r["text"], r)
check("the number in it is the wire's", "1000" in net.home.run(["ip", "route", "get", "100.64.0.1"]).stdout)
net.home.run(["ip", "route", "flush", "cache"])
wire.reset()
wire.set(cut=1)
check("a cut wire passes nothing", probe(3)["came"] == 0)
wire.reset()
said = net.home.python("""
import socket
l = socket.create_connection(("100.64.0.1", 10), 15)
""", check=False).stdout
check("TCP runs through it", "ConnectionRefusedError" in said, said)  # nobody listens: the refusal came back
r = best(probe, whole)
check("after a reset all is well again", whole(r), r)
testlib.done()
