# SPDX-License-Identifier: GPL-3.0-or-later
"""The soak: mail and TCP connections through random faults, keys that change every ten seconds, and a lossy wire.

usage: weather.py [MINUTES [SEED]]	(20; a seed by the clock, which is told: it repeats the order of faults)

At the end no inner TCP connection was lost, no letter either, and memory and descriptors are where they were.
"""
import collections
import os
import random
import re
import signal
import sys
import threading
import time

import testlib
from testlib import check, require, wait_for

minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
seed = int(sys.argv[2]) if len(sys.argv) > 2 else int(os.environ.get("POSTERN_SEED", time.time_ns() % 100000))
print(f"     seed {seed}", flush=True)
os.environ["POSTERN_SEED"] = str(seed)  # this script is run again inside its namespaces
rnd = random.Random(seed)
lab, net = testlib.start(hosts=[("mx-a", "198.51.100.31")], wire=True)
import cast  # noqa: E402
import foreign  # noqa: E402
import talk  # noqa: E402
import usage  # noqa: E402

net.cgnat.run(["ip", "addr", "add", "198.51.100.21/24", "dev", "wan"])
vps, home = cast.tunnel(net)
net.vps.write("/etc/root.hints", foreign.ROOT_HINTS)
cast.mail(vps, home)
for side in (vps, home):
    side.start_posternd()
require("the tunnel comes up", wait_for("tunnel", lambda: home.up("vps"), 30))
for side in (vps, home):
    side.start_mta()
cast.wait_greets(net.mx_a, net.VPS4)
end = time.monotonic() + 60 * minutes

# A client that tries again until it has its 250, a few letters a second until there is a file.
SENDER = """
import os, smtplib, sys, time
n = 0
while not os.path.exists(sys.argv[2]):
    while True:
        try:
            with smtplib.SMTP(sys.argv[1], 25, timeout=30) as s:
                s.sendmail("bob@alpha.example", ["alice@example.org"],
                           "From: bob@alpha.example\\r\\nTo: alice@example.org\\r\\nSubject: n%06d\\r\\n\\r\\n%s\\r\\n" % (n, "x" * (n * 37 % 9000)))
            break
        except (OSError, smtplib.SMTPException) as e:
            print("again", n, type(e).__name__, str(e)[:80], flush=True); time.sleep(0.5)
    n += 1
    time.sleep(1.2)  # a server takes so many sessions a minute from one network
print("sent", n, flush=True)
"""
DISK = os.environ["POSTERN_LAB_DISK"]
over = os.path.join(DISK, "over")  # every machine sees it
talks = talk.begin(net.vps, net.home, over, 256, 0.02)
sender = net.mx_a.start([sys.executable, "-c", SENDER, net.VPS4, over], log="sender")


# ---- the weather ----

def calm():
    net.wire.set("both", delay=10, jitter=5, loss=5, burst=0, dup=1, reorder=2, behind=10, cut=0, mtu=0, seed=rnd.randrange(1 << 30))


def rebind():
    net.nat_rebind()


def other_public_address():
    a = rnd.choice(["198.51.100.20", "198.51.100.21"])
    net.cgnat.run(["nft", "flush", "chain", "ip", "nat", "post"])
    net.cgnat.run(["nft", "add", "rule", "ip", "nat", "post", f'oifname "wan" snat to {a} fully-random'])
    net.nat_rebind()


def cut():
    net.cut()
    time.sleep(rnd.uniform(1, 25))
    net.mend()


def one_way():
    net.wire.set(rnd.choice(["a2b", "b2a"]), loss=100)
    time.sleep(rnd.uniform(2, 20))
    calm()


def storm():
    net.wire.set("both", loss=35, delay=60, jitter=40)
    time.sleep(rnd.uniform(5, 20))
    calm()


def small_path():
    net.wire.set("both", mtu=rnd.choice([1280, 1400]), icmp=rnd.choice([0, 1]))
    time.sleep(rnd.uniform(5, 15))
    calm()


def other_home_address():
    net.home.run(["ip", "addr", "flush", "dev", "wan", "scope", "global"])
    net.home.run(["ip", "addr", "add", f"100.64.0.{rnd.randrange(3, 200)}/24", "dev", "wan"])
    net.home.run(["ip", "route", "replace", "default", "via", "100.64.0.1"])


def link_down():
    net.home.run(["ip", "link", "set", "wan", "down"])
    time.sleep(rnd.uniform(0.5, 8))
    net.home.run(["ip", "link", "set", "wan", "up"])
    net.home.run(["ip", "route", "replace", "default", "via", "100.64.0.1"])


def kill_process():
    """One process of one daemon, posternd's or the MTA's."""
    side = rnd.choice([vps, home])
    p = rnd.choice([side.d, side.mta])
    pids = side.m.child_pids(p)
    if pids:
        os.kill(rnd.choice(pids), signal.SIGKILL)


def kill_daemon():
    """All of posternd on one side; its unit starts it again."""
    side = rnd.choice([vps, home])
    for pid in [side.d.pid] + side.m.child_pids(side.d):
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    side.d.wait(10)
    time.sleep(rnd.choice([0, 0, 5]))
    side.start_posternd()


FAULTS = [rebind, rebind, other_public_address, cut, cut, one_way, storm, small_path, other_home_address, link_down,
          kill_process, kill_process, kill_daemon]
PING = ["ping", "-c1", "-W0.5", "-I", "10.99.0.2", "10.99.0.1"]


def renew():
    """Keys of both kinds every ten seconds, now asked for by one end, now by the other."""
    n = 0
    while time.monotonic() < end:
        n += 1
        side, peer = ((home, "vps"), (vps, "home"))[n % 2]
        side.cli("rekey", *(["--ike"] if n % 3 == 0 else []), peer, check=False)
        time.sleep(10)


def used():
    """{side: (PSS in kB, descriptors) of posternd}, {side: ... of the MTA}"""
    out = {}
    for side in (vps, home):
        for name, p in (("posternd", side.d), ("mta", side.mta)):
            pids = [p.pid] + side.m.child_pids(p)
            out[f"{side.tag} {name}"] = (usage.pss(pids), usage.descriptors(pids))
    return out


calm()
keys = threading.Thread(target=renew)
keys.start()
slowest, seen, began = 0.0, collections.Counter(), time.monotonic()
before = None
while time.monotonic() < end:
    time.sleep(rnd.uniform(2, 10))
    fault = rnd.choice(FAULTS)
    seen[fault.__name__] += 1
    fault()
    t = time.monotonic()
    try:
        wait_for("the tunnel works", lambda: net.home.run(PING, check=False).returncode == 0, 60)
    except testlib.Failed:
        check(f"after {fault.__name__} the tunnel works within a minute", False, home.cli("status", check=False).stdout)
        break
    took = time.monotonic() - t
    if took > 5:
        print(f"     {fault.__name__}: {took:.1f} s", flush=True)
    slowest = max(slowest, took)
    if not before and time.monotonic() - began > 60 * minutes / 3:
        before = used()
after = used()
keys.join()
with open(over, "w"):
    pass
net.wire.reset()
for p in talks:
    wait_for("the connections end", lambda: p.poll() is not None, 180)
wait_for("the sender ends", lambda: sender.poll() is not None, 180)
said = talk.last_words(talks)
print("     faults:", dict(seen), f"slowest {slowest:.1f} s;", ", ".join(said))
check("no inner TCP connection was lost, each byte came once and in order",
      all(p.returncode == 0 for p in talks) and all(s.startswith("whole") for s in said), said)
sent = int(open(sender.log).read().split()[-1])


def letters():
    c = collections.Counter()
    for t in foreign.maildir_letters(net.home, "/home/alice/Maildir"):
        m = re.search(rb"^Subject: (n\d{6})", t, re.M)
        c[m.group(1).decode() if m else "?"] += 1
    return c


try:
    wait_for("all letters are home", lambda: len(letters()) >= sent, 120, 1)
except testlib.Failed:
    for side in (vps, home):
        print(side.cli("mail", "queue", check=False).stdout)
c = letters()
missing = [f"n{n:06d}" for n in range(sent) if not c[f"n{n:06d}"]]
check(f"no letter of {sent} was lost", not missing, missing)
twice = {k: v for k, v in c.items() if v > 1}
check("duplicates: at most one per killed process", sum(v - 1 for v in twice.values()) <= seen["kill_process"], twice)
with open(testlib.POSTERND, "rb") as f:
    sanitized = b"__asan_init" in f.read()
before = before or after
print("     memory kB and descriptors, after a third and at the end:", before, after)
for name in before:
    sanitized or check(f"{name}: memory stays flat", after[name][0] < before[name][0] * 1.15 + 1500, (before[name], after[name]))
    check(f"{name}: descriptors too", after[name][1] <= before[name][1] + 8, (before[name], after[name]))
testlib.done()
