# SPDX-License-Identifier: GPL-3.0-or-later
"""home - NAT - vps on one machine: TCP by iperf3, one stream, with and without the tunnel, interleaved.

CPU seconds per GB are those of all posternd processes of both ends (they include the kernel's work done in
their time), memory is the PSS of all of one end's processes after the runs.
"""
import argparse
import json
import os
import platform
import re
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "netns"))
import testlib  # noqa: E402
from testlib import wait_for  # noqa: E402

args = argparse.ArgumentParser()
args.add_argument("--rounds", type=int, default=3)
args.add_argument("--seconds", type=int, default=5)
args.add_argument("--io", default="io_uring,epoll")
args.add_argument("--by", default="udp", help="udp,tcp,tls: what carries the tunnel; TCP by the first of --io")
args = args.parse_args()
lab, net = testlib.start()
import cast  # noqa: E402
import usage  # noqa: E402


def pids(side):
    return [side.d.pid] + net.home.child_pids(side.d)


def tcp(address, reverse=False):
    server = net.vps.start(["iperf3", "-s", "-1", "-B", address], log="iperf3")
    wait_for("iperf3 listens", lambda: net.vps.run(["sh", "-c", "ss -Hltn | grep -q :5201"], check=False).returncode == 0)
    out = net.home.run(["iperf3", "-J", "-c", address, "-O", "1", "-t", str(args.seconds)] + (["-R"] if reverse else []),
                       timeout=60)
    server.wait(10)
    end = json.loads(out.stdout)["end"]["sum_received"]
    return end["bits_per_second"] / 1e9, end["bytes"] / 1e9


def links(offload):
    word = "on" if offload else "off"
    for m, dev in ((net.home, "wan"), (net.cgnat, "inner"), (net.cgnat, "wan"), (net.vps, "wan"), (net.wan, "p-vps"),
                   (net.wan, "p-cgnat")):
        m.run(["ethtool", "-K", dev, "tso", word, "tx-udp-segmentation", word, "gro", "off" if offload else "on"], check=False)


def rtt():
    out = net.home.run(["ping", "-q", "-c", "100", "-i", "0.01", "10.99.0.1"]).stdout
    return float(re.search(r"= [\d.]+/([\d.]+)/", out).group(1))


BY = {"tcp": "4500", "tls": "443/tls"}
backends = args.io.split(",") if "udp" in args.by.split(",") else []
backends += [f"{args.io.split(',')[0]} {by}" for by in args.by.split(",") if by in BY]
rows = {}
notes = {}
for kind, offload in (("veth as made", True), ("1500-byte wire", False)):
    links(offload)
    for r in range(args.rounds):
        for what in ["none"] + backends:
            key = (kind, what)
            if what == "none":
                up, _ = tcp(net.VPS4)
                down, _ = tcp(net.VPS4, True)
                rows.setdefault(key, []).append((up, down, 0, 0, 0))
                continue
            for m in (net.vps, net.home):
                m.run(["rm", "-rf", "/etc/postern/keys"])
            io, by = (what + " udp").split()[:2]
            vps, home = cast.tunnel(net, extra=f"io = {io}", address=net.VPS4,
                                    peer=f"tcp = always\ntcp-ports = {BY[by]}" if by in BY else "")
            if by in BY:
                text = vps.m.read("/etc/postern/postern.conf")
                vps.m.write("/etc/postern/postern.conf", text.replace("[posternd]", f"[posternd]\ntcp-ports = {BY[by]}", 1))
            vps.start_posternd()
            home.start_posternd()
            wait_for("tunnel", lambda: net.home.run(["ping", "-c1", "-W1", "10.99.0.1"], check=False).returncode == 0, 30)
            c0 = usage.cpu(pids(vps) + pids(home))
            up, gb = tcp("10.99.0.1")
            c1 = usage.cpu(pids(vps) + pids(home))
            down, _ = tcp("10.99.0.1", True)
            rows.setdefault(key, []).append((up, down, (c1 - c0) / (gb * (args.seconds + 1) / args.seconds), rtt(),
                                             max(usage.pss(pids(side)) for side in (vps, home)) / 1024))
            notes[what] = (home.status().get("dataplane") or {})
            for side in (home, vps):
                side.d.terminate()
                side.d.wait(15)
            time.sleep(0.5)

lines = [f"machine: {os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}; commit {os.environ.get('POSTERN_COMMIT')}",
         f"congestion control: {net.home.read('/proc/sys/net/ipv4/tcp_congestion_control').strip()}; command: bench/run "
         f"--rounds {args.rounds} --seconds {args.seconds}", ""]
for what, info in notes.items():
    lines.append(f"{what}: {json.dumps(info)[:300]}")
lines += ["", "| link | tunnel | TCP up Gbit/s (min-max) | share | TCP down Gbit/s (min-max) | share | CPU s/GB both ends, up | RTT idle ms | PSS MB |",
          "|---|---|---|---|---|---|---|---|---|"]
for (kind, what), v in rows.items():
    base = rows[(kind, "none")]
    med = [statistics.median(x[i] for x in v) for i in range(5)]
    ref = [statistics.median(x[i] for x in base) for i in range(2)]
    span = lambda i: f"{med[i]:.2f} ({min(x[i] for x in v):.2f}-{max(x[i] for x in v):.2f})"
    lines.append(f"| {kind} | {what} | {span(0)} | {med[0] / ref[0]:.2f} | {span(1)} | {med[1] / ref[1]:.2f} | "
                 f"{med[2]:.2f} | {med[3]:.2f} | {med[4]:.1f} |")
text = "\n".join(lines) + "\n"
print(text)
where = os.environ.get("POSTERN_BENCH_OUT")
if where:
    with open(where, "w") as f:
        f.write(text)
testlib.done()
