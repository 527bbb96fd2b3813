# SPDX-License-Identifier: GPL-3.0-or-later
"""Two Posterns with 1, 2, 4 and 8 workers each: what one sends, by all of its workers where both have several, arrives
whole, each flow of it in order, and nothing is too old for the other's replay window. strongSwan, which tells of no
such window, is sent to by one worker.

usage: workers.py [postern | strongswan]	without an argument both, one lab after the other
"""
import hashlib
import json
import os
import random
import subprocess
import sys

WHICH = sys.argv[1] if sys.argv[1:] else None
if not WHICH:
    results = [subprocess.run([sys.executable, __file__, which]).returncode for which in ("postern", "strongswan")]
    sys.exit(1 if any(r not in (0, 77) for r in results) else 77 if all(r == 77 for r in results) else 0)

import testlib  # noqa: E402
from testlib import check, require, wait_for  # noqa: E402

if WHICH == "strongswan":
    testlib.need_scratch()
lab, net = testlib.start()
import cast  # noqa: E402
import swan  # noqa: E402

STREAMS, SIZE, FLOWS = 4, 4 << 20, 12

# TCP: ADDRESS PORT STREAMS; each is answered with how many bytes came, and their hash.
SINK = """import hashlib, socket, sys, threading
l = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=64)
print("ready", flush=True)
def one(c):
    h, n = hashlib.sha256(), 0
    while True:
        b = c.recv(262144)
        if not b:
            break
        h.update(b)
        n += len(b)
    c.sendall(f"{n} {h.hexdigest()}".encode())
    c.close()
for _ in range(int(sys.argv[3])):
    threading.Thread(target=one, args=(l.accept()[0],)).start()
"""
SOURCE = """import json, random, socket, sys, threading
said = {}
def one(i):
    s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
    s.sendall(random.Random(i).randbytes(int(sys.argv[4])))
    s.shutdown(socket.SHUT_WR)
    s.settimeout(120)
    said[i] = s.recv(200).decode().split()
t = [threading.Thread(target=one, args=(i,)) for i in range(int(sys.argv[3]))]
[x.start() for x in t]
[x.join() for x in t]
print(json.dumps(said))
"""
# UDP: numbered packets of several flows; prints how many came, of how many flows, and how many behind a later one.
COUNT = """import json, select, socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
s.bind((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
top, got, late = {}, 0, 0
while select.select([s], [], [], 30 if not got else 5)[0]:
    flow, n = struct.unpack("!II", s.recv(2000)[:8])
    late += n <= top.get(flow, 0)
    top[flow] = max(n, top.get(flow, 0))
    got += 1
print(json.dumps({"got": got, "flows": len(top), "late": late}))
"""
NUMBERS = """import socket, struct, sys, time
flows = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(int(sys.argv[3]))]
[s.connect((sys.argv[1], int(sys.argv[2]))) for s in flows]
for n in range(1, int(sys.argv[4]) + 1):
    for f, s in enumerate(flows):
        try:
            s.send(struct.pack("!II", f, n) + bytes(n * 37 % 1000))
        except OSError:
            pass
    if n % 8 == 0:
        time.sleep(0.01)
"""


def whole(i):
    return [str(SIZE), hashlib.sha256(random.Random(i).randbytes(SIZE)).hexdigest()]


WANT = {str(i): whole(i) for i in range(STREAMS)}


class Way:
    """What is sent from @src to the address @to of @dst, all at once."""

    def __init__(self, src, dst, to, port):
        self.src, self.to, self.port = src, to, str(port)
        self.sink = dst.start([sys.executable, "-c", SINK, to, port, STREAMS], log=f"sink-{port}")
        self.count = dst.start([sys.executable, "-c", COUNT, to, port], log=f"count-{port}")
        for p in (self.sink, self.count):
            wait_for("it listens", lambda p=p: "ready" in open(p.log).read())

    def begin(self, tcp=True):
        self.source = tcp and self.src.start([sys.executable, "-c", SOURCE, self.to, self.port, STREAMS, SIZE],
                                             log=f"source-{self.port}")
        self.numbers = self.src.start([sys.executable, "-c", NUMBERS, self.to, self.port, FLOWS, 1500],
                                      log=f"numbers-{self.port}")

    def end(self):
        """(what TCP said, what UDP counted)"""
        for p in (self.source, self.numbers, self.count):
            if p:
                p.wait(150)
        self.sink.terminate()
        self.sink.wait(60)
        said = json.loads(open(self.source.log).read() or "{}") if self.source else None
        return said, json.loads(open(self.count.log).read().splitlines()[-1])


def counters(side):
    return json.loads(side.cli("status", "--counters", "--json").stdout).get("counters", {})


def sent_by(side):
    """How often each worker's thread has left its core, to sleep or for another: who carries nothing does not wake."""
    times = {}
    for pid in [side.d.pid] + side.m.child_pids(side.d):
        for tid in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{tid}/status") as f:
                text = dict(line.split(":", 1) for line in f.read().splitlines() if ":" in line)
            if text["Name"].strip().startswith("dp-"):
                times[text["Name"].strip()] = sum(int(text[k]) for k in ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"))
    return times


def in_order(what, udp):
    print(f"     {what}: {udp}")
    check(f"{what}: every flow arrives", udp["flows"] == FLOWS and udp["got"] > FLOWS * 1500 // 2, udp)
    check(f"{what}: and in order", udp["late"] == 0, udp)


def none_too_old(what, side):
    c = counters(side)
    print(f"     {what}:", {k: c.get(k, 0) for k in ("out_tun_reads", "handed_to_other_worker", "replayed", "older_than_window")})
    check(f"{what}: nothing is too old", not c.get("replayed", 0) and not c.get("older_than_window", 0), c)
    check(f"{what}: nor is a hand-over lost", not c.get("handover_full", 0), c)


def end(*sides):
    for side in sides:
        side.d.terminate()
        side.d.wait(60)


def posterns(n):
    vps, home = both
    for side in both:
        side.m.write("/etc/postern/postern.conf", conf[side.tag].replace("[posternd]", f"[posternd]\nworkers = {n}", 1))
        side.start_posternd()
    wait_for("the tunnel is up", lambda: home.up("vps") and net.home.run(
        ["ping", "-c1", "-W1", "10.99.0.1"], check=False).returncode == 0, 40)
    require(f"it runs {n}", (home.status().get("dataplane") or {}).get("workers") == n, home.status().get("dataplane"))
    ways = {"up": Way(net.home, net.vps, "10.99.0.1", 7000 + n), "down": Way(net.vps, net.home, "10.99.0.2", 7100 + n)}
    before = {side: sent_by(side) for side in both}
    for way in ways.values():
        way.begin()
    for name, way in ways.items():
        said, udp = way.end()
        check(f"{n} workers, {name}: TCP arrives whole", said == WANT, said)
        in_order(f"{n} workers, {name}", udp)
    for side in both:
        none_too_old(f"{n} workers, {side.tag}", side)
        busy = [k for k, v in sent_by(side).items() if v - before[side].get(k, 0) > 50]
        print(f"     {n} workers, {side.tag}: busy are {busy}")
        check(f"{n} workers, {side.tag}: several send", len(busy) >= min(n, 2), busy)
    end(*both)


def strongswan():
    us, charon = cast.Side(net.vps, "vps"), swan.Swan(net.home)
    swan.postern_server(us, extra="workers = 4")
    us.start_posternd()
    wait_for("posternd answers", lambda: us.status())
    charon.start()
    charon.load(swan.client(net.VPS4, "keyingtries = 0", "start_action = start"))
    require("strongSwan calls", wait_for("up", lambda: us.up("home") and net.home.run(
        ["ping", "-c1", "-W1", "10.99.0.1"], check=False).returncode == 0, 30))
    way = Way(net.vps, net.home, "10.99.0.2", 7200)
    way.begin(tcp=False)
    _, udp = way.end()
    in_order("4 workers to strongSwan", udp)
    c = counters(us)
    check("4 workers to strongSwan: what the others read is handed to the one that sends",
          c.get("handed_to_other_worker", 0) > 1000, c)
    end(us)
    charon.stop()


if WHICH == "strongswan":
    strongswan()
else:
    both = cast.tunnel(net)
    conf = {side.tag: side.m.read("/etc/postern/postern.conf") for side in both}
    for n in (1, 2, 4, 8):
        posterns(n)
testlib.done()
