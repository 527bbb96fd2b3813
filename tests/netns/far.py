# SPDX-License-Identifier: GPL-3.0-or-later
"""A home 280 ms away, and letters that waited for its tunnel: over one session to another Postern, over twelve at most
to a mail host that only knows DATA; oldest first, each once.

	vps (posternd, postern-mta) ---- internet ---- carrier's NAT ---- wire, 140 ms each way ---- home

POSTERN_FAR_LETTERS: how many of 4 KB (240); 1000 is what the design gives 30 s for.  POSTERN_FAR_RTT: in ms (280).
"""
import calendar
import os
import re
import time

import testlib
from lab import wait_for
from testlib import check, require

COUNT = int(os.environ.get("POSTERN_FAR_LETTERS", "240"))
RTT = int(os.environ.get("POSTERN_FAR_RTT", "280"))
WINDOW = 64  # that the relay has of the queue at a time

testlib.need_scratch()
lab, net = testlib.start(wire=True)
import cast  # noqa: E402
import sink  # noqa: E402

FILL = """
import socket, sys
first, count, domain = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
body = ("Subject: far\\r\\n\\r\\n" + ("x" * 76 + "\\r\\n") * 51)[:4094] + "\\r\\n.\\r\\n"
s = socket.create_connection(("127.0.0.1", 2587), 60)
f = s.makefile("rb")

def answers(n, code):
    while n:
        line = f.readline()
        n -= line[3:4] == b" "
        assert line.startswith(code), line
answers(1, b"220")
s.sendall(b"EHLO vps.example.net\\r\\n")
answers(1, b"250")
for i in range(first, first + count):
    s.sendall(f"MAIL FROM:<n{i:05}@vps.example.net>\\r\\nRCPT TO:<alice@{domain}>\\r\\nDATA\\r\\n".encode())
    answers(2, b"250")
    answers(1, b"354")
    s.sendall(body.replace("far", f"far{i:05}").encode())
    answers(1, b"250")
s.sendall(b"QUIT\\r\\n")
"""


def log(m, name="postern-mta"):
    with open(os.path.join(lab.logs, f"{m.name}-{name}.log"), errors="replace") as f:
        return f.read()


def stamp(line):
    """When a log line was written, by the clock of the files too."""
    day, ms = re.match(r"(\S+)\.(\d{3})Z", line).groups()
    return calendar.timegm(time.strptime(day, "%Y-%m-%dT%H:%M:%S")) + int(ms) / 1000


def up_at():
    return stamp([l for l in log(net.vps).splitlines() if "tunnel is up" in l][-1])


def sessions():
    """So far, of those that came as far as TLS."""
    return len(re.findall(r"route=home host=\S+ tls=", log(net.vps)))


def cut():
    """The tunnel goes, and postern-mta of the VPS has heard of it."""
    told = log(net.vps).count(" state=down ")
    home.cli("down", "vps")
    wait_for("the tunnel to go", lambda: log(net.vps).count(" state=down ") > told and not home.up("vps"), 60)


def fill(count=COUNT, begin=0):
    """Gives how long they may take to leave: not a round trip for each, but the slower the longer they took to come."""
    began = time.monotonic()
    for first in range(0, count, 100):
        net.vps.python(FILL, str(begin + first), str(min(100, count - first)), "example.org", timeout=180)
    return 30 + 2 * (time.monotonic() - began)


vps, home = cast.tunnel(net, address=net.VPS4)
cast.mail(vps, home, vps_extra="log-level = debug\n[listener lan]\naddress = 127.0.0.1:2587\n[route home]\nsessions-max = 12\n")
net.vps.write("/etc/root.hints", ". 3600000 IN NS dns.example.\ndns.example. 3600000 IN A 198.51.100.53\n")
net.wire.set(delay=RTT // 2)
vps.start_posternd()
wait_for("posternd answers", lambda: vps.status())
vps.start_mta()
cast.wait_greets(net.vps, "127.0.0.1", 2587)

home.start_posternd()
home.start_mta()
cast.wait_greets(net.vps, "10.99.0.2")

# ---- to another Postern
box = os.path.join(net.home.dir, "home", "alice", "Maildir", "new")


def delivered():
    return os.listdir(box) if os.path.isdir(box) else []


fill(1, 99999)
wait_for("a first letter, that all know each other", delivered, 60)
cut()
soon = fill()
before = sessions()
home.cli("up", "vps")
wait_for("all letters at home", lambda: len(delivered()) > COUNT, 180, 0.2)
came = sorted(os.stat(os.path.join(box, n)).st_mtime for n in delivered())[1:]
first, last = came[0] - up_at(), came[-1] - up_at()
# Over the hop they have come when home has taken them; its disk comes after that.
def accepted():
    return [l for l in log(net.home).splitlines() if re.search(r'from="n\d+@.*msg="accepted"', l)][1:]


wait_for("home's log to have the last of them, which its disk may have first", lambda: len(accepted()) >= COUNT)
taken = accepted()
over = stamp(taken[-1]) - up_at()
print(f"     {COUNT} letters by BDAT at {RTT} ms: the first {first:.2f} s after the tunnel is up "
      f"({(first - 0.3) * 1000 / RTT:.1f} RTT + 0.3 s), all after {last:.1f} s, all taken after {over:.1f} s, {sessions() - before} sessions",
      flush=True)
order = [re.search(r'from="(n\d+)@', l).group(1) for l in taken]
check("to another Postern all go over one session", sessions() - before == 1, sessions() - before)
check("each once, oldest first", order == [f"n{i:05}" for i in range(COUNT)] and len(came) == COUNT,
      (len(order), len(came), [o for i, o in enumerate(order) if o != f"n{i:05}"][:5]))
check("all soon after the tunnel is up", over < soon, (over, soon))

# ---- to a host with DATA alone
home.mta.terminate()
require("home's mta ends", home.mta.wait(60) == 0)
cut()
soon = fill()
sink.start(net.home)
vps.cli("mail", "forget-key", "home")  # what comes up is no Postern any more
home.cli("up", "vps")
came = wait_for("all letters in the sink", lambda: len(e := sink.events(net.home)) >= COUNT and e, 180, 0.2)
opened = sink.events(net.home, "open")
took = max(e["wall"] for e in came) - up_at()
print(f"     {COUNT} letters by DATA at {RTT} ms: all after {took:.1f} s, {len(opened)} sessions", flush=True)
check("to a host with DATA alone there are twelve sessions at most", 0 < len(opened) <= 12, len(opened))
numbers = [int(e["subject"][3:]) for e in came]
oldest, late = 0, 0
left = set(range(COUNT))
for n in numbers:
    late = max(late, n - min(left))
    left.discard(n)
check("each once", sorted(numbers) == list(range(COUNT)), len(numbers))
check("none overtakes another that was not on its way already", late < WINDOW + 12, late)
check("all soon after the tunnel is up", took < soon, (took, soon))
testlib.done()
