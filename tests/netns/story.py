# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole story, as `packaging/try` plays it and `tests/run` checks it: a letter from the internet reaches a
home behind a carrier's NAT, and an answer goes back. Exit status 0 only if all of it truly happened.

        internet segment 198.51.100.0/24
          |        |        |        |         |
         dns     mx-a     mx-b     vps       cgnat ---- 100.64.0.0/24 ---- home ---- 192.168.7.0/24 ---- lan
         nsd    Postfix  aiosmtpd  posternd  nft                          posternd
                                   postern-mta (edge)                     postern-mta (home)
"""
import hashlib
import os
import threading
import time

import testlib
from lab import wait_for

testlib.need_scratch()
CUT_S = float(os.environ.get("POSTERN_STORY_CUT_S", "60"))
lab, net = testlib.start(hosts=[("dns", "198.51.100.53"), ("mx-a", "198.51.100.31"), ("mx-b", "198.51.100.32")])
import cast  # noqa: E402
import foreign  # noqa: E402

T0 = time.monotonic()
summary = []


def say(text):
    print(f"[{time.monotonic() - T0:7.2f} s]  {text}", flush=True)


def ms(seconds):
    return f"{seconds * 1000:.0f} ms" if seconds < 2 else f"{seconds:.1f} s"


def inbox():
    return foreign.maildir_letters(net.home, "/home/alice/Maildir")


def letter_with(subject, letters):
    return next((t for t in letters if f"Subject: {subject}".encode() in t), None)


def send(m, to, subject, server, body=None, sender="bob@alpha.example", more=()):
    args = ["swaks", "--silent", "1", "--from", sender, "--to", to, "--server", server, "--h-Subject", subject,
            "--timeout", "60", *more]
    if body:
        args += ["--body", f"@{body}"]
    m.run(args, timeout=180)



say("an internet with DNS (nsd, unbound) and two mail hosts (Postfix, aiosmtpd), a VPS, a carrier's NAT, a home")
foreign.dns(net.dns)
foreign.postfix(net.mx_a)
foreign.aiosmtpd(net.mx_b)
net.vps.write("/etc/root.hints", foreign.ROOT_HINTS)
vps, home = cast.tunnel(net)
cast.mail(vps, home)

# --- the tunnel
vps.start_posternd()
wait_for("posternd on the VPS answers", lambda: vps.cli("status", check=False).returncode == 0)
began = time.monotonic()
home.start_posternd()
wait_for("a ping through the tunnel", lambda: net.home.run(["ping", "-c1", "-W0.1", "10.99.0.1"], check=False).returncode == 0,
         30, 0.01)
took = time.monotonic() - began
say(f"tunnel up: first ping through it {ms(took)} after posternd was started at home")
summary.append(f"tunnel from start to first ping                 {ms(took)}")
wait_for("status says up on both sides", lambda: home.up("vps") and vps.up("home"))
wait_for("and IPv6 inside", lambda: net.home.run(["ping", "-6", "-c1", "-W1", "fd99::1"], check=False).returncode == 0)

# --- mail
vps.start_mta()
home.start_mta()
cast.wait_greets(net.mx_a, net.VPS4)
cast.wait_greets(net.lan, "192.168.7.1", 587)
began = time.monotonic()
send(net.mx_a, "alice@example.org", "hello home", "vps.example.net")
text = wait_for("the letter in alice's Maildir", lambda: letter_with("hello home", inbox()))
took = time.monotonic() - began
testlib.require("the letter came through the VPS and says so", b"by vps.example.net" in text and b"by home.example.net" in text)
say(f"a letter from the internet (swaks to the VPS's MX) lies in alice's Maildir at home after {ms(took)}")
summary.append(f"letter internet -> Maildir at home               {ms(took)}")

refused = net.mx_a.run(["swaks", "--from", "bob@alpha.example", "--to", "nobody@example.org", "--server", "vps.example.net"],
                       check=False)
testlib.require("an unknown recipient is refused before DATA", "550 5.1.1" in refused.stdout, refused.stdout[-500:])
relayed = net.mx_a.run(["swaks", "--from", "bob@alpha.example", "--to", "carol@beta.example", "--server", "vps.example.net"],
                       check=False)
testlib.require("the VPS is no open relay", " 550 5.7.1" in relayed.stdout, relayed.stdout[-500:])
say("an unknown recipient and a relay attempt were refused")

# --- the answer
began = time.monotonic()
auth = ("--tls", "--auth", "PLAIN", "--auth-user", "alice", "--auth-password", "garden", "--port", "587")
send(net.lan, "carol@beta.example", "answer", "192.168.7.1", sender="alice@example.org", more=auth)
envelope, text = wait_for("the answer at beta.example",
                          lambda: next((x for x in foreign.sink_letters(net.mx_b) if b"Subject: answer" in x[1]), None))
took = time.monotonic() - began
testlib.require("it came with the VPS's address and name",
                envelope["peer"] == net.VPS4 and envelope["helo"] == "vps.example.net", envelope)
say(f"alice answered by submission; the answer reached mx-b.beta.example after {ms(took)}, from "
    f"{envelope['peer']} ({envelope['helo']})")
summary.append(f"answer home -> foreign host by MX                 {ms(took)}, from the VPS's address and name")
send(net.lan, "bob@alpha.example", "answer two", "192.168.7.1", sender="alice@example.org", more=auth)
wait_for("an answer in Postfix's mailbox too", lambda: letter_with("answer two", foreign.maildir_letters(net.mx_a, "/home/mail/bob/Maildir")))
say("and another lies in bob's mailbox at Postfix")

# --- 20 MB, and the carrier forgets the mapping half-way
net.cgnat.run(["tc", "qdisc", "add", "dev", "inner", "root", "tbf", "rate", "40mbit", "burst", "64kb", "latency", "100ms"])
body = bytearray()
line = 0
while len(body) < 20 << 20:
    body += (hashlib.sha256(str(line).encode()).hexdigest() + "\r\n").encode()
    line += 1
big = os.path.join(net.mx_a.dir, "tmp", "big.txt")
with open(big, "wb") as f:
    f.write(body)
sender = threading.Thread(target=lambda: send(net.mx_a, "alice@example.org", "twenty megabytes", "vps.example.net",
                                              body="/tmp/big.txt"))
stat = f"/proc/{net.home.pid}/root/sys/class/net/postern0/statistics/"


def tun_in():
    # What posternd wrote into the TUN is received by the kernel.
    with open(stat + "rx_bytes") as f:
        return int(f.read())


start_bytes = tun_in()
began = time.monotonic()
sender.start()
wait_for("a third of the letter is through", lambda: tun_in() - start_bytes > 7 << 20, 60, 0.01)
before = vps.peer("home").get("endpoint")
at = time.monotonic()
net.nat_rebind()
last, last_at, stall, until = tun_in(), time.monotonic(), 0.0, time.monotonic() + 2.0
while time.monotonic() < until:
    now = tun_in()
    if now > last:
        stall = max(stall, time.monotonic() - last_at)
        last, last_at = now, time.monotonic()
    time.sleep(0.002)
stall = max(stall, time.monotonic() - last_at if last - start_bytes < 20 << 20 else 0)
say(f"the carrier dropped the mapping in the middle of a 20 MB letter; longest pause in the stream {ms(stall)}")
text = wait_for("the big letter at home", lambda: letter_with("twenty megabytes", inbox()), 90, 0.1)
took = time.monotonic() - began
sender.join()
after = vps.peer("home").get("endpoint")
testlib.require("the mapping did change", before and after and before != after, (before, after))
at_body = text.index(b"\r\n\r\n" if b"\r\n\r\n" in text else b"\n\n")
got = hashlib.sha256(text[at_body:].replace(b"\r\n", b"\n").strip()).hexdigest()
want = hashlib.sha256(bytes(body).replace(b"\r\n", b"\n").strip()).hexdigest()
testlib.require("all 20 MB arrived unchanged", got == want)
testlib.require("and once", sum(b"Subject: twenty megabytes" in t for t in inbox()) == 1)
say(f"all 20 MB arrived unchanged, {ms(took)} from the first byte; endpoint {before} -> {after}")
summary.append(f"NAT mapping dropped in a 20 MB letter              longest pause {ms(stall)}, letter whole after {ms(took)}")
net.cgnat.run(["tc", "qdisc", "del", "dev", "inner", "root"])

# --- the line is cut for a minute
LETTERS = 10
net.cut()
cut_at = time.monotonic()
say(f"the line is cut for {CUT_S:.0f} s; {LETTERS} letters arrive at the VPS meanwhile")
for n in range(LETTERS):
    send(net.mx_a, "alice@example.org", f"while down {n:02d}", "vps.example.net")
time.sleep(max(0.0, CUT_S - (time.monotonic() - cut_at)))
testlib.require("none of them is home yet", not letter_with("while down", inbox()))
net.mend()
mended = time.monotonic()
ping_at = first_at = None
while time.monotonic() < mended + 180:
    if ping_at is None and net.home.run(["ping", "-c1", "-W0.1", "10.99.0.1"], check=False).returncode == 0:
        ping_at = time.monotonic() - mended
    here = sum(b"Subject: while down" in t for t in inbox())
    if here and first_at is None:
        first_at = time.monotonic() - mended
    if here >= LETTERS and ping_at is not None:
        break
    time.sleep(0.01)
all_at = time.monotonic() - mended
testlib.require("all letters of the outage came home", sum(b"Subject: while down" in t for t in inbox()) == LETTERS,
                len(inbox()))
testlib.require("the tunnel came back by itself", ping_at is not None)
say(f"the link returned: tunnel answers after {ms(ping_at)}, first letter home after {ms(first_at)}, "
    f"all {LETTERS} after {ms(all_at)}")
summary.append(f"line cut for {CUT_S:.0f} s                                  ping after {ms(ping_at)}, first letter {ms(first_at)}, "
               f"all {LETTERS} after {ms(all_at)}")
wait_for("the queues are empty", lambda: "0 letters" in vps.cli("mail", "queue", check=False).stdout and
         "0 letters" in home.cli("mail", "queue", check=False).stdout)

# --- an orderly end
for side in (vps, home):
    for p in (side.mta, side.deliver, side.d):
        if p:
            p.terminate()
for side in (vps, home):
    for p in (side.mta, side.deliver, side.d):
        if p:
            wait_for("the daemons end when asked to", lambda: p.poll() is not None, 60)

total = len(inbox())
print("\nSummary")
print(f"  delivered at home: {total} letters ({total - LETTERS - 2} stray), at beta.example: "
      f"{len(foreign.sink_letters(net.mx_b))}, at alpha.example: 1")
for s in summary:
    print("  " + s)
if os.environ.get("POSTERN_KEEP_LOGS"):
    print(f"  logs: {os.environ['POSTERN_KEEP_LOGS']}")
testlib.require("every letter once, none lost", total == LETTERS + 2, total)
testlib.done()
