# SPDX-License-Identifier: GPL-3.0-or-later
"""home - NAT - vps on one machine: what a tunnel carries, beside no tunnel and beside other tunnels, interleaved.

Each round goes through all systems on each kind of link. TCP is iperf3's, up is from home to vps; small datagrams are
udp_load's, the most a second of which at most 1 % is lost; the round trip is a ping every 10 ms, idle and beside four
TCP streams up. CPU seconds per GB (1e9 bytes of TCP payload, one stream) are those of all daemon processes of both
ends: they include the kernel's work done in their time. Memory is the PSS of all of one end's processes afterwards.
"""
import argparse
import os
import platform
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
import meter  # noqa: E402
import systems  # noqa: E402
import usage  # noqa: E402

LOSS, NEAR = 0.01, 1.04  # of the search for the datagram rate
TRY_S = 1.0


def datagrams(address, size, rate):
    return meter.datagrams(net, address, size, rate, TRY_S, args.segments)


def iperf(address, streams, reverse=False):
    return meter.Iperf(net, address, streams, reverse, args.seconds, args.congestion)


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


def cpu(s):
    return usage.cpu(s.pids("home") + s.pids("vps"))


def arrives(address, size, rate):
    """Datagrams received a second, 0 when more than 1 % is lost: in two tries, since a moment of somebody else's is no limit."""
    for _ in range(2):
        got, lost = datagrams(address, size, rate)
        if lost <= LOSS:
            return got
    return 0


def most_datagrams(address, size):
    """k/s: the highest rate of which at most 1 % is lost, found to within NEAR; what arrives in a flood is where to begin."""
    rate, _ = datagrams(address, size, 0)
    rate, low, high, best = max(rate, 10e3), 0.0, 0.0, 0.0
    while not high or not low or high / low > NEAR:
        got = arrives(address, size, rate)
        if got:
            low, best = rate, max(best, got)
        else:
            high = rate
        if got and got < 0.9 * rate:
            break  # more than the generator can make
        rate = low * 1.2 if not high else high / 1.3 if not low else (low * high) ** 0.5
        if rate < 1e3:
            break
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
            found["idle"], found["idle99"] = meter.ping(net, address, 100)
        for n in [int(x) for x in args.streams.split(",")] if wants("tcp") else []:
            for way in ("up", "down"):
                before = cpu(s)
                rate, gb = iperf(address, n, way == "down").end()
                found[f"{way}{n}"] = rate
                if n == 1:
                    found[f"cpu_{way}"] = (cpu(s) - before) / (gb * (args.seconds + 1) / args.seconds)
        if wants("rtt"):
            load = iperf(address, 4)
            time.sleep(1)
            found["load"], found["load99"] = meter.ping(net, address, args.seconds * 80)
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
        lines += ["", f"## {meter.LINKS[kind]}", "", "| | " + " | ".join(c[1] for c in columns()) + " |", "|---" * (1 + len(columns())) + "|"]
        base = rows.get((kind, "none"), [])
        for name in names:
            runs = rows.get((kind, name), [])
            lines.append(f"| {WORDS[name]} | " + " | ".join(
                cell(runs, key, digits, base if name != "none" and share else []) for key, _, digits, share in columns()) + " |")
    return "\n".join(lines) + "\n"


def main():
    names = args.systems.split(",")
    unknown = [n for n in names if n not in SYSTEMS] + [k for k in args.links.split(",") if k not in meter.LINKS]
    if unknown:
        sys.exit(f"bench/run: there is no {unknown[0]}; there are {', '.join(SYSTEMS)}, and links {', '.join(meter.LINKS)}")
    rows = {}
    for r in range(args.rounds):
        for kind in args.links.split(","):
            meter.links(net, kind)
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
                        f.write(chart.draw(rows, names, WORDS, meter.LINKS))
    print(table(rows, names))
    testlib.done()


main()
