# SPDX-License-Identifier: GPL-3.0-or-later
"""Two or more ways to run Postern beside each other, in short interleaved runs: which is the better one?

A way is settings of postern.conf with commas between them, and build=DIR for another build's posternd:
	bench/run ab io=io_uring io=epoll
	bench/run ab io=epoll build=/path/of/another/build,io=epoll --pairs 7
"""
import argparse
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "netns"))
import testlib  # noqa: E402
from testlib import wait_for  # noqa: E402

parser = argparse.ArgumentParser(prog="bench/run ab", description=__doc__.splitlines()[0])
parser.add_argument("way", nargs="+")
parser.add_argument("--pairs", type=int, default=5)
parser.add_argument("--seconds", type=int, default=2, help="of each TCP run, one more that does not count before it")
parser.add_argument("--links", default="veth,wire")
parser.add_argument("--what", default="up", help="of up, down (TCP), udp (64 bytes), rtt (idle), load (beside 4 TCP streams)")
parser.add_argument("--streams", type=int, default=1)
parser.add_argument("--limit", type=float, default=3600, help="seconds after which no further pair is begun")
parser.add_argument("--rate", type=int, default=60000, help="datagrams a second for what one costs")
args = parser.parse_args()
lab, net = testlib.start()
import meter  # noqa: E402
import systems  # noqa: E402
import usage  # noqa: E402

POSTERND = testlib.POSTERND
COLUMNS = {"up": [("up", "Gbit/s up", True), ("cpu_up", "CPU s/GB", False)],
           "down": [("down", "Gbit/s down", True), ("cpu_down", "CPU s/GB", False)],
           "udp": [("flood", "64 B, k/s in a flood", True), ("each", "CPU us a datagram", False)],
           "rtt": [("idle", "RTT idle, ms", False), ("idle99", "99 %", False)],
           "load": [("load", "RTT 4 streams, ms", False), ("load99", "99 %", False)]}


def start(way):
    conf = dict(w.split("=", 1) for w in way.split(",") if w)
    build = conf.pop("build", None)
    testlib.POSTERND = os.path.join(build, "daemon", "posternd") if build else POSTERND
    for m in (net.vps, net.home):
        m.run(["rm", "-rf", "/etc/postern/keys"])
    s = systems.Postern(lab, net, extra="".join(f"{k} = {v}\n" for k, v in conf.items()), address=net.VPS4)
    s.start()
    return s


def cpu(s):
    return usage.cpu(s.pids("home") + s.pids("vps"))


def measure(way):
    address, found = "10.99.0.1", {}
    s = start(way)
    try:
        wait_for(f"{way}: a ping", lambda: net.home.run(["ping", "-c1", "-W1", address], check=False).returncode == 0, 30)
        found["tell"] = s.tell()
        for what in args.what.split(","):
            before = cpu(s)
            if what in ("up", "down"):
                found[what], gb = meter.Iperf(net, address, args.streams, what == "down", args.seconds).end()
                found[f"cpu_{what}"] = (cpu(s) - before) / (gb * (args.seconds + 1) / args.seconds)
            elif what == "udp":
                found["flood"] = meter.datagrams(net, address, 64, 0)[0] / 1e3
                before = cpu(s)
                got, _ = meter.datagrams(net, address, 64, args.rate)
                found["each"] = (cpu(s) - before) / got * 1e6
            elif what == "rtt":
                found["idle"], found["idle99"] = meter.ping(net, address, 100)
            else:
                load = meter.Iperf(net, address, 4, seconds=args.seconds)
                time.sleep(1)
                found["load"], found["load99"] = meter.ping(net, address, args.seconds * 80)
                load.end()
    finally:
        s.end()
    time.sleep(0.3)
    return found


def table(rows, kind):
    keys = [c for what in args.what.split(",") for c in COLUMNS[what]]
    lines = ["", f"## {meter.LINKS[kind]}", "", "| | " + " | ".join(c[1] for c in keys) + " |", "|---" * (1 + len(keys)) + "|"]
    first = rows[kind, args.way[0]]
    for way in args.way:
        runs, cells = rows[kind, way], []
        for key, _, more in keys:
            v = [r[key] for r in runs if key in r]
            pairs = [a[key] / b[key] for a, b in zip(runs, first) if key in a and b.get(key)]
            text = f"{statistics.median(v):.3g} ({min(v):.3g}-{max(v):.3g})" if v else "-"
            if way != args.way[0] and pairs:
                better = sum(1 for p in pairs if p != 1 and (p > 1) == more)
                text += f", x{statistics.median(pairs):.2f}, {better} of {len(pairs)} better"
            cells.append(text)
        lines.append(f"| {way} | " + " | ".join(cells) + " |")
    return lines


def main():
    rows = {}
    end = time.monotonic() + args.limit
    for kind in args.links.split(","):
        meter.links(net, kind)
        for r in range(args.pairs):
            order = args.way if r % 2 == 0 else args.way[::-1]
            if time.monotonic() > end:
                break
            got = {}
            for way in order:
                try:
                    got[way] = measure(way)
                except (testlib.Failed, subprocess.SubprocessError) as e:
                    print(f"{way}: {e}", file=sys.stderr)
                    testlib.show_logs(15)
            if len(got) == len(args.way):  # a pair is whole, or it does not count
                for way in args.way:
                    rows.setdefault((kind, way), []).append(got[way])
    head = [f"commit {os.environ.get('POSTERN_COMMIT')}; {os.cpu_count()} cores, Linux {os.uname().release}; "
            f"command: bench/run ab {' '.join(sys.argv[1:])}",
            "Median (least-most), median of the ratios to the first way in the same pair.", ""]
    head += [f"- {way}: {next((r['tell'] for (_, n), runs in rows.items() if n == way for r in runs), '-')}" for way in args.way]
    print("\n".join(head + [line for kind in args.links.split(",") if (kind, args.way[0]) in rows for line in table(rows, kind)]))
    testlib.done()


main()
