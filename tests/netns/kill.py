# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 of each process of all daemons at random moments while 200 letters flow home: none is lost, and no
recipient sees more than one duplicate per crash."""
import collections
import os
import random
import re
import signal
import sys
import time

import testlib
from testlib import case, check, wait_for

LETTERS = 200
SEED = int(os.environ.get("POSTERN_SEED", "7"))
rnd = random.Random(SEED)
lab, net = testlib.start(hosts=[("mx-a", "198.51.100.31")])
import cast  # noqa: E402
import foreign  # noqa: E402

vps, home = cast.tunnel(net)
net.vps.write("/etc/root.hints", foreign.ROOT_HINTS)
cast.mail(vps, home)
for side in (vps, home):
    side.start_posternd()
wait_for("tunnel", lambda: home.up("vps"))
for side in (vps, home):
    side.start_mta()
cast.wait_greets(net.mx_a, net.VPS4)
cast.wait_greets(net.vps, "10.99.0.2")

# The sender is a real client's behaviour: what got its 250 is done, everything else is tried again. Five letters by a
# session: the limit of new ones in a minute outlives smtpd.
SENDER = """
import smtplib, sys, time
s = None
for n in range(int(sys.argv[2])):
    while True:
        try:
            s = s or smtplib.SMTP(sys.argv[1], 25, timeout=60)
            s.sendmail("bob@alpha.example", ["alice@example.org"],
                       "From: bob@alpha.example\\r\\nTo: alice@example.org\\r\\nSubject: n%04d\\r\\n\\r\\n%s\\r\\n" % (n, "x" * (n * 37 % 9000)))
            break
        except (OSError, smtplib.SMTPException) as e:
            print("again", n, type(e).__name__, str(e)[:80], flush=True); time.sleep(0.2)
            s = None
    if n % 5 == 4:
        s = None
    time.sleep(0.02)
print("sent", flush=True)
"""
sender = net.mx_a.start([sys.executable, "-c", SENDER, net.VPS4, str(LETTERS)], log="sender")


def tree():
    """(name, pid) of every process of ours but postern-deliver's parent, which systemd would restart."""
    out = []
    for side in (vps, home):
        for p in (side.d, side.mta):
            for pid in net.home.child_pids(p):
                try:
                    with open(f"/proc/{pid}/cmdline") as f:
                        cmd = f.read().replace("\0", " ").strip()
                except OSError:
                    continue
                if "--proc" in cmd:
                    out.append((side.tag + ":" + os.path.basename(cmd.split()[0]) + ":" + cmd.split()[-1], pid))
    return out


killed = collections.Counter()
todo = wait_for("all processes of both ends", lambda: names if len(names := sorted({name for name, _ in tree()})) >= 14 else None)
rnd.shuffle(todo)
for name in todo:
    time.sleep(rnd.uniform(0.2, 0.9))
    pids = wait_for(f"{name} runs", lambda: [pid for n, pid in tree() if n == name])
    os.kill(pids[0], signal.SIGKILL)
    killed[name] += 1
# And the parents, as a power cut of one program: the unit starts it again.
for side, what in ((home, "mta"), (vps, "mta"), (home, "d"), (vps, "d")):
    time.sleep(rnd.uniform(0.2, 0.8))
    p = getattr(side, what)
    pids = [p.pid] + net.home.child_pids(p)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    p.wait(60)
    killed[f"{side.tag}:{what}:all"] += 1
    (side.start_mta if what == "mta" and side.tag == "vps" else side.start_posternd if what == "d" else
     lambda: setattr(side, "mta", side.m.start([testlib.POSTERN_MTA, "-c", "/etc/postern/mta.conf"], log="postern-mta")))()
print("killed:", dict(killed), "seed", SEED)
wait_for("the sender has its 250 for all", lambda: sender.poll() is not None, 180)
check("the sender ended well", sender.returncode == 0)


def count():
    c = collections.Counter()
    for t in foreign.maildir_letters(net.home, "/home/alice/Maildir"):
        m = re.search(rb"^Subject: (n\d{4})", t, re.M)
        c[m.group(1).decode() if m else "?"] += 1
    return c


try:
    wait_for("all letters are home", lambda: len(count()) >= LETTERS, 180, 0.5)
except testlib.Failed as e:
    print(e)
    for side in (vps, home):
        print(side.tag, side.cli("mail", "queue", check=False).stdout, side.cli("mail", "routes", check=False).stdout)
c = count()
missing = [f"n{n:04d}" for n in range(LETTERS) if not c[f"n{n:04d}"]]
case("mail_case_062_kill_of_every_process_loses_no_letter", not missing, missing)
twice = {k: v for k, v in c.items() if v > 1}
case("mail_case_065_at_most_one_duplicate_per_crash_and_recipient", sum(v - 1 for v in twice.values()) <= sum(killed.values()), twice)
check("nothing else arrived", not c["?"])
check("the tunnel stands", wait_for("up", lambda: home.up("vps") and vps.up("home")))
testlib.done()
