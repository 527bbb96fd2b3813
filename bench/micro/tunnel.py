#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""One TCP stream through two data planes over veth, beside the same path without a tunnel.

    bench/micro/tunnel.py [seconds] [rounds]

Rounds are interleaved; printed are the medians, the share of the raw rate, and the CPU seconds per
1e9 bytes of both ends together. Needs root and iperf3. dp_static has its keys by argument, so nothing but
the data plane is measured.
"""
import json
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "netns"))
from testlib import BUILD, start, wait_for  # noqa: E402

DP = os.path.join(BUILD, "tests", "netns", "dp_static")
SECONDS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
OFF = "tso,uso,udp_gso,udp_gro,merge_tcp,merge_udp"
VARIANTS = [
    ("raw", None),
    ("epoll", ["--io", "epoll"]),
    ("io_uring", ["--io", "io_uring"]),
    ("epoll, no offload", ["--io", "epoll", "--without", OFF]),
    ("io_uring, no offload", ["--io", "io_uring", "--without", OFF]),
    ("epoll, ChaCha20", ["--io", "epoll", "--cipher", "2"]),
]


def cpu(m, p):
    pid = (m.child_pids(p) or [p.pid])[-1]
    f = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(f[11]) + int(f[12])) / os.sysconf("SC_CLK_TCK")


def iperf(a, b, address, reverse=False):
    server = b.start(["iperf3", "-s", "-1"], log="iperf")
    time.sleep(0.3)
    r = a.run(["iperf3", "-J", "-c", address, "-t", SECONDS, "-O", "1"] + (["-R"] if reverse else []), timeout=60)
    server.wait(10)
    j = json.loads(r.stdout)["end"]["sum_received"]
    return j["bits_per_second"] / 1e6, j["bytes"]


def once(home, vps, args):
    if args is None:
        return iperf(home, vps, "203.0.113.2")[0], 0
    for m, addr in ((home, "10.99.0.2/24"), (vps, "10.99.0.1/24")):
        m.run(["ip", "link", "del", "t0"], check=False)
        m.run(["ip", "tuntap", "add", "dev", "t0", "mode", "tun", "multi_queue", "vnet_hdr"])
        m.run(["ip", "link", "set", "t0", "mtu", "1400", "gso_max_segs", "44"])
        m.addr("t0", addr)
    v = vps.start([DP, "--bind", "203.0.113.2", "--spi-in", "4097", "--spi-out", "8192"] + args, log="dp")
    h = home.start([DP, "--bind", "10.0.0.2", "--peer", "203.0.113.2", "--spi-in", "8192", "--spi-out", "4097",
                    "--dummy-ms", "300"] + args, log="dp")
    wait_for("the tunnel", lambda: home.run(["ping", "-c1", "-W1", "10.99.0.1"], check=False).returncode == 0, 10)
    before = cpu(home, h) + cpu(vps, v)
    rate, size = iperf(home, vps, "10.99.0.1")
    used = cpu(home, h) + cpu(vps, v) - before
    for p in (h, v):
        os.killpg(p.pid, 15)
        p.wait(10)
    return rate, used / (size * (SECONDS + 1) / SECONDS / 1e9)


def main():
    lab, _ = start(topology=False)
    home, nat, vps = lab.machine("home"), lab.machine("nat"), lab.machine("vps")
    lab.link(home, "eth0", nat, "in0")
    lab.link(nat, "out0", vps, "eth0")
    home.addr("eth0", "10.0.0.2/24")
    nat.addr("in0", "10.0.0.1/24")
    nat.addr("out0", "203.0.113.1/24")
    vps.addr("eth0", "203.0.113.2/24")
    home.run(["ip", "route", "add", "default", "via", "10.0.0.1"])
    nat.sysctl(net__ipv4__ip_forward=1)
    nat.nft("table ip nat {\n chain post {\n type nat hook postrouting priority 100;\n oifname out0 masquerade\n }\n}\n")
    for wire in ("veth as the kernel makes it", "1500 bytes on the wire"):
        if wire.startswith("1500"):
            for m, dev in ((home, "eth0"), (nat, "in0"), (nat, "out0"), (vps, "eth0")):
                m.run(["ethtool", "-K", dev, "tso", "off", "tx-udp-segmentation", "off", "gro", "on"])
        seen = {name: [] for name, _ in VARIANTS}
        for _ in range(ROUNDS):
            for name, args in VARIANTS:
                seen[name].append(once(home, vps, args))
        raw = statistics.median(r for r, _ in seen["raw"])
        print(f"\n{wire}; {SECONDS} s, {ROUNDS} rounds, kernel {os.uname().release}, load {os.getloadavg()[0]:.1f}")
        print(f"{'':24}{'Mbit/s':>10}{'of raw':>8}{'CPU s/GB':>10}   runs")
        for name, _ in VARIANTS:
            rates = [r for r, _ in seen[name]]
            mid = statistics.median(rates)
            print(f"{name:24}{mid:10.0f}{mid / raw:8.2f}{statistics.median(c for _, c in seen[name]):10.2f}   "
                  + " ".join(f"{r:.0f}" for r in rates), flush=True)
    lab.close()
    os._exit(0)


main()
