# SPDX-License-Identifier: GPL-3.0-or-later
"""home - NAT - vps on one machine: what a tunnel carries, beside no tunnel and beside other tunnels, interleaved.

Each round goes through all systems on each kind of link. TCP is iperf3's, up is from home to vps; small datagrams are
udp_load's, the most a second of which at most 1 % is lost; the round trip is a ping every 10 ms, idle and beside four
TCP streams up. CPU seconds per GB (1e9 bytes of TCP payload, one stream) are those of all daemon processes of both
ends: they include the kernel's work done in their time. Memory is the PSS of all of one end's processes afterwards.
"""
import argparse
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "netns"))
import testlib  # noqa: E402
from testlib import wait_for  # noqa: E402

parser = argparse.ArgumentParser(prog="bench/run")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--seconds", type=int, default=3, help="of each TCP run, one more that does not count before it")
parser.add_argument("--systems", default="none,uring,epoll,openssl,strongswan,wireguard,openvpn,ocserv",
                    help="of these and tcp, tls (the tunnel in a stream), wireguard-older")
parser.add_argument("--links", default="veth,wire")
parser.add_argument("--streams", default="1,4,16")
parser.add_argument("--sizes", default="64,512,1400", help="bytes of datagrams")
parser.add_argument("--segments", type=int, default=1, help="datagrams in one send of the generator")
parser.add_argument("--only", default="", help="of tcp, udp, rtt; all")
parser.add_argument("--congestion", default="cubic")
args = parser.parse_args()
lab, net = testlib.start()
import systems  # noqa: E402
import usage  # noqa: E402

LINKS = {"veth": "veth, as the kernel makes it", "wire": "at most 1500 bytes a packet on the wire"}
LOAD = os.path.join(testlib.BUILD, "bench/udp_load")
TRIES = 7  # halvings of the search for the datagram rate
TRY_S = 1.0


def wants(word):
    return not args.only or word in args.only.split(",")


class NoTunnel:
    what = "no tunnel"
    address = net.VPS4

    def start(self):
        pass

    def end(self):
        pass

    def pids(self, end):
        return []

    def tell(self):
        return ""


def postern(io, by="", crypto="auto"):
    """A posternd at each end, configured anew each time; @by: the port of the stream that carries the tunnel."""
    def make():
        for m in (net.vps, net.home):
            m.run(["rm", "-rf", "/etc/postern/keys"])
        ports = f"tcp-ports = {by}" if by else ""
        s = systems.Postern(lab, net, extra=f"io = {io}\ncrypto = {crypto}\n", vps_extra=ports, address=net.VPS4,
                            peer=f"tcp = always\n{ports}" if by else "")
        s.what = s.name
        return s
    return make


def foreign(word):
    return lambda: systems.ALL[word](lab, net)


SYSTEMS = {"none": NoTunnel, "uring": postern("io_uring"), "epoll": postern("epoll"),
           "openssl": postern("epoll", crypto="openssl"), "tcp": postern("epoll", "4500"), "tls": postern("epoll", "443/tls"),
           "strongswan": foreign("strongswan"), "wireguard": foreign("wireguard-newer"),
           "wireguard-older": foreign("wireguard"), "openvpn": foreign("openvpn"), "ocserv": foreign("ocserv")}
WORDS = {"none": "no tunnel", "uring": "Postern, io_uring", "epoll": "Postern, epoll", "openssl": "Postern, epoll, OpenSSL alone",
         "tcp": "Postern in TCP", "tls": "Postern in TLS", "strongswan": "strongSwan, kernel-libipsec", "wireguard": "wireguard-go",
         "wireguard-older": "wireguard-go, older", "openvpn": "OpenVPN", "ocserv": "ocserv"}


def links(offload):
    """The wire: super-packets are cut before each veth and put together again after it, as by a real card."""
    word = "on" if offload else "off"
    for m, dev in ((net.home, "wan"), (net.cgnat, "inner"), (net.cgnat, "wan"), (net.vps, "wan"), (net.wan, "p-vps"),
                   (net.wan, "p-cgnat")):
        m.run(["ethtool", "-K", dev, "tso", word, "tx-udp-segmentation", word, "gro", "off" if offload else "on"], check=False)


def cpu(s):
    return usage.cpu(s.pids("home") + s.pids("vps"))


class Iperf:
    def __init__(self, address, streams, reverse=False, seconds=args.seconds):
        self.server = net.vps.start(["iperf3", "-s", "-1", "-B", address], log="iperf3")
        wait_for("iperf3 listens", lambda: net.vps.run(["sh", "-c", "ss -Hltn | grep -q :5201"], check=False).returncode == 0)
        self.client = subprocess.Popen(
            net.home._cmd(["iperf3", "-J", "-c", address, "-O", "1", "-t", str(seconds), "-P", str(streams),
                           "-C", args.congestion] + (["-R"] if reverse else [])),
            stdout=subprocess.PIPE, text=True)

    def end(self):
        """(Gbit/s, GB) as received, and the seconds of all of it."""
        out = json.loads(self.client.communicate(timeout=90)[0])
        self.server.wait(10)
        if "error" in out:
            raise testlib.Failed(f"iperf3: {out['error']}")
        got = out["end"]["sum_received"]
        return got["bits_per_second"] / 1e9, got["bytes"] / 1e9


def ping(address, count, gap=0.01):
    out = net.home.run(["ping", "-c", str(count), "-i", str(gap), "-W", "2", address], check=False).stdout
    times = sorted(float(t) for t in re.findall(r"time=([\d.]+) ms", out))
    if not times:
        raise testlib.Failed(f"no answer from {address}")
    return statistics.mean(times), times[min(len(times) - 1, int(0.99 * len(times)))]


def datagrams(address, size, rate):
    """(received a second, share lost) at that rate."""
    sink = subprocess.Popen(net.vps._cmd([LOAD, "sink", address, "7000"]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    wait_for("the sink listens", lambda: ":7000 " in net.vps.run(["ss", "-Hlun"]).stdout)
    sent = json.loads(net.home.run([LOAD, "send", address, "7000", str(size), str(int(rate)), str(TRY_S), str(args.segments)]).stdout)
    time.sleep(0.2)
    got = json.loads(sink.communicate("", timeout=20)[0])
    offered = max(1, sent["packets"])
    return got["packets"] / max(sent["seconds"], 0.001), 1 - got["packets"] / offered


def most_datagrams(address, size):
    """k/s: the highest rate, found by halving, of which at most 1 % is lost."""
    top, _ = datagrams(address, size, 0)  # what arrives in a flood is about where to look
    low, high, best = 0.0, max(2 * top, 20e3), 0.0
    for i in range(TRIES):
        rate = top if not i else (low + high) / 2
        got, lost = datagrams(address, size, rate)
        if lost <= 0.01:
            low, best = rate, max(best, got)
        else:
            high = rate
    return best / 1e3


def measure(name):
    s = SYSTEMS[name]()
    address = getattr(s, "address", "10.99.0.1")
    s.start()
    found = {}
    try:
        wait_for(f"{name}: a ping", lambda: net.home.run(["ping", "-c1", "-W1", address], check=False).returncode == 0, 30)
        found["tell"] = s.what if not s.tell() or s.tell() == s.what else f"{s.what}: {s.tell()}"
        if wants("rtt"):
            found["idle"], found["idle99"] = ping(address, 100)
        for n in [int(x) for x in args.streams.split(",")] if wants("tcp") else []:
            for way in ("up", "down"):
                before = cpu(s)
                rate, gb = Iperf(address, n, way == "down").end()
                found[f"{way}{n}"] = rate
                if n == 1:
                    found[f"cpu_{way}"] = (cpu(s) - before) / (gb * (args.seconds + 1) / args.seconds)
        if wants("rtt"):
            load = Iperf(address, 4)
            time.sleep(1)
            found["load"], found["load99"] = ping(address, args.seconds * 80)
            load.end()
        for size in args.sizes.split(",") if wants("udp") else []:
            found[f"udp{size}"] = most_datagrams(address, int(size))
        found["pss"] = max(usage.pss(s.pids(end)) for end in ("home", "vps")) / 1024
    finally:
        s.end()
    time.sleep(0.5)
    return found


def columns():
    c = []
    if wants("tcp"):
        c += [(f"{way}{n}", f"TCP {n} {way}, Gbit/s", 2, True) for n in args.streams.split(",") for way in ("up", "down")]
        c += [(f"cpu_{way}", f"CPU s/GB {way}", 2, False) for way in ("up", "down")]
    if wants("udp"):
        c += [(f"udp{n}", f"UDP {n} B, k/s", 0, True) for n in args.sizes.split(",")]
    if wants("rtt"):
        c += [("idle", "RTT idle, ms", 2, False), ("idle99", "99 %", 2, False), ("load", "RTT 4 streams, ms", 2, False),
              ("load99", "99 %", 2, False)]
    return c + [("pss", "PSS, MB", 1, False)]


def cell(runs, key, digits, base):
    """median (least-most), and the share of no tunnel where that says something."""
    v = [r[key] for r in runs if key in r]
    if not v:
        return "-"
    text = f"{statistics.median(v):.{digits}f}"
    if len(v) > 1:
        text += f" ({min(v):.{digits}f}-{max(v):.{digits}f})"
    ref = [r[key] for r in base if key in r]
    if ref and statistics.median(ref):
        text += f", {statistics.median(v) / statistics.median(ref):.2f}"
    return text


def table(rows, names):
    lines = [f"machine: {os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}; commit {os.environ.get('POSTERN_COMMIT')}",
             f"congestion control: {args.congestion}; command: bench/run {' '.join(sys.argv[1:])}", "",
             "Median (least-most), share of no tunnel. CPU and PSS: all processes of the tunnel.", ""]
    for name in names:
        tell = next((f["tell"] for (_, n), runs in rows.items() if n == name for f in runs if f.get("tell")), None)
        if tell and name != "none":
            lines.append(f"- {WORDS[name]}: {tell}")
    for kind in args.links.split(","):
        lines += ["", f"## {LINKS[kind]}", "", "| | " + " | ".join(c[1] for c in columns()) + " |", "|---" * (1 + len(columns())) + "|"]
        base = rows.get((kind, "none"), [])
        for name in names:
            runs = rows.get((kind, name), [])
            lines.append(f"| {WORDS[name]} | " + " | ".join(
                cell(runs, key, digits, base if name != "none" and share else []) for key, _, digits, share in columns()) + " |")
    return "\n".join(lines) + "\n"


def main():
    names = args.systems.split(",")
    unknown = [n for n in names if n not in SYSTEMS] + [k for k in args.links.split(",") if k not in LINKS]
    if unknown:
        sys.exit(f"bench/run: there is no {unknown[0]}; there are {', '.join(SYSTEMS)}, and links {', '.join(LINKS)}")
    rows = {}
    for r in range(args.rounds):
        for kind in args.links.split(","):
            links(kind == "veth")
            for name in names:
                try:
                    found = measure(name)
                except (testlib.Failed, subprocess.SubprocessError) as e:
                    print(f"{name}: {e}", file=sys.stderr)
                    testlib.show_logs(15)
                    continue
                rows.setdefault((kind, name), []).append(found)
                print(f"round {r + 1}, {kind}, {name}: " + ", ".join(f"{k} {v:.2f}" for k, v in found.items() if k != "tell"), flush=True)
                where = os.environ.get("POSTERN_BENCH_OUT")
                if where:  # what there is, should the rest not come
                    with open(where, "w") as f:
                        f.write("# Throughput\n\n" + table(rows, names))
                    with open(where[:-3] + ".svg", "w") as f:
                        import chart
                        f.write(chart.draw(rows, names, WORDS, LINKS))
    print(table(rows, names))
    testlib.done()


main()
