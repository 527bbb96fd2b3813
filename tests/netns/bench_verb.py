# SPDX-License-Identifier: GPL-3.0-or-later
"""postern bench: refused without the peer's consent; with it the figures are of the same order as what iperf3 sees through
the same tunnel in the same run, a line is filled whatever its rate and length without a queue that stands, inner traffic goes on beside it, and the load ends with whoever is gone: the command, the
consent, the process that moves packets on either side.
"""
import json
import os
import re
import shutil
import signal
import time

import testlib
from testlib import best, check, require, wait_for

if not shutil.which("iperf3"):
    testlib.skip("no iperf3")
lab, net = testlib.start(wire=True)
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


def begin(way, seconds):
    """The command in the background, from when it loads that way; gives its process."""
    p = net.home.start([testlib.POSTERN, "--json", "bench", "--seconds", seconds, "--rate", "20M", "vps"], log="bench")
    wait_for("the load is on", lambda: bits(0.2)[way] > 8e6, 6 + seconds)
    return p


def killed(p):
    os.killpg(p.pid, signal.SIGKILL)


def quiet(within):
    """Does the load end so soon, if not at once? At least three looks, however long each takes."""
    end, looks = time.monotonic() + within, 0
    while time.monotonic() < end or looks < 3:
        looks += 1
        if max(bits(0.1)) < 1e6:
            return True
    return False


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


def calm(r):
    return all(r[w]["loss"] < 0.2 and r[w]["rtt_ms"]["answered"] > 30 for w in ("out", "in")) and r["idle_rtt_ms"]["median"] < 500


def measured():
    p = bench("--json", "--seconds", "3", "vps")
    require("with consent it measures", p.returncode == 0, p.stdout)
    return json.loads(p.stdout)


r = best(measured, calm)
print("     bench:", *(f"{w} {r[w]['bits_s'] / 1e6:.0f} Mbit/s, {100 * r[w]['loss']:.2f} % lost, median "
                       f"{r[w]['rtt_ms'].get('median')} ms;" for w in ("out", "in")), "idle", r["idle_rtt_ms"])
tcp = {"out": iperf(), "in": iperf("-R")}
print("     iperf3:", {w: round(b / 1e6) for w, b in tcp.items()}, "Mbit/s")
for way in ("out", "in"):
    w = r[way]
    check(f"{way}: the rate is of the order of what TCP has there", tcp[way] / 20 < w["bits_s"] < tcp[way] * 20,
          (w["bits_s"], tcp[way]))
    check(f"{way}: it is no flood", w["loss"] < 0.2, w["loss"])
    check(f"{way}: latency under load was measured", w["rtt_ms"]["answered"] > 30, w["rtt_ms"])
    for end in ("sender", "receiver"):
        parts = sum(w[end][x] for x in ("read", "crypto", "send", "rest"))
        check(f"{way}, {end}: the parts of the CPU time are all of it", abs(parts - 1) < 0.02 and w[end]["cores"] > 0, w[end])
check("idle latency is that of a ping, by order", 0 < r["idle_rtt_ms"]["median"] < 500, r["idle_rtt_ms"])
check("full packets were sent", r["out"]["packet_bytes"] > 1200, r["out"]["packet_bytes"])
held = lambda p: p.returncode == 0 and re.search(r"to vps\n +rate +[2-5]\.\d Mbit/s", p.stdout)
p = best(lambda: bench("--seconds", "1", "--rate", "5M", "vps"), held)
print("".join(f"     {line}\n" for line in p.stdout.splitlines()), end="")
check("for people it is text, and --rate holds", held(p), p.stdout)

# --- lines: (Mbit/s, ms there and back, seconds)
WIRE_SHARE = 1418 / 1514  # of inner packets


def capable(mbit):
    """Does this machine make twice as much of a line without limits? One that is busy with other tests may not."""
    p = bench("--json", "--seconds", "1", "vps")
    r = json.loads(p.stdout) if not p.returncode else {}
    return r and min(r[w]["bits_s"] for w in ("out", "in")) > 2e6 * mbit


def fills(mbit, rtt, seconds):
    """Both ways most of what the line has, half a queue at most; says what it saw. None: it does not, and the machine
    could not."""
    net.wire.set("both", rate=mbit * 10**6, delay=rtt / 2, queue=max(65536, mbit * 10**6 // 80))
    p = bench("--json", "--seconds", str(seconds), "vps")
    net.wire.reset()
    r = json.loads(p.stdout) if not p.returncode else {}
    seen = [(round(r[w]["bits_s"] / 1e6 / mbit / WIRE_SHARE, 2), round(r[w]["loss"], 3),
             round(r[w]["rtt_ms"].get("median", 9999) - rtt, 1)) for w in ("out", "in") if r]
    print(f"     {mbit} Mbit/s, {rtt} ms: share, loss, median of the queue in ms:", *seen)
    if len(seen) == 2 and all(share > 0.7 and loss < 0.1 and queue < 60 for share, loss, queue in seen):
        return True
    return False if capable(mbit) else None


def filled(line):
    """Once in four tries, each longer than the one before: one that is held up for a moment begins small again."""
    tries = []
    mbit, rtt, seconds = line
    while True not in tries and len(tries) < 4:
        tries.append(fills(mbit, rtt, seconds * (1 + len(tries))))
    if True not in tries:
        print("     this machine, as busy as it is, is slower than that line in", tries.count(None), "of", len(tries), "tries")
    return True in tries or None in tries


for line in ((10, 1, 3), (20, 280, 5), (60, 100, 4)):
    check(f"a line of {line[0]} Mbit/s with {line[1]} ms is filled", filled(line))

# --- inner traffic beside it, and one at a time
p = begin(0, 60)
check("inner traffic passes beside it", sum(ping("3") for _ in range(20)) >= 19)
other = bench("vps")
check("a second one is refused", other.returncode == 1 and "another measurement is on here" in other.stdout, other.stdout)

# --- broken off
killed(p)
check("the load to the peer ends with the command", quiet(20))
p = begin(1, 15)
killed(p)
check("and so does the load from it", quiet(5))

# --- consent taken away
for way in (0, 1):
    set_consent("allow")
    p = begin(way, 60 if not way else 15)
    set_consent("deny")
    check(f"a reload that takes the consent away ends it ({'from it' if way else 'to it'})", quiet(5))
    p.wait(60)
    with open(p.log) as f:
        check("and the command says so", p.returncode == 1 and "any more" in f.read().splitlines()[-1], p.returncode)
set_consent("allow")

# --- kill -9 in the middle
p = begin(1, 15)
os.kill(home.process("child"), signal.SIGKILL)
check("kill -9 of who asked ends the load from the other", quiet(5))
p.wait(45)
check("and the command", p.returncode == 69, p.returncode)
require("the tunnel comes back", wait_for("ping", ping, 30))
p = begin(0, 60)
os.kill(vps.process("child"), signal.SIGKILL)
check("kill -9 of who was asked ends the load to it", quiet(10))
p.wait(60)
check("and the command fails", p.returncode == 1, p.returncode)
require("the tunnel comes back", wait_for("ping", ping, 30))
wait_for("both agree on it", lambda: home.up("vps") and vps.up("home"), 20)
p = bench("--seconds", "1", "--rate", "10M", "vps")
check("and can be measured again", p.returncode == 0, p.stdout)
testlib.done()
