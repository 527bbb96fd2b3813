# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmarks of the tunnel measure with, between home and vps of lab.Internet."""
import json
import os
import re
import statistics
import subprocess
import time

import testlib
from lab import wait_for

LINKS = {"veth": "veth, as the kernel makes it", "wire": "at most 1500 bytes a packet on the wire"}
LOAD = os.path.join(testlib.BUILD, "bench/udp_load")


def links(net, kind):
    """The wire: super-packets are cut before each veth and put together again after it, as by a real card."""
    # What stands for the internet is a bridge: it forwards, and has no firewall to ask about each packet.
    net.wan.run(["sysctl", "-qw"] + [f"net.bridge.bridge-nf-call-{t}=0" for t in ("iptables", "ip6tables", "arptables")], check=False)
    word, gro = ("on", "off") if kind == "veth" else ("off", "on")
    for m, dev in ((net.home, "wan"), (net.cgnat, "inner"), (net.cgnat, "wan"), (net.vps, "wan"), (net.wan, "p-vps"),
                   (net.wan, "p-cgnat")):
        m.run(["ethtool", "-K", dev, "tso", word, "tx-udp-segmentation", word, "gro", gro], check=False)


class Iperf:
    """One that does not count goes before @seconds."""

    def __init__(self, net, address, streams, reverse=False, seconds=3, congestion="cubic"):
        self.server = net.vps.start(["iperf3", "-s", "-1", "-B", address], log="iperf3")
        wait_for("iperf3 listens", lambda: net.vps.run(["sh", "-c", "ss -Hltn | grep -q :5201"], check=False).returncode == 0)
        self.client = subprocess.Popen(
            net.home._cmd(["iperf3", "-J", "-c", address, "-O", "1", "-t", str(seconds), "-P", str(streams),
                           "-C", congestion] + (["-R"] if reverse else [])),
            stdout=subprocess.PIPE, text=True)

    def end(self):
        """(Gbit/s, GB) as received, and the seconds of all of it."""
        out = json.loads(self.client.communicate(timeout=90)[0])
        self.server.wait(10)
        if "error" in out:
            raise testlib.Failed(f"iperf3: {out['error']}")
        got = out["end"]["sum_received"]
        return got["bits_per_second"] / 1e9, got["bytes"] / 1e9


def ping(net, address, count, gap=0.01):
    """(mean, 99 %) in ms."""
    out = net.home.run(["ping", "-c", str(count), "-i", str(gap), "-W", "2", address], check=False).stdout
    times = sorted(float(t) for t in re.findall(r"time=([\d.]+) ms", out))
    if not times:
        raise testlib.Failed(f"no answer from {address}")
    return statistics.mean(times), times[min(len(times) - 1, int(0.99 * len(times)))]


def datagrams(net, address, size, rate, seconds=1.0, segments=1):
    """(received a second, share lost) at that rate; 0: as fast as they are taken."""
    sink = subprocess.Popen(net.vps._cmd([LOAD, "sink", address, "7000"]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    wait_for("the sink listens", lambda: ":7000 " in net.vps.run(["ss", "-Hlun"]).stdout)
    sent = json.loads(net.home.run([LOAD, "send", address, "7000", str(size), str(int(rate)), str(seconds), str(segments)]).stdout)
    time.sleep(0.2)
    got = json.loads(sink.communicate("", timeout=20)[0])
    offered = max(1, sent["packets"])
    return got["packets"] / max(sent["seconds"], 0.001), 1 - got["packets"] / offered
