#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two data planes over real TUN devices and a real wire, every rung of the ladder.

    home t0 ==(ESP in UDP)== eth0 -- nat -- eth0 ==(ESP in UDP)== t0 vps
                             10.0.0.2   203.0.113.1/2

No IKE: dp_static has its keys by argument. For each rung: ping v4 and v6, also larger than the MTU,
a TCP transfer each way compared by hash, UDP of odd sizes, and what the counters say.
"""
import os
import signal

from testlib import BUILD, best, check, done, lablib, require, skip, start, wait_for

DP = os.path.join(BUILD, "tests", "netns", "dp_static")
BYTES = 12_000_000
SEND = """
import hashlib, os, socket, sys
n, h, data = int(sys.argv[3]), hashlib.sha256(), os.urandom(1 << 20)
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20)
while n:
    part = data[:min(n, len(data))]
    s.sendall(part); h.update(part); n -= len(part)
s.shutdown(1); s.recv(1)
print(h.hexdigest())
"""
SINK = """
import hashlib, socket, sys
l = socket.create_server((sys.argv[1], int(sys.argv[2])), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
print("ready", flush=True)
s, _ = l.accept(); h = hashlib.sha256()
while True:
    b = s.recv(1 << 16)
    if not b: break
    h.update(b)
s.send(b"x"); print(h.hexdigest(), flush=True)
"""
UDP_ECHO = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((sys.argv[1], 7)); print("ready", flush=True)
while True:
    b, a = s.recvfrom(65535); s.sendto(b, a)
"""
UDP_ASK = """
import os, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(10); s.connect((sys.argv[1], 7)); bad = 0
for n in [1, 2, 3, 63, 64, 65, 500, 1371, 1372, 1373, 3000, 9000, 30000]:
    b = os.urandom(n); s.send(b); bad += s.recv(65535) != b
sent = [bytes([i]) * (600 if i % 10 else 77) for i in range(200)]
for at in range(0, 200, 20):
    for b in sent[at:at + 20]: s.send(b)
    bad += [s.recv(65535) for _ in range(20)] != sent[at:at + 20]
print("bad", bad)
"""


def make(lab):
    home, nat, vps = lab.machine("home"), lab.machine("nat"), lab.machine("vps")
    lab.link(home, "eth0", nat, "in0")
    lab.link(nat, "out0", vps, "eth0")
    home.addr("eth0", "10.0.0.2/24")
    nat.addr("in0", "10.0.0.1/24")
    nat.addr("out0", "203.0.113.1/24")
    vps.addr("eth0", "203.0.113.2/24")
    home.run(["ip", "route", "add", "default", "via", "10.0.0.1"])
    nat.sysctl(net__ipv4__ip_forward=1)
    nat.nft("table ip nat {\n chain post {\n type nat hook postrouting priority 100;\n"
            " oifname out0 masquerade random\n }\n}\n")
    return home, nat, vps


def tun(m, vnet, mtu, *addrs):
    m.run(["ip", "link", "del", "t0"], check=False)
    m.run(["ip", "tuntap", "add", "dev", "t0", "mode", "tun", "multi_queue"] + (["vnet_hdr"] if vnet else []))
    m.run(["ip", "link", "set", "t0", "mtu", mtu])
    m.addr("t0", *addrs)


def answered(m, size, to):
    """Two pings; one after the other, as ping waits for the second of two no longer than for the first, or for -i."""
    out = best(lambda: [m.run(["ping", "-c1", "-W5", "-s", size, to], check=False) for _ in range(2)],
               lambda both: all(p.returncode == 0 for p in both))
    return all(p.returncode == 0 for p in out), "".join(p.stdout for p in out)


def counters(m, proc):
    """Ask a running end for its counters."""
    before = len(open(proc.log).read())
    os.kill(m.child_pids(proc)[0] if m.child_pids(proc) else proc.pid, signal.SIGUSR1)
    wait_for("the counters", lambda: "counters told" in open(proc.log).read()[before:], 10)
    out = {}
    for line in open(proc.log).read()[before:].splitlines():
        key, eq, value = line.partition("=")
        if eq and value.isdigit():
            out[key] = int(value)
    return out


def transfer(a, b, address, port):
    sink = b.start(["python3", "-c", SINK, address, port], log=f"sink{port}")
    wait_for("the sink", lambda: "ready" in open(sink.log).read(), 5)
    sent = a.python(SEND, address, str(port), str(BYTES), check=False, timeout=180).stdout.split()
    sink.wait(60)
    return bool(sent) and sent[-1] in open(sink.log).read()


def is_up(p):
    wait_for("it is up, or over", lambda: "up io=" in open(p.log).read() or p.poll() is not None, 10)


def ends(home, vps, args, port):
    """Both ends. The VPS is up first: what home's TUN says of itself at once would come under an SPI not known yet."""
    v = vps.start([DP, "--bind", "203.0.113.2", "--spi-in", "4097", "--spi-out", "8192"] + args, log=f"dp{port}")
    is_up(v)
    h = home.start([DP, "--bind", "10.0.0.2", "--peer", "203.0.113.2", "--spi-in", "8192", "--spi-out", "4097",
                    "--dummy-ms", "300"] + args, log=f"dp{port}")
    is_up(h)
    return v, h


def rung(lab, home, nat, vps, name, args, port, vnet=True):
    print(f"--- {name}", flush=True)
    tun(home, vnet, 1400, "10.99.0.2/24", "fd99::2/64")
    tun(vps, vnet, 1400, "10.99.0.1/24", "fd99::1/64")
    args = args + ([] if vnet else ["--no-vnet"])
    v, h = ends(home, vps, args, port)
    for p in (v, h):
        if p.poll() is not None:
            check(f"{name}: starts", False, open(p.log).read())
            return
    print("    " + [x for x in open(h.log).read().splitlines() if x.startswith("up ")][0])
    # The VPS learns where home is from its first authentic packet: a dummy.
    wait_for("the endpoint is learnt", lambda: "kind=2" in open(v.log).read(), 5)
    home.run(["ping", "-c", "1", "-W", "2", "10.99.0.1"], check=False)
    for to in ("10.99.0.1", "fd99::1"):
        for size in ("8", "56", "1340", "4000"):
            check(f"ping {to} with {size} bytes", *answered(home, size, to))
    check("TCP home to vps over v4", transfer(home, vps, "10.99.0.1", port))
    check("TCP vps to home over v6", transfer(vps, home, "fd99::2", port + 1))
    echo = vps.start(["python3", "-c", UDP_ECHO, "10.99.0.1"], log=f"echo{port}")
    wait_for("the echo", lambda: "ready" in open(echo.log).read(), 5)
    # A datagram that is lost where a process stood still is no fault, one that comes changed or late is one each time.
    said = best(lambda: home.python(UDP_ASK, "10.99.0.1", check=False, timeout=60).stdout.strip(), lambda s: s == "bad 0")
    check("UDP of every size comes back in order", said == "bad 0", said)
    echo.kill()
    hc, vc = counters(home, h), counters(vps, v)
    check("nothing was replayed, forged or malformed", not any(
        c.get(w) for c in (hc, vc) for w in ("replayed", "older_than_window", "bad_icv", "esp_malformed",
                                             "inner_malformed", "unknown_spi", "tun_bad_vnet_header")), (hc, vc))
    os.killpg(h.pid, signal.SIGTERM)
    os.killpg(v.pid, signal.SIGTERM)
    check("both end cleanly", h.wait(60) == 0 and v.wait(60) == 0, (h.returncode, v.returncode))
    return hc, vc, open(h.log).read()


def too_big(home, vps, io, port):
    """A TUN MTU that the path does not carry: batches are refused as a whole, then one by one."""
    print(f"--- {io}: larger than the wire", flush=True)
    for m, addr in ((home, "10.99.0.2/24"), (vps, "10.99.0.1/24")):
        tun(m, True, 1500, addr)
    args = ["--io", io, "--mtu", "1500"]
    v, h = ends(home, vps, args, port)
    wait_for("the endpoint is learnt", lambda: "kind=2" in open(v.log).read(), 10)
    r = home.run(["ping", "-c", "3", "-i", "0.1", "-W", "1", "-s", "1472", "10.99.0.1"], check=False)
    check("what does not fit is lost", "100% packet loss" in r.stdout, r.stdout)
    home.python("import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('10.99.0.1', 9)); "
                "s.setsockopt(socket.IPPROTO_UDP, 103, 1472); s.send(bytes(1472 * 4))")
    check("what fits still passes", *answered(home, "1000", "10.99.0.1"))
    c = counters(home, h)
    check("and it is counted", c.get("datagram_too_big", 0) >= 7 and c.get("gso_fallbacks", 0) >= 1, c)
    for p in (h, v):
        os.killpg(p.pid, signal.SIGTERM)
        p.wait(60)


def main():
    if os.geteuid() != 0:
        skip("needs root (namespaces, TUN)")
    if not os.path.exists("/dev/net/tun"):
        skip("needs /dev/net/tun")
    lab, _ = start(topology=False)
    home, nat, vps = make(lab)
    port = 9000
    for io in ("epoll", "io_uring"):
        full = None
        for name, extra, vnet in [
            ("all offloads", [], True),
            ("no TSO, no USO", ["--without", "tso,uso"], True),
            ("no UDP_SEGMENT, no UDP_GRO", ["--without", "udp_gso,udp_gro"], True),
            ("no merging, no ESN, ChaCha20", ["--without", "merge_tcp,merge_udp", "--no-esn", "--cipher", "2"], True),
            ("no virtio-net header at all", ["--without", "udp_gso,udp_gro"], False),
            ("two workers, AES-256", ["--workers", "2", "--cipher", "1"], True),
            ("AES-256-CBC with HMAC-SHA2-512", ["--cipher", "8"], True),
        ] + ([("single shots", ["--without", "recv_multi,read_multi,defer"], True)] if io == "io_uring" else []):
            r = rung(lab, home, nat, vps, f"{io}: {name}", ["--io", io] + extra, port, vnet)
            if r and name == "all offloads":
                full, log = r[:2], r[2]
            port += 10
        too_big(home, vps, io, port)
        port += 10
        if full:
            print("    packets per read, send and write:", full[0]["out_packets"] / full[0]["out_tun_reads"],
                  full[0]["out_packets"] / full[0]["out_sends"], full[1]["in_packets"] / full[1]["in_tun_writes"])
            check("super-packets were read, sent, received and written whole",
                  full[0]["out_packets"] > 5 * full[0]["out_tun_reads"] and
                  full[0]["out_packets"] > 5 * full[0]["out_sends"] and
                  full[1]["in_packets"] > 4 * full[1]["in_tun_writes"], full)
    # The wire of a card that cannot segment UDP: 1500 bytes at most.
    for m, dev in ((home, "eth0"), (nat, "in0"), (nat, "out0"), (vps, "eth0")):
        m.run(["ethtool", "-K", dev, "tso", "off", "tx-udp-segmentation", "off", "gro", "on"])
    rung(lab, home, nat, vps, "auto: 1500 bytes on the wire", [], port)
    done()


main()
