# SPDX-License-Identifier: GPL-3.0-or-later
"""postern bench: refused without the peer's consent; with it the figures are of the same order as what iperf3 sees through
the same tunnel in the same run, inner traffic goes on beside it, and the load ends with whoever is gone: the command, the
consent, the process that moves packets on either side.
"""
import json
import os
import re
import shutil
import signal
import time

import testlib
from testlib import check, require, wait_for

if not shutil.which("iperf3"):
    testlib.skip("no iperf3")
lab, net = testlib.start()
import cast  # noqa: E402

vps, home = cast.tunnel(net)
for side in (vps, home):
    side.start_posternd()


def ping(wait="0.5"):
    return net.home.run(["ping", "-c1", f"-W{wait}", "10.99.0.1"], check=False).returncode == 0


def set_consent(word):
    conf = re.sub(r"(?m)^bench = .*\n", "", vps.m.read("/etc/postern/postern.conf"))
    vps.m.write("/etc/postern/postern.conf", conf.replace("[peer home]\n", f"[peer home]\nbench = {word}\n"))
    vps.cli("reload")


def outer():
    """Bytes that have left the home and have come to it by its line."""
    d = "/sys/class/net/wan/statistics/"
    return int(net.home.read(d + "tx_bytes")), int(net.home.read(d + "rx_bytes"))


def bits(seconds=0.4):
    a = outer()
    time.sleep(seconds)
    b = outer()
    return (b[0] - a[0]) * 8 / seconds, (b[1] - a[1]) * 8 / seconds


def bench(*args):
    return home.cli("bench", *args, check=False)


def begin(way, seconds=20):
    """The command in the background, from when it loads that way; gives its process."""
    p = net.home.start([testlib.POSTERN, "--json", "bench", "--seconds", seconds, "--rate", "20M", "vps"], log="bench")
    wait_for("the load is on", lambda: bits(0.2)[way] > 8e6, 6 + seconds)
    return p


def killed(p):
    os.killpg(p.pid, signal.SIGKILL)


def quiet(within):
    end = time.monotonic() + within
    while time.monotonic() < end:
        if max(bits(0.1)) < 1e6:
            return True
    return False


def kill_child(side):
    def pids():
        return [pid for pid in side.m.child_pids(side.d) if b"--proc\0child" in open(f"/proc/{pid}/cmdline", "rb").read()]
    os.kill(pids()[0], signal.SIGKILL)


require("the tunnel comes up", wait_for("ping", ping, 30))

# --- without consent
p = bench("--seconds", "1", "vps")
print("    ", p.stdout.strip())
check("without the peer's consent it is refused, with what its operator would have to write",
      p.returncode == 1 and 'peer "vps"' in p.stdout and "`bench = allow`" in p.stdout, p.stdout)
check("and nothing is sent", quiet(1))
set_consent("allow")
p = vps.cli("bench", "--seconds", "1", "home", check=False)
check("consent is for one direction of asking", p.returncode == 1 and 'peer "home"' in p.stdout, p.stdout)
p = bench("nobody")
check("an unknown peer is named", p.returncode == 1 and 'no peer "nobody"' in p.stdout, p.stdout)

# --- with it: beside iperf3
def iperf(*args):
    net.vps.start(["iperf3", "-s", "-1", "-B", "10.99.0.1"], log="iperf3")
    wait_for("iperf3 listens", lambda: ":5201 " in net.vps.run(["ss", "-ltnH"]).stdout)
    out = net.home.run(["iperf3", "-J", "-t", "3", "-O", "1", "-c", "10.99.0.1", *args], check=False).stdout
    return json.loads(out)["end"]["sum_received"]["bits_per_second"]


p = bench("--json", "--seconds", "3", "vps")
require("with consent it measures", p.returncode == 0, p.stdout)
r = json.loads(p.stdout)
print("     bench:", *(f"{w} {r[w]['bits_s'] / 1e6:.0f} Mbit/s, {100 * r[w]['loss']:.2f} % lost, median "
                       f"{r[w]['rtt_ms'].get('median')} ms;" for w in ("out", "in")), "idle", r["idle_rtt_ms"])
tcp = {"out": iperf(), "in": iperf("-R")}
print("     iperf3:", {w: round(b / 1e6) for w, b in tcp.items()}, "Mbit/s")
for way in ("out", "in"):
    w = r[way]
    check(f"{way}: the rate is of the order of what TCP has there", tcp[way] / 6 < w["bits_s"] < tcp[way] * 8,
          (w["bits_s"], tcp[way]))
    check(f"{way}: it is no flood", w["loss"] < 0.2, w["loss"])
    check(f"{way}: latency under load was measured", w["rtt_ms"]["answered"] > 30, w["rtt_ms"])
    for end in ("sender", "receiver"):
        parts = w[end]["crypto"] + w[end]["send"] + w[end]["rest"]
        check(f"{way}, {end}: the parts of the CPU time are all of it", abs(parts - 1) < 0.02 and w[end]["cores"] > 0, w[end])
check("idle latency is that of a ping, by order", 0 < r["idle_rtt_ms"]["median"] < 50, r["idle_rtt_ms"])
check("full packets were sent", r["out"]["packet_bytes"] > 1200, r["out"]["packet_bytes"])
p = bench("--seconds", "1", "--rate", "5M", "vps")
print("".join(f"     {line}\n" for line in p.stdout.splitlines()), end="")
check("for people it is text, and --rate holds",
      p.returncode == 0 and re.search(r"to vps\n +rate +[2-5]\.\d Mbit/s", p.stdout), p.stdout)

# --- inner traffic beside it, and one at a time
p = begin(0)
check("inner traffic passes beside it", sum(ping() for _ in range(20)) >= 19)
other = bench("vps")
check("a second one is refused", other.returncode == 1 and "another measurement is on here" in other.stdout, other.stdout)

# --- broken off
killed(p)
check("the load to the peer ends with the command", quiet(1))
p = begin(1, 3)
killed(p)
check("and so does the load from it", quiet(1))

# --- consent taken away
for way in (0, 1):
    set_consent("allow")
    p = begin(way, 10 if not way else 3)
    set_consent("deny")
    check(f"a reload that takes the consent away ends it ({'from it' if way else 'to it'})", quiet(1.5))
    p.wait(10)
    with open(p.log) as f:
        check("and the command says so", p.returncode == 1 and "any more" in f.read().splitlines()[-1], p.returncode)
set_consent("allow")

# --- kill -9 in the middle
p = begin(1, 5)
kill_child(home)
check("kill -9 of who asked ends the load from the other", quiet(2.5))
p.wait(15)
check("and the command", p.returncode == 69, p.returncode)
require("the tunnel comes back", wait_for("ping", ping, 30))
p = begin(0)
kill_child(vps)
check("kill -9 of who was asked ends the load to it", quiet(5))
p.wait(20)
check("and the command fails", p.returncode == 1, p.returncode)
require("the tunnel comes back", wait_for("ping", ping, 30))
wait_for("both agree on it", lambda: home.up("vps") and vps.up("home"), 20)
p = bench("--seconds", "1", "--rate", "10M", "vps")
check("and can be measured again", p.returncode == 0, p.stdout)
testlib.done()
