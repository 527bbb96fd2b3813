# SPDX-License-Identifier: GPL-3.0-or-later
"""Both families inside both families, by both kinds of I/O, between two posternds and a router that marks:

    home postern0 ==(ESP in UDP)== eth0 -- in0 router out0 -- eth0 ==(ESP in UDP)== postern0 vps
                       192.0.2.2, 2001:db8:1::2             203.0.113.2, 2001:db8:2::2

For each tunnel: packets of every kind come out byte for byte (options, extension headers, fragments, wrong
and absent checksums, DSCP and ECN), marks of the router are combined as RFC 6040 says, TCP and UDP arrive whole both ways
at every size, by super-packets and not one by one, a path that shrinks, and batches in which ESP is not alone.

    families.py          io_uring with IPv4 outside, epoll with IPv6
    families.py all      the other two as well
"""
import json
import random
import struct
import subprocess
import sys
import time

import testlib
from testlib import best, case, check, require, wait_for
import inner
from inner import DESTINATION, GRE, HOP_BY_HOP, ICMP, ICMPV6, ROUTING, TCP, UDP, ext, fragment, ip4, ip6, padded, tcp, udp

lab, _ = testlib.start(topology=False)
import cast  # noqa: E402

INNER = {4: ("10.99.0.2", "10.99.0.1"), 6: ("fd99::2", "fd99::1")}  # home, vps
OUTER = {4: "203.0.113.2", 6: "2001:db8:2::2"}
TOOL = inner.__file__
BULK = 24 << 20
OFFLOADS = {"tso", "uso", "udp_gso", "udp_gro", "merge_tcp", "merge_udp"}
NEVER = ("replayed", "older_than_window", "bad_icv", "esp_malformed", "inner_malformed", "tun_malformed", "tun_bad_vnet_header",
         "tun_write_failed", "selector_mismatch", "seal_failed", "udp_truncated")


class Net:
    def __init__(self):
        self.home, self.router, self.vps = (lab.machine(n) for n in ("home", "router", "vps"))
        lab.link(self.home, "eth0", self.router, "in0")
        lab.link(self.router, "out0", self.vps, "eth0")
        self.home.addr("eth0", "192.0.2.2/24", "2001:db8:1::2/64")
        self.router.addr("in0", "192.0.2.1/24", "2001:db8:1::1/64")
        self.router.addr("out0", "203.0.113.1/24", "2001:db8:2::1/64")
        self.vps.addr("eth0", "203.0.113.2/24", "2001:db8:2::2/64")
        for m, four, six in ((self.home, "192.0.2.1", "2001:db8:1::1"), (self.vps, "203.0.113.1", "2001:db8:2::1")):
            m.run(["ip", "route", "add", "default", "via", four])
            m.run(["ip", "-6", "route", "add", "default", "via", six])
        self.router.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
        self.router.nft("table inet marks {\n chain through { type filter hook forward priority 0; }\n}\n")
        for m in (self.home, self.vps):
            m.sysctl(net__ipv4__tcp_ecn=1)

    def mark(self, rule=""):
        self.router.run(["nft", "flush", "chain", "inet", "marks", "through"])
        if rule:
            self.router.run(["nft", "add", "rule", "inet", "marks", "through", *rule.split()])


net = Net()
port = 7000


def next_port():
    global port
    port += 1
    return str(port)


def started(m, *args):
    p = m.start(["python3", TOOL, *args], log=f"{args[0]}-{next_port()}")
    wait_for(f"{args[0]} is ready", lambda: "ready" in open(p.log).read() or p.poll() is not None, 10)
    return p


def counters(side):
    return json.loads(side.cli("status", "--counters", "--json").stdout)["counters"]


def grown(side, before):
    return {k: v - before.get(k, 0) for k, v in counters(side).items() if v != before.get(k, 0)}


# ---- single packets ----

TOS = (0, 1, 2, 3, 0xb8, 0xb9, 0x2a, 0xfc, 0xff)  # DSCP and ECN


def bodies(src, dst):
    """Of UDP and of TCP, from a port that tells them apart."""
    return (lambda n, **kw: udp(src, dst, n, 9, b"PSTN-" + bytes([n & 255]) * 90, **kw),
            lambda n, **kw: tcp(src, dst, n, 9, b"PSTN" * 20, **kw))


def every_kind4(src, dst):
    u, t = bodies(src, dst)
    four = lambda proto, body, **kw: ip4(src, dst, proto, body, **kw)
    unreachable = b"\3\1\0\0" + bytes(32)
    out = {f"TOS {tos:#04x}": four(UDP, u(5000 + tos), tos=tos) for tos in TOS}
    for name, options in (("router alert", b"\x94\4\0\0"), ("a timestamp", b"\x44\x0c\5\0" + bytes(8)),
                          ("40 bytes of options", b"\1" * 39 + b"\0")):
        out[name] = four(UDP, u(5300), options=options)
        out[f"{name} before TCP"] = four(TCP, t(5301), options=options)
    return out | odd_tcp(src, dst, lambda body: four(TCP, body)) | {
        "no UDP checksum": four(UDP, u(5400, check=0)),
        "a wrong UDP checksum": four(UDP, u(5401, check="bad")),
        "a wrong TCP checksum": four(TCP, t(5402, check="bad")),
        "a UDP length shorter than IP's": four(UDP, u(5403, length=30)),
        "UDP without a byte": four(UDP, udp(src, dst, 5404, 9, b"")),
        "half a TCP header": four(TCP, t(5405)[:11]),
        "GRE": four(GRE, bytes(60)),
        "SCTP": four(132, b"\1\2\3\4" * 9),
        "protocol 253": four(253, b"\7" * 33),
        "an ICMP error": four(ICMP, unreachable[:2] + struct.pack("!H", inner.csum(unreachable)) + unreachable[4:]),
        "no DF": four(UDP, u(5406), flags=0),
        "the reserved flag": four(UDP, u(5407), flags=0xc000),
        "TTL 1": four(UDP, u(5408), ttl=1),
        "the first fragment": four(UDP, u(5409)[:64], flags=0x2000),
        "one in the middle": four(UDP, b"\5" * 64, flags=0x2008),
        "the last fragment": four(UDP, b"\6" * 13, flags=0x0010),
        "a fragment with options": four(UDP, b"\7" * 24, flags=0x2004, options=b"\x94\4\0\0")}


def every_kind6(src, dst):
    u, t = bodies(src, dst)
    six = lambda proto, body, **kw: ip6(src, dst, proto, body, **kw)
    routing, hop, dest = ext(ROUTING, bytes([253, 0]) + bytes(4)), padded(HOP_BY_HOP), padded(DESTINATION, 24)
    out = {f"class {c:#04x}": six(UDP, u(5000 + c), tclass=c) for c in TOS}
    for name, exts in (("Hop-by-Hop", [hop]), ("Destination", [dest]), ("Routing", [routing]),
                       ("all of them", [hop, dest, routing, dest]), ("256 bytes of options", [padded(DESTINATION, 256)]),
                       ("an atomic fragment", [fragment(0, 0)]), ("the first fragment", [fragment(0, 1)]),
                       ("Hop-by-Hop and a fragment", [hop, fragment(0, 1), dest])):
        out[f"{name} before UDP"] = six(UDP, u(5300)[:96], exts=exts)
        out[f"{name} before TCP"] = six(TCP, t(5301)[:96], exts=exts)
    return out | odd_tcp(src, dst, lambda body: six(TCP, body)) | {
        "a later fragment": six(UDP, b"\5" * 64, exts=[fragment(64, 1)]),
        "the last fragment": six(UDP, b"\6" * 13, exts=[dest, fragment(128, 0)]),
        "no UDP checksum": six(UDP, u(5400, check=0)),
        "a wrong UDP checksum": six(UDP, u(5401, check="bad")),
        "a wrong TCP checksum": six(TCP, t(5402, check="bad")),
        "UDP without a byte": six(UDP, udp(src, dst, 5404, 9, b"")),
        "half a TCP header": six(TCP, t(5405)[:11]),
        "GRE": six(GRE, bytes(60)),
        "no next header": six(59, b"xyz"),
        "nothing behind the header": six(59, b""),
        "an authentication header": six(51, b"\x3b\4\0\0" + bytes(20)),
        "mobility": six(135, b"\x3b\0\0\0" + bytes(4)),
        "an ICMPv6 error": six(ICMPV6, b"\1\4\0\0" + bytes(52)),
        "hop limit 1": six(UDP, u(5408), hops=1)}


def odd_tcp(src, dst, ip):
    return {name: ip(tcp(src, dst, 5500 + i, 9, b"PSTN" * 30, **kw)) for i, (name, kw) in enumerate((
        ("a SYN with data", {"flags": 2}), ("CWR and ECE", {"flags": 0xd0}), ("AE", {"reserved": 1}),
        ("urgent data", {"flags": 0x30, "urgent": 9}), ("FIN and PSH", {"flags": 0x19}), ("RST", {"flags": 4}),
        ("40 bytes of TCP options", {"options": b"\1" * 40}), ("no flag at all", {"flags": 0})))}


def through(a, b, packets, seconds=5, wanted=None):
    """Packets sent by raw sockets of machine @a; those that were seen to come out of the tunnel at @b until all @wanted
    (by default all that were sent) are there."""
    w = started(b, "watch", "postern0")
    a.run(["python3", TOOL, "raw"], input="".join(p.hex() + "\n" for p in packets))
    wanted = {p.hex() for p in (packets if wanted is None else wanted)}
    seen = set()

    def all_there():
        seen.update(open(w.log).read().split())
        return wanted <= seen
    try:
        wait_for("all packets", all_there, seconds)
    except testlib.Failed:
        pass
    w.kill()
    w.wait()
    return {bytes.fromhex(s) for s in seen if s != "ready"}


def single_packets(name, home, vps):
    for v, kinds in ((4, every_kind4), (6, every_kind6)):
        for a, b, src, dst in ((net.home, net.vps, *INNER[v]), (net.vps, net.home, *INNER[v][::-1])):
            packets = kinds(src, dst)
            seen = through(a, b, list(packets.values()))
            lost = [what for what, p in packets.items() if p not in seen]
            check(f"{name}: {len(packets)} kinds of IPv{v} packets from {a.name} come out byte for byte", not lost, lost)


def with_ecn(p, ecn):
    if p[0] >> 4 == 6:
        return p[:1] + bytes([p[1] & 0xcf | ecn << 4]) + p[2:]
    p = p[:1] + bytes([p[1] & 0xfc | ecn]) + p[2:10] + b"\0\0" + p[12:]
    return p[:10] + struct.pack("!H", inner.csum(p[:20])) + p[12:]


# RFC 6040 s4.2, figure 4: [inner][outer], the numbers as on the wire: not-ECT, ECT(1), ECT(0), CE. None: drop.
ECN = ((0, 0, 0, None), (1, 1, 1, 3), (2, 1, 2, 3), (3, 3, 3, 3))
WORDS = ("not-ect", "ect1", "ect0", "ce")


def marks(name, outer, home, vps):
    before, wrong = counters(vps), []
    for o in range(4):
        net.mark(f"udp dport 4500 {'ip' if outer == 4 else 'ip6'} ecn set {WORDS[o]}")
        packets, want, dropped = [], set(), set()
        for v in (4, 6):
            for i in range(4):
                src, dst = INNER[v]
                body = udp(src, dst, 6000 + 4 * o + i, 9, b"marked")
                p = ip4(src, dst, UDP, body, tos=0xb8 | i) if v == 4 else ip6(src, dst, UDP, body, tclass=0xb8 | i)
                packets.insert(0 if ECN[i][o] is None else len(packets), p)
                (dropped if ECN[i][o] is None else want).add(with_ecn(p, ECN[i][o] or 0))
        # What is to be dropped is sent first, and so would come first.
        seen = through(net.home, net.vps, packets, wanted=want)
        wrong += [(WORDS[o], p.hex()) for p in want - seen] + [(WORDS[o], "came", p.hex()) for p in dropped & seen]
    net.mark()
    case("ike_case_109_marks_of_a_router_reach_the_inner_packet_as_the_table_says", not wrong, (name, wrong))
    since = grown(vps, before)
    check(f"{name}: and what may not be marked was dropped and counted", since.get("ecn_ce_on_not_ect", 0) >= 2, since)


# ---- streams ----

def transfer(a, b, to, size, *options):
    p = next_port()
    s = started(b, "sink", to, p)
    said = a.run(["python3", TOOL, "source", to, p, str(size), p, *options], check=False, timeout=90).stdout
    try:
        s.wait(60)
    except subprocess.TimeoutExpired:
        s.kill()
    whole = len(said.strip()) == 64 and said.strip() in open(s.log).read()
    if not whole:
        print(said)
    return whole


def both_ways(v):
    h, s = INNER[v]
    return ((net.home, net.vps, s), (net.vps, net.home, h))


def bulk(name, home, vps):
    for v in (4, 6):
        for a, b, to in both_ways(v):
            sides = (home, vps) if a is net.home else (vps, home)
            was = [counters(s) for s in sides]
            ok = transfer(a, b, to, BULK)
            out, came = (grown(s, w) for s, w in zip(sides, was))
            check(f"{name}: {BULK >> 20} MB of TCP over IPv{v} from {a.name} arrive whole", ok)
            check("and went as super-packets: read, sent and written", out["out_packets"] > 4 * out["out_tun_reads"]
                  and out["out_packets"] > 4 * out["out_sends"] and came["in_packets"] > 4 * came["in_tun_writes"],
                  (out, came))
            size, count = random.choice((301, 1000, 1199)), 4000

            def poured():
                """What the receiver says, and what was counted; one that is lost ends it."""
                was, p = [counters(s) for s in sides], next_port()
                c = started(b, "catch", to, p, str(size), str(count))
                a.run(["python3", TOOL, "pour", to, p, str(size), str(count)], check=False)
                c.wait(60)
                return open(c.log).read(), *(grown(s, w) for s, w in zip(sides, was))
            said, out, came = best(poured, lambda r: f"seen {count} wrong 0" in r[0])
            check(f"{name}: so do {count} datagrams of {size} bytes, in order", f"seen {count} wrong 0" in said, said)
            check("as super-packets too", out["out_packets"] > 4 * out["out_tun_reads"]
                  and came["in_packets"] > 4 * came["in_tun_writes"], (out, came))


def odd_streams(name):
    """Segments of odd sizes; headers longer than the slices; options and extension headers in every segment."""
    mss, four, six = "6:2:={}".format, "0:4:{}".format, lambda kind, p: f"41:{kind}:{p[1].hex()}"
    for what, v, options in (
            ("segments of 537 bytes", 4, [mss(537)]),
            ("segments of 1001 bytes", 6, [mss(1001)]),
            ("segments of 88 bytes", 4, [mss(88)]),
            ("segments of 88 bytes", 6, [mss(88)]),
            ("IPv4 options", 4, [four("94040000")]),
            ("40 bytes of IPv4 options", 4, [four("01" * 40)]),
            ("Destination Options", 6, [six(59, padded(DESTINATION, 16))]),
            ("Hop-by-Hop and Destination Options", 6, [six(54, padded(HOP_BY_HOP, 64)), six(59, padded(DESTINATION, 104))]),
            ("512 bytes of Destination Options", 6, [six(59, big_options())])):
        for a, b, to in both_ways(v):
            check(f"{name}: TCP with {what} from {a.name} arrives whole", transfer(a, b, to, 2 << 20, *options))


def big_options():
    option = bytes([0x1e, 252]) + bytes(252)
    return ext(DESTINATION, option + option + b"\1\0")


NOBODY = """import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(3)
s.connect((sys.argv[1], 4))
for _ in range(5):  # a kernel makes so many ICMP errors a second
    try:
        s.send(b"x")
        s.recv(1)
    except TimeoutError:
        continue
    except OSError as e:
        print(type(e).__name__)
    break
"""


def datagrams(name, mtu):
    for v in (4, 6):
        for a, b, to in both_ways(v):
            p, head = next_port(), 28 if v == 4 else 48
            e = started(b, "echo", to, p)
            most = 65507 if v == 4 else 65487
            sizes = ["1-70", f"{mtu - head - 40}-{mtu - head + 40}", *map(str, range(101, mtu, 37)),
                     *map(str, (2000, 2777, 4001, 9000, 30011, most))]
            said = a.run(["python3", TOOL, "ask", to, p, *sizes], check=False).stdout.strip()
            check(f"{name}: UDP over IPv{v} of every size to {most} bytes goes from {a.name} and comes back, in fragments too",
                  said == "bad []", said)
            e.kill()
            quiet = a.python(NOBODY, to).stdout
            check("and an ICMP error comes back", "ConnectionRefused" in quiet, quiet)


def mib(m, name):
    out = {}
    for path in ("/proc/net/snmp", "/proc/net/netstat"):
        lines = m.read(path).splitlines()
        for keys, values in zip(lines[::2], lines[1::2]):
            area = keys.split(":")[0]
            out |= {area + k: int(x) for k, x in zip(keys.split()[1:], values.split()[1:])}
    for line in m.read("/proc/net/snmp6").splitlines():
        out[line.split()[0]] = int(line.split()[1])
    return out.get(name, 0)


def spoilt_in_a_run(name, vps):
    """Of datagrams of one flow that are merged, those with a wrong checksum stay wrong."""
    for v in (4, 6):
        (src, dst), p = INNER[v], int(next_port())
        errors = "UdpInCsumErrors" if v == 4 else "Udp6InCsumErrors"
        started(net.vps, "echo", dst, str(p))
        body = [udp(src, dst, 4444, p, inner.content(i, 400), check="bad" if i % 7 == 3 else None) for i in range(210)]
        packets = [ip4(src, dst, UDP, b, ident=100 + i) if v == 4 else ip6(src, dst, UDP, b) for i, b in enumerate(body)]
        was = counters(vps)

        def judged():
            before = mib(net.vps, errors)
            net.home.run(["python3", TOOL, "raw"], input="".join(q.hex() + "\n" for q in packets))
            try:
                wait_for("all are judged", lambda: mib(net.vps, errors) - before >= 30, 3)
            except testlib.Failed:
                pass
            return mib(net.vps, errors) - before
        wrong = best(judged, lambda n: n == 30)  # one that is lost where a process stood still is not judged
        check(f"{name}: 30 wrong checksums among 210 IPv{v} datagrams of a flow are still wrong", wrong == 30,
              (wrong, grown(vps, was)))


def marked_stream(name, outer, home, vps):
    """Each sixteenth outer packet of a TCP stream is marked, alone on the wire: so many inner ones are, and all arrive."""
    word = "ip" if outer == 4 else "ip6"
    for v in (4, 6):
        rule = f"iifname in0 udp dport 4500 {word} ecn {{ ect0, ect1 }} numgen inc mod 16 0 counter {word} ecn set ce"
        seen_by = ["IpExtInCEPkts" if x == 4 else "Ip6InCEPkts" for x in (outer, v)]

        def once():
            """(whole, how many were marked, marks that both are to have seen, and have)"""
            net.mark(rule)
            before, was = [mib(net.vps, c) for c in seen_by], counters(home)
            ok = transfer(net.home, net.vps, INNER[v][1], 8 << 20)
            rules = net.router.run(["nft", "list", "chain", "inet", "marks", "through"]).stdout
            net.mark()
            marked = int(rules.split("packets ")[1].split()[0]) + grown(home, was).get("queue_marked_ce", 0)
            return ok, marked, [marked * (2 if outer == v else 1)] * 2, [mib(net.vps, c) - b for c, b in zip(seen_by, before)]
        # A packet that is lost behind the router, where a process stood still and a queue ran over, takes its mark along.
        ok, marked, want, seen = best(once, lambda r: r[0] and r[2] == r[3])
        check(f"{name}: IPv{v} TCP of which a sixteenth is marked arrives whole, and its {marked} marks with it",
              ok and marked > 50 and seen == want, (ok, marked, want, seen))


def not_alone(name, outer, vps):
    """One super-datagram whose segments are ESP, IKE and, shorter and last, a keepalive."""
    once = """import socket, sys
s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_UDP, 103, 96)
s.connect((sys.argv[1], 4500))
esp = lambda n: (0x77000000 + n).to_bytes(4, 'big') + bytes(92)
ike = bytes(4) + bytes(range(16)) + b'\\0\\x20\\x25\\x08' + bytes(4) + (92).to_bytes(4, 'big') + bytes(64)
s.send(b''.join([esp(1), ike, esp(2), (9).to_bytes(4, 'big') + bytes(92), ike, ike, esp(3)]) + b'\\xff')
"""
    ok = lambda g: g.get("unknown_spi") == 4 and g.get("in_nat_keepalives", 0) >= 1 and g.get("in_ike", 0) >= 3

    def told():
        was = counters(vps)
        net.home.python(once, OUTER[outer])
        try:
            wait_for("all are told apart", lambda: ok(grown(vps, was)), 3)
        except testlib.Failed:
            pass
        return grown(vps, was)
    seen = best(told, ok)
    check(f"{name}: ESP, IKE and a keepalive in one receive are told apart", ok(seen), seen)


def smaller_path(name, outer, home, vps):
    mtu = lambda s, p: (s.peer(p).get("mtu") or {}).get("path")
    for m, dev in ((net.router, "out0"), (net.vps, "eth0")):
        m.run(["ip", "link", "set", dev, "mtu", "1380"])
    for v in (4, 6):
        for a, b, to in both_ways(v):
            check(f"{name}: with a path of 1380, TCP over IPv{v} from {a.name} arrives whole", transfer(a, b, to, 4 << 20))
    near = lambda n: n is not None and 1372 <= n <= 1380  # a search that ends within eight bytes

    def known():
        # With the segments of who knew it first there is nothing large to find it out by.
        for a, b, to in both_ways(4):
            a.run(["ping", "-c1", "-W0.3", "-M", "dont", "-s", "1370", to], check=False)
        return near(mtu(home, "vps")) and near(mtu(vps, "home"))
    try:
        wait_for("both know the path", known, 20)
    except testlib.Failed:
        pass
    found = mtu(home, "vps"), mtu(vps, "home")
    check("and both know the path", all(map(near, found)), found)
    fits = (home.peer("vps").get("mtu") or {}).get("inner")
    datagrams(name + ", 1380", fits)
    for m, dev in ((net.router, "out0"), (net.vps, "eth0")):
        m.run(["ip", "link", "set", dev, "mtu", "1500"])


# ---- all ----

def tunnel(outer, io):
    vps, home = cast.tunnel(net, extra=f"io = {io}\n", address=OUTER[outer])
    for s in (vps, home):
        s.start_posternd()
    up = lambda v: net.home.run(["ping", "-c1", "-W1", INNER[v][1]], check=False).returncode == 0
    require("the tunnel comes up", bool(wait_for("ping", lambda: up(4) and up(6), 30)))
    wait_for("both paths are known", lambda: all((s.peer(p).get("mtu") or {}).get("last_probe_s") is not None
                                                 for s, p in ((home, "vps"), (vps, "home"))), 20)
    dp = home.status()["dataplane"]
    check(f"by {io}, with every offload", dp["io"] == io and OFFLOADS <= set(dp["features"]), dp)
    at = home.peer("vps").get("endpoint", "")
    check(f"outside is IPv{outer}", at.strip("[").startswith(OUTER[outer]), at)
    return vps, home


def chosen():
    """Each kind of I/O and each family outside once; all four pairs by `all`."""
    pairs = [(io, outer) for io in ("io_uring", "epoll") for outer in (4, 6)]
    return pairs if "all" in sys.argv else [p for p in pairs if p in (("io_uring", 4), ("epoll", 6))]


def main():
    for io, outer in chosen():
        name = f"IPv{outer} outside, {io}"
        print(f"--- {name}", flush=True)
        began = time.monotonic()
        vps, home = tunnel(outer, io)
        single_packets(name, home, vps)
        marks(name, outer, home, vps)
        bulk(name, home, vps)
        odd_streams(name)
        datagrams(name, home.peer("vps")["mtu"]["inner"])
        spoilt_in_a_run(name, vps)
        not_alone(name, outer, vps)
        for m in (net.home, net.vps):  # what leaves is cut before the wire, and put together behind it
            m.run(["ethtool", "-K", "eth0", "tso", "off", "tx-udp-segmentation", "off", "gro", "on"])
        marked_stream(name, outer, home, vps)
        smaller_path(name, outer, home, vps)
        for m in (net.home, net.vps):
            m.run(["ethtool", "-K", "eth0", "tso", "on", "tx-udp-segmentation", "on"])
        for s in (home, vps):
            c = counters(s)
            bad = {k: c[k] for k in NEVER if c.get(k)}
            check(f"{name}: nothing at {s.tag} was malformed, forged or refused", not bad, bad)
        for s in (home, vps):
            s.d.terminate()
            s.d.wait(60)
            s.m.run([testlib.POSTERND, "--cleanup"])
            s.m.run(["rm", "-rf", "/etc/postern/keys"])
        print(f"    {time.monotonic() - began:.0f} s", flush=True)
    testlib.done()


main()
