# SPDX-License-Identifier: GPL-3.0-or-later
"""Exactly once between two Posterns: kill -9 of the processes on either side of the hop at random moments, under load, over
a tunnel with delay. Every letter that the edge took arrives, whole, once.

	POSTERN_SEED=N		another order (7)
	POSTERN_ROUNDS=N	kills, each followed by a moment (24)
	POSTERN_MINUTES=N	kills for so long instead; tests/soak once does that
"""
import collections
import hashlib
import os
import random
import re
import sys
import time

import testlib
from testlib import check, require, wait_for

SEED = int(os.environ.get("POSTERN_SEED", "7"))
ROUNDS = int(os.environ.get("POSTERN_ROUNDS", "24"))
MINUTES = float(os.environ.get("POSTERN_MINUTES", "0"))
SENDERS = 4
rnd = random.Random(SEED)
lab, net = testlib.start(hosts=[("mx-a", "198.51.100.31")], wire=True)
import cast  # noqa: E402
import foreign  # noqa: E402
import post  # noqa: E402

vps, home = cast.tunnel(net)
net.vps.write("/etc/root.hints", foreign.ROOT_HINTS)
cast.mail(vps, home, vps_extra="[listener mx]\nsessions-per-prefix = 1000\n")
net.wire.set(delay=20)
for side in (vps, home):
    side.start_posternd()
wait_for("tunnel", lambda: home.up("vps"))
for side in (vps, home):
    side.start_mta()
cast.wait_greets(net.mx_a, net.VPS4)
cast.wait_greets(net.vps, "10.99.0.2")

# Sends for ever, small letters and some that get a file of their own; what has its 250 is told with the id that the
# edge gave it. What has none is sent anew, as a letter of its own: between two Posterns nobody has to guess.
SENDER = r"""
import hashlib, random, re, smtplib, sys, time
who, seed = sys.argv[2], int(sys.argv[3])
rnd, n = random.Random(seed), 0
print("ready", flush=True)
while True:
    try:
        with smtplib.SMTP(sys.argv[1], 25, timeout=60) as s:
            s.ehlo()
            for _ in range(20):
                n += 1
                size = rnd.choice((10, 900, 900, 3000, 3000, 20000, 66000, 150000))
                body = ("%s-%d " % (who, n) * (size // 8))[:size].encode()
                body = b"\r\n".join(body[i:i + 70] for i in range(0, len(body), 70)) + b"\r\n"
                text = b"From: <bob@alpha.example>\r\nSubject: %s\r\n\r\n" % hashlib.sha256(body).hexdigest().encode() + body
                assert s.mail("bob@alpha.example")[0] == 250 and s.rcpt("alice@example.org")[0] == 250
                code, words = s.data(text)
                if code == 250:
                    print("taken", re.search(rb"[0-9a-f]{32}", words).group().decode(), flush=True)
                time.sleep(rnd.uniform(0, 0.06))
    except (OSError, smtplib.SMTPException, AssertionError) as e:
        time.sleep(0.1)
"""
senders = [net.mx_a.start([sys.executable, "-c", SENDER, net.VPS4, str(k), str(SEED * 100 + k)], log=f"sender-{k}")
           for k in range(SENDERS)]


def taken():
    out = []
    for p in senders:
        with open(p.log) as f:
            out += re.findall(r"^taken (\w+)$", f.read(), re.M)
    return out


def arrived():
    """Of each letter at home: the edge's id, from its Received field, and whether it is whole."""
    out = []
    for text in foreign.maildir_letters(net.home, "/home/alice/Maildir"):
        text = text.replace(b"\r\n", b"\n")
        head, _, body = text.partition(b"\n\n")
        ids = re.findall(rb"by vps\.example\.net[^;]*?\bid ([0-9a-f]{32})", head, re.S)
        subject = re.search(rb"^Subject: (\w+)$", head, re.M)
        whole = subject and hashlib.sha256(body.replace(b"\n", b"\r\n")).hexdigest().encode() == subject.group(1)
        out.append((ids[0].decode() if len(ids) == 1 else "?", bool(whole)))
    return out


wait_for("letters flow", lambda: len(arrived()) > 10)
killed, began = collections.Counter(), time.monotonic()
targets = [(vps, "queue"), (vps, "relay"), (vps, "smtpd"), (home, "smtpd"), (home, "queue"), (home, "relay")]
ENOUGH = 20 * SENDERS  # letters that were under way
while time.monotonic() - began < MINUTES * 60 if MINUTES else sum(killed.values()) < ROUNDS or len(taken()) <= ENOUGH:
    time.sleep(rnd.choice((0.02, 0.1, 0.3, 0.6)) * rnd.random() + 0.01)
    several = rnd.sample(targets, rnd.choice((1, 1, 1, 2, 3)))
    for side, name in several:
        killed[f"{side.tag}:{name}"] += post.kill(side, name)
    # A process that dies at once again and again is waited for; what matters is what it does when it runs.
    for side, name in several:
        wait_for(f"{side.tag}:{name} again", lambda: post.processes(side, name), 60)
    if rnd.random() < 0.2:
        net.wire.set(loss=rnd.choice((0, 0, 2)), delay=20)
    if rnd.random() < 0.1:
        net.nat_rebind()
    if MINUTES and rnd.random() < 0.01:
        print(f"     {time.monotonic() - began:.0f} s: {sum(killed.values())} kills, {len(taken())} letters taken", flush=True)
for p in senders:
    p.kill()
    p.wait()
net.wire.set(delay=20, loss=0)
told = taken()
print(f"     killed {dict(killed)}, seed {SEED}, {len(told)} letters taken in {time.monotonic() - began:.0f} s")
check("many letters were under way", len(told) > ENOUGH, len(told))


def rest():
    """A letter that met a dying process waits by its route's schedule, longer each time; here nobody has to."""
    for side in (vps, home):
        side.cli("mail", "flush", check=False)
    time.sleep(1)
    return set(told) <= {i for i, _ in arrived()} and post.queued(vps) == [] and post.queued(home) == []


try:
    wait_for("all that was taken is home", rest, 200)
except testlib.Failed as e:
    print(e)
    for side in (vps, home):
        print(side.tag, side.cli("mail", "queue", check=False).stdout[-2000:], side.cli("mail", "routes", check=False).stdout)
there = arrived()
count = collections.Counter(i for i, _ in there)
check("no letter that the edge took is lost", not set(told) - set(count), sorted(set(told) - set(count))[:5])
check("each is there once", not [i for i, n in count.items() if n > 1], {i: n for i, n in count.items() if n > 1})
check("and whole", all(whole for _, whole in there), [i for i, whole in there if not whole][:5])
check("each bears the edge's id, once", "?" not in count, count["?"])
for i in [i for i, n in count.items() if n > 1][:3]:
    for side in (vps, home):
        print(side.tag, side.m.run(["grep", i, side.mta.log], check=False).stdout[-3000:])
testlib.done()
