# SPDX-License-Identifier: GPL-3.0-or-later
"""How cost grows with flows, peers and packet size: bench/run growth [flows] [peers] [sizes] [tcp] ...

Two data planes with fixed keys (tests/netns/dp_static.c), the server at vps and all of its peers in one process at
crowd, so nothing but packets is measured. Datagrams go from vps to crowd, to one inner address after the other: one
flow each. First as many as are taken, of which what arrives is told (k/s) and its cost; then --rate a second, with a
ping every 10 ms beside them. CPU seconds are those of each end's process, the kernel's work in its time included.
"peers, 16 each" hands 16 datagrams for a peer to the kernel at once, "peers, one each" a single one: then each ESP
packet is a system call, for it goes to another peer than the one before it.
"""
import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "netns"))
import testlib  # noqa: E402
import usage  # noqa: E402
from testlib import wait_for  # noqa: E402

parser = argparse.ArgumentParser(prog="bench/run growth")
parser.add_argument("what", nargs="*", default=[], help="flows, peers, sizes, tcp; all when none is named")
parser.add_argument("--io", default="io_uring,epoll")
parser.add_argument("--rate", type=int, default=100000, help="datagrams a second beside which the round trip is measured")
parser.add_argument("--seconds", type=float, default=1.5, help="of each run")
parser.add_argument("--peers", default="1,10,100,1000,10000")
parser.add_argument("--flows", default="1,10,100,1000")
parser.add_argument("--sizes", default="64,256,512,1024,1400", help="bytes of inner packets, IP header included")
parser.add_argument("--mss", default="0,536,200", help="of TCP; 0: what fits")
parser.add_argument("--perf", help="write profiles of both ends in the flood there (perf record)")
parser.add_argument("--again", action="store_true", help="begin the file of results anew; else what is measured is added to it")
args = parser.parse_args()
args.what = args.what or ["flows", "peers", "sizes", "tcp"]
lab, _ = testlib.start(topology=False)

LOAD = os.path.join(testlib.BUILD, "bench", "udp_load")
DP = os.path.join(testlib.BUILD, "tests", "netns", "dp_static")
INNER, HEAD = "10.100.0.1", 28  # the first of the peers' addresses; bytes of IPv4 and UDP
vps, crowd = lab.machine("vps"), lab.machine("crowd")
lab.link(vps, "wan", crowd, "wan")
for m, number in ((vps, 1), (crowd, 2)):
    m.sysctl(net__ipv4__conf__all__rp_filter=0)
    m.addr("wan", f"192.0.2.{number}/24")
crowd.run(["ip", "route", "add", "local", "10.100.0.0/16", "dev", "lo"])


class Tunnel:
    """@peers of them; with one it has every address."""

    def __init__(self, io, peers=1):
        self.proc = {}
        more = ["--peers", peers, "--inner", INNER] if peers > 1 else []
        for m, own, other, spi, tail in ((vps, 1, 2, (1 << 20, 2 << 20), more), (crowd, 2, 1, (2 << 20, 1 << 20), more and more + ["--crowd"])):
            m.run(["ip", "link", "del", "t0"], check=False)
            m.run(["ip", "tuntap", "add", "dev", "t0", "mode", "tun", "multi_queue", "vnet_hdr"])
            m.run(["ip", "link", "set", "t0", "mtu", "1430", "gso_max_segs", "44"])
            m.addr("t0", f"10.99.0.{own}/24")
            self.proc[m] = m.start([DP, "--bind", f"192.0.2.{own}", "--peer", f"192.0.2.{other}", "--spi-in", spi[0], "--spi-out",
                                    spi[1], "--io", io, "--mtu", 1430] + tail, log=f"dp-{m.name}-{time.monotonic_ns()}")
        vps.run(["ip", "route", "add", "10.100.0.0/16", "dev", "t0"])
        wait_for("the tunnel", lambda: vps.run(["ping", "-c1", "-W1", INNER], check=False).returncode == 0, 20)

    def pids(self, m):
        return crowd.child_pids(self.proc[m]) or [self.proc[m].pid]

    def cpu(self):
        return tuple(usage.cpu(self.pids(m)) for m in (vps, crowd))

    def told(self, m):
        with open(self.proc[m].log) as f:
            return f.readline().strip()

    def end(self):
        for m, p in self.proc.items():
            p.terminate()
            p.wait(20)

    def sent(self):
        """Inner packets, both ways; it is told when they end."""
        n = 0
        for p in self.proc.values():
            with open(p.log) as f:
                n += sum(int(x) for x in re.findall(r"^out_packets=(\d+)", f.read(), re.M))
        return n


def listens(port, kind):
    wait_for("it listens", lambda: f":{port} " in crowd.run(["ss", f"-Hln{kind}"]).stdout)


def pings(seconds):
    return subprocess.Popen(vps._cmd(["ping", "-q", "-i", "0.01", "-c", str(int(seconds * 90)), INNER]), stdout=subprocess.PIPE, text=True)


def answer(ping):
    """Milliseconds on average; None: none came back."""
    found = re.search(r"= [\d.]+/([\d.]+)/", ping.communicate()[0])
    return float(found[1]) if found else None


def perf(tunnel, tag):
    if not args.perf:
        return None
    pids = [str(pid) for m in (vps, crowd) for pid in tunnel.pids(m)]
    return subprocess.Popen(["perf", "record", "-q", "-e", "cpu-clock", "-o", f"{args.perf}-{tag}.data", "-p", ",".join(pids),
                             "--", "sleep", str(args.seconds)])


def datagrams(tunnel, size, rate, spread, segments, tag):
    """(received, share lost, CPU seconds of each end, seconds)"""
    sink = subprocess.Popen(crowd._cmd([LOAD, "sink", "0.0.0.0", "7000"]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    listens(7000, "u")
    profile, before = perf(tunnel, tag) if not rate else None, tunnel.cpu()
    sent = json.loads(vps.run([LOAD, "send", INNER, 7000, size - HEAD, rate, args.seconds, segments, spread]).stdout)
    time.sleep(0.2)
    after = tunnel.cpu()
    got = json.loads(sink.communicate("", timeout=20)[0])["packets"]
    if profile:
        profile.wait()
    return got, 1 - got / max(1, sent["packets"]), [b - a for a, b in zip(before, after)], sent["seconds"]


def cost(got, used, size):
    """us per packet of each end, both ends' s/GB"""
    return f"{used[0] / got * 1e6:.2f} | {used[1] / got * 1e6:.2f} | {sum(used) / (got * size / 1e9):.2f}"


def row(what, tunnel, size, spread, segments):
    tag = f"{what}".replace(" ", "-").replace(",", "")
    got, _, used, seconds = datagrams(tunnel, size, 0, spread, segments, tag)
    ping = pings(args.seconds)
    calm, lost, calm_used, _ = datagrams(tunnel, size, args.rate, spread, segments, tag)
    rtt = answer(ping)
    say(f"| {what} | {got / seconds / 1e3:.0f} | {cost(max(1, got), used, size)} | {cost(max(1, calm), calm_used, size)} | {lost * 100:.2f} | "
        f"{'-' if rtt is None else f'{rtt:.2f}'} |")


HEADS = ("", "flood, k/s", "us a packet, sender", "receiver", "both, s/GB", "{rate} k/s: sender", "receiver", "both, s/GB", "lost, %", "RTT, ms")


def head(title):
    say(f"## {title}")
    say()
    say("| " + " | ".join(h.format(rate=args.rate // 1000) for h in HEADS) + " |")
    say("|---" * len(HEADS) + "|")


def numbers(text):
    return [int(x) for x in text.split(",")]


def bench_flows(io):
    head(f"{io}: flows of one peer, 64-byte packets, one after the other")
    t = Tunnel(io)
    for n in numbers(args.flows):
        row(f"{n} flows", t, 64, n, 1)
    t.end()
    say()


def bench_peers(io):
    for segments, words in ((16, "16 datagrams for each peer at a time"), (1, "one datagram for each at a time")):
        head(f"{io}: peers, 64-byte packets, {words}")
        for n in numbers(args.peers):
            t = Tunnel(io, n)
            datagrams(t, 64, 4 * n, n, 1, "")  # each has its keys ready
            row(f"{n} peers", t, 64, n, segments)
            t.end()
        say()


def bench_sizes(io):
    head(f"{io}: packet size, one flow")
    t = Tunnel(io)
    for size in numbers(args.sizes):
        row(f"{size} bytes", t, size, 1, 1)
    t.end()
    say()


def tcp(io, flows, mss):
    """A row of @flows streams; iperf3 makes at most 128."""
    t = Tunnel(io)
    ports = [5201 + i for i in range((flows + 99) // 100)]
    servers = [crowd.start(["iperf3", "-s", "-1", "-p", p], log=f"iperf3-{p}") for p in ports]
    for p in ports:
        listens(p, "t")
    before = t.cpu()
    clients = [subprocess.Popen(vps._cmd(["iperf3", "-J", "-c", INNER, "-p", str(p), "-t", str(int(args.seconds) + 1), "-P",
                                          str(min(flows, 100))] + (["-M", str(mss)] if mss else [])), stdout=subprocess.PIPE, text=True)
               for p in ports]
    time.sleep(0.7)
    ping = pings(args.seconds)
    ends = [json.loads(c.communicate(timeout=120)[0])["end"]["sum_received"] for c in clients]
    used = [b - a for a, b in zip(before, t.cpu())]
    rtt = answer(ping)
    for s in servers:
        s.wait(20)
    t.end()
    rate, bytes_ = sum(e["bits_per_second"] for e in ends) / 1e9, sum(e["bytes"] for e in ends)
    say(f"| {flows} | {mss or 'what fits'} | {rate:.2f} | {used[0] / bytes_ * 1e9:.2f} | {used[1] / bytes_ * 1e9:.2f} | "
        f"{sum(used) / t.sent() * 1e6:.2f} | {'-' if rtt is None else f'{rtt:.2f}'} |")


def bench_tcp(io):
    say(f"## {io}: TCP")
    say()
    say("| streams | MSS | Gbit/s | sender, s/GB | receiver, s/GB | both, us a packet, ACKs too | RTT, ms |")
    say("|---" * 7 + "|")
    for n in numbers(args.flows):
        tcp(io, n, 0)
    for mss in numbers(args.mss):
        if mss:
            tcp(io, 4, mss)
    say()


report = []


def say(text=""):
    print(text, flush=True)
    report.append(text)


def main():
    where = os.environ.get("POSTERN_BENCH_OUT")
    if where and args.again and os.path.exists(where):
        os.unlink(where)
    if not (where and os.path.exists(where)):
        say("# How cost grows")
        say()
        say(f"machine: {os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}; commit {os.environ.get('POSTERN_COMMIT')}")
        say()
    say(f"command: bench/run growth {' '.join(sys.argv[1:])}")
    say()
    for io in args.io.split(","):
        for name in args.what:
            {"flows": bench_flows, "peers": bench_peers, "sizes": bench_sizes, "tcp": bench_tcp}[name](io)
            if where:
                with open(where, "a") as f:
                    f.write("\n".join(report) + "\n")
                report.clear()
    testlib.done()


main()
