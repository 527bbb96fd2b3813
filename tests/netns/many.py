# SPDX-License-Identifier: GPL-3.0-or-later
"""Ten thousand configured peers: start, status, and a reload that changes one of them.

It takes one second of a core; the bound leaves room for a slower one, and for a sanitizer. How long it was, which depends on
who else wants the core, is printed.	usage: many.py [PEERS]
"""
import sys
import time

import testlib
from testlib import check, require, wait_for

lab, net = testlib.start()
import cast  # noqa: E402
import usage  # noqa: E402

peers = int(sys.argv[1]) if len(sys.argv) > 1 else 10000
BOUND = 12.0
vps, home = cast.tunnel(net)
m = net.vps
# Each with a PSK has one of its own.
m.run(["sh", "-c", "cd /etc/postern/keys; umask 077; i=0; while [ $i -lt %d ]; do echo $i-Vq0rS8hVn1hTgkXk2m5bM1sQm6q2j7d8kqY "
       ">p$i.psk; i=$((i + 1)); done" % peers])


def conf(networks, count=peers):
    """Two thirds with PSKs, the others with raw keys, some with networks of their own; the seventh peer's are @networks."""
    out = [cast.VPS_CONF.format(extra="", peer="")]
    for i in range(count):
        auth = f"psk = keys/p{i}.psk" if i % 3 else "public-key = keys/home.pub"
        own = f"networks = {networks}\n" if i == 7 else f"networks = fd00:{i:x}::/32\n" if i % 3 == 2 else ""
        out.append(f"[peer p{i}]\nidentity = p{i}.example.net\n{auth}\nassign = 10.{100 + (i >> 16)}.{i >> 8 & 255}.{i & 255}\n{own}\n")
    m.write("/etc/postern/postern.conf", "".join(out))


def cpu():
    """Seconds that the processes of posternd have had so far."""
    return usage.cpu([vps.d.pid] + m.child_pids(vps.d))


def log():
    with open(vps.d.log) as f:
        return f.read()


conf("10.250.0.0/24")
began = time.monotonic()
vps.start_posternd()
wait_for("posternd is ready", lambda: "msg=\"ready:" in log(), 60, 0.01)
took, used = time.monotonic() - began, cpu()
check(f"{peers} peers: ready with {used:.2f} s of a core, {took:.2f} s after the start", used < BOUND, used)
before, began = cpu(), time.monotonic()
home.start_posternd()
up = wait_for("the one that connects", lambda: home.m.run(["ping", "-c1", "-W0.3", "10.99.0.1"], check=False).returncode == 0, 30)
first = cpu() - before
testlib.case("ike_case_116_ten_thousand_configured_one_connects", up and used < BOUND and first < BOUND, (used, first))
print(f"     {time.monotonic() - began:.2f} s until the one that connects has its tunnel, {first:.2f} of a core")
home.d.terminate()
home.d.wait(60)
before, began = cpu(), time.monotonic()
status = vps.status()
took, used = time.monotonic() - began, cpu() - before
check(f"status of all with {used:.2f} s of a core, in {took:.2f} s", len(status["peers"]) == peers + 1 and used < BOUND, used)
conf("10.250.1.0/24")
before, began = cpu(), time.monotonic()
require("the reload is taken", "in force" in vps.cli("reload").stdout)
wait_for("all have it", lambda: "configuration reloaded" in log(), 60, 0.01)
took, used = time.monotonic() - began, cpu() - before
check(f"one of them changed: in force with {used:.2f} s of a core, {took:.2f} s after the reload", used < BOUND, used)
check("and it alone", log().count("configuration changed") == 1, log()[-400:])
routes = m.run(["ip", "route", "show", "table", "all"]).stdout
check("its route followed", "10.250.1.0/24" in routes and "10.250.0.0/24" not in routes)
began = time.monotonic()
vps.d.terminate()
vps.d.wait(120)
print(f"     it ends in {time.monotonic() - began:.2f} s")
conf("10.250.1.0/24", 1)
vps.start_posternd()
wait_for("posternd is ready again", lambda: log().count("msg=\"ready:") == 2, 60, 0.01)
conf("10.250.1.0/24")
require("a reload from one peer to all is taken", "in force" in vps.cli("reload").stdout)
wait_for("all are there", lambda: log().count("configuration reloaded") == 2, 60, 0.01)
check("they are served", "cannot be served" not in log() and len(vps.status()["peers"]) == peers + 1, log()[-400:])
testlib.done()
