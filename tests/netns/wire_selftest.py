# SPDX-License-Identifier: GPL-3.0-or-later
"""The bad wire itself: each fault does what it says and nothing else, both ways."""
import re
import sys

import testlib
from testlib import check

lab, net = testlib.start(wire=True)
wire = net.wire

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

r = probe()
check("a perfect wire passes everything once and in order", r["came"] == r["different"] == 200 and r["ordered"], r)
wire.set(delay=40)
r = probe(20)
check("a delay of 40 ms each way is 80 ms there and back", 78 <= r["first"] < 200, r)
check("and leaves the order", r["ordered"] and r["came"] == 20, r)
wire.reset()
wire.set("a2b", delay=40)
check("one way only: half of it", 39 <= probe(20)["first"] < 78)
wire.reset()
wire.set("a2b", loss=20, seed=7)
a = probe(500)
check("20 % loss loses about 20 %", 340 <= a["came"] <= 460, a)
wire.set("a2b", seed=7)
b = probe(500)
check("the same seed loses the same", a["came"] == b["came"], (a, b))
wire.reset()
wire.set("b2a", dup=50)
r = probe()
check("duplicates are more packets with the same numbers", r["different"] == 200 and r["came"] > 240, r)
wire.reset()
wire.set("a2b", reorder=10, behind=30)
r = probe(200, gap=0.002)
check("reordering loses nothing and overtakes", r["different"] == 200 and not r["ordered"], r)
wire.reset()
before = wire.stats()["a2b"]["lost"]
wire.set("a2b", burst=2, length=10)
r = probe(1000)
lost = wire.stats()["a2b"]["lost"] - before
check("bursts lose more than their frequency", 40 < lost < 600 and r["came"] <= 1000 - lost + 5, (r, lost))
wire.reset()
wire.set("a2b", rate=1000000, queue=20000)
r = probe(100, size=1200, gap=0.0)
check("a bottleneck drops the tail of what it cannot hold", 10 <= r["came"] < 60, r)
check("and what it holds waits its turn", 50 < r["median"] < 300, r)
wire.reset()
wire.set("a2b", mtu=1000)
check("above the MTU without ICMP: gone", probe(5, size=1200, flag="df")["came"] == 0)
check("below it: there", probe(5, size=900, flag="df")["came"] == 5)
check("without DF: cut and put together", probe(5, size=1200, flag="cut")["came"] == 5)
wire.set("a2b", icmp=1)
r = probe(5, size=1200, flag="df", gap=0.05)
check("with ICMP the sender is told", "errno 90" in r["text"], r)
check("the number in it is the wire's", "1000" in net.home.run(["ip", "route", "get", "100.64.0.1"]).stdout)
net.home.run(["ip", "route", "flush", "cache"])
wire.reset()
wire.set(cut=1)
check("a cut wire passes nothing", probe(3)["came"] == 0)
wire.reset()
check("TCP runs through it", net.home.python("""
import socket
l = socket.create_connection(("100.64.0.1", 10), 5)
""", check=False).returncode != 0)  # nobody listens: the refusal came back
r = probe()
check("after a reset all is well again", r["came"] == 200 and r["ordered"], r)
testlib.done()
