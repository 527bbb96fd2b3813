# SPDX-License-Identifier: GPL-3.0-or-later
"""Four bulk TCP streams fill a slow uplink, and pings through the tunnel still come back soon: on a device that takes no
more (a token bucket on home's), with either I/O backend, and by the peer's rate limit where the narrow place is elsewhere.
"""
import re
import statistics
import sys

import testlib
from testlib import best, check, require, wait_for

lab, net = testlib.start()
import cast  # noqa: E402

RATE = 20
SINK = """import os, selectors, socket, sys, time
l = socket.create_server((sys.argv[1], int(sys.argv[2])))
s, conns = selectors.DefaultSelector(), [l.accept()[0] for _ in range(4)]
for c in conns:
    s.register(c, selectors.EVENT_READ)
begin, total = time.monotonic() + 3, 0
end = begin + float(sys.argv[3])
while time.monotonic() < end:
    for key, _ in s.select(0.1):
        n = len(key.fileobj.recv(262144))
        total += n if time.monotonic() >= begin else 0
print(total * 8 / (end - begin))
"""
SOURCE = """import socket, sys, threading
def one():
    s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
    try:
        while True:
            s.sendall(b'x' * 65536)
    except OSError:
        pass
t = [threading.Thread(target=one) for _ in range(4)]
[x.start() for x in t]
[x.join() for x in t]
"""

vps, home = cast.tunnel(net)
conf = home.m.read("/etc/postern/postern.conf")
vps.start_posternd()
for m in (net.home, net.vps):
    m.run(["sysctl", "-qw", "net.ipv4.tcp_congestion_control=cubic"], check=False)


def slow(m):
    """What waits here is 300 ms at most: longer than any buffer before it should be."""
    m.run(["tc", "qdisc", "replace", "dev", "wan", "root", "tbf", "rate", f"{RATE}mbit", "burst", "16kb", "latency", "300ms"])


def measure(port, seconds=5):
    """(Mbit/s of the four streams, sorted round trips in ms of the pings beside them, lost ones as a second)"""
    sink = net.vps.start([sys.executable, "-c", SINK, "10.99.0.1", port, seconds], log=f"sink-{port}")
    wait_for("the sink listens", lambda: f":{port} " in net.vps.run(["ss", "-ltnH"]).stdout)
    source = net.home.start([sys.executable, "-c", SOURCE, "10.99.0.1", port], log=f"source-{port}")
    wait_for("streams are up", lambda: net.vps.run(["ss", "-tnH", "state", "established"]).stdout.count(f":{port} ") >= 4)
    net.home.run(["sleep", "2"])
    out = net.home.run(["ping", "-i0.02", f"-c{seconds * 50}", "-W1", "10.99.0.1"], check=False).stdout
    sink.wait(60)
    source.wait(60)
    with open(sink.log) as f:
        rate = float(f.read().split()[-1]) / 1e6
    times = sorted(float(x) for x in re.findall(r"time=([\d.]+)", out))
    return rate, times + [1000.0] * (seconds * 50 - len(times))


def told(name, port, least):
    ports = iter(range(port, 8000, 100))

    def once():
        rate, times = measure(next(ports))
        median, late = statistics.median(times), times[int(len(times) * 0.99) - 1]
        print(f"{name}: {rate:.1f} Mbit/s, ping median {median:.1f}, 99 % {late:.1f} ms", flush=True)
        return rate, median, late
    # A machine that stands still for a moment is no queue, and no slow line.
    rate, median, late = best(once, lambda seen: seen[0] > least and seen[1] < 20 and seen[2] < 60, 5)
    check(f"{name}: the line stays full", rate > least, rate)
    check(f"{name}: half of the pings are back in 20 ms", median < 20, median)
    check(f"{name}: 99 % of them in 60 ms", late < 60, late)


def run(io, extra=""):
    global_part, peer = conf.split("[peer vps]")
    net.home.write("/etc/postern/postern.conf", f"{global_part}io = {io}\n[peer vps]{peer}{extra}\n")
    home.start_posternd()
    wait_for("the tunnel is up", lambda: home.up("vps") and net.home.run(
        ["ping", "-c1", "-W1", "10.99.0.1"], check=False).returncode == 0, 40)


def stop():
    home.d.terminate()
    home.d.wait(60)


slow(net.home)
for n, io in enumerate(("epoll", "io_uring")):
    run(io)
    if home.status().get("io", home.status().get("dataplane", {}).get("io", io)) != io:
        print(f"     {io} is not to be had here")
        stop()
        continue
    told(f"a device of {RATE} Mbit/s, {io}", 7001 + n, RATE * 0.8)
    stop()
net.home.run(["tc", "qdisc", "del", "dev", "wan", "root"])
slow(net.cgnat)
# Of inner bytes: with what ESP adds there is room left on the line, or what once waited there would for long.
run("auto", f"rate-limit-out = {RATE * 3 // 4}M\n")
told("a rate limit below it", 7011, RATE * 0.6)
testlib.done()
