# SPDX-License-Identifier: GPL-3.0-or-later
"""UDP is blocked: TCP carries the tunnel, plain or in TLS, and gives it back when UDP works again.

Case 99 of the list, the strangers who may connect to a TCP port, and ends that are killed meanwhile.
"""
import os
import re
import resource
import time

import testlib
from lab import Internet as I
from testlib import answered, best, case, check, require, wait_for

lab, net = testlib.start(hosts=[("evil", I.EVIL4)])
import cast  # noqa: E402
import usage  # noqa: E402

vps, home = cast.tunnel(net)
text = vps.m.read("/etc/postern/postern.conf")
vps.m.write("/etc/postern/postern.conf", text.replace("[posternd]", "[posternd]\ntcp-ports = 4500, 443/tls", 1))

# A connection inside the tunnel that says a number each 50 ms and wants it back.
ECHO = """
import socket
s = socket.create_server(("10.99.0.1", 7777)); c, _ = s.accept()
while True:
    b = c.recv(4096)
    if not b: break
    c.sendall(b)
"""
TALK = """
import socket, sys, time
s = socket.create_connection(("10.99.0.1", 7777), 20); s.settimeout(60)
n = 0
while True:
    n += 1; line = b"%08d\\n" % n; s.sendall(line); got = b""
    while len(got) < len(line):
        b = s.recv(len(line) - len(got))
        if not b: sys.exit("closed")
        got += b
    if got != line: sys.exit("mixed up")
    with open("/tmp/talk", "w") as f: f.write(str(n))
    time.sleep(0.05)
"""


def ping(to="10.99.0.1", m=net.home, wait="0.3"):
    return m.run(["ping", "-c1", f"-W{wait}", to], check=False).returncode == 0


def by(side=home, name="vps"):
    return side.peer(name).get("transport", {}).get("by")


def status(side=home):
    return side.cli("status", check=False).stdout


def said():
    try:
        return int(net.home.read("/tmp/talk") or 0)
    except Exception:
        return 0


def talks_on(what):
    before = said()
    check(what, wait_for("the connection goes on", lambda: said() > before + 3, 30))


def block(*rules):
    net.cgnat.nft("table ip block\ndelete table ip block\ntable ip block {\n chain c {\n"
                  "  type filter hook forward priority -10\n  " + "\n  ".join(rules) + "\n }\n}")


def unblock():
    net.cgnat.run(["nft", "delete", "table", "ip", "block"], check=False)


def look_again():
    """A change of the home's network is a reason to ask by UDP at once; else it is asked every 30 to 60 s."""
    net.home.run(["ip", "addr", "add", "192.168.7.99/32", "dev", "lan"])
    net.home.run(["ip", "addr", "del", "192.168.7.99/32", "dev", "lan"])


UDP = "udp dport 4500 drop; udp sport 4500 drop"
vps.start_posternd()
wait_for("posternd answers", lambda: vps.status())
home.start_posternd()
require("the tunnel comes up", wait_for("ping", ping, 20))
check("by UDP", wait_for("UDP", lambda: by() == "udp", 70), home.peer("vps").get("transport"))
check("postern status says so", wait_for("it", lambda: re.search(r"transport +UDP port 4500 since [0-9:]+ \(\d+ s\)\n", status())), status())
net.vps.start(["python3", "-c", ECHO], log="echo")
testlib.listening(net.vps, 7777)
net.home.start(["python3", "-c", TALK], log="talk")
wait_for("the inner connection stands", said)

# --- port 500 is nobody's concern
block("udp dport 500 drop")
time.sleep(7)
check("port 500 blocked: nothing changes", by() == "udp" and home.peer("vps")["ups"] == 1, home.peer("vps"))
unblock()

# --- 4500 is blocked in mid-flow, TCP takes over; it opens again, UDP is taken back
block(UDP)
began = time.monotonic()
tcp = wait_for("TCP", lambda: by() == "tcp", 60, 0.2)
tcp = tcp and wait_for("ping", ping, 20)
print(f"     on TCP after {time.monotonic() - began:.1f} s")
talks_on("UDP 4500 blocked: the inner connection goes on by TCP")
check("the VPS sends by it too", wait_for("TCP", lambda: by(vps, "home") == "tcp"), vps.peer("home").get("transport"))
unblock()
look_again()
udp = wait_for("UDP", lambda: by() == "udp" and by(vps, "home") == "udp", 70, 0.2)
talks_on("UDP works again: the inner connection goes on")
case("ike_case_099_4500_blocked_then_tcp_then_udp_again", tcp and udp, home.peer("vps"))
check("the connection that is not needed is closed", wait_for("closed", lambda: home.status()["tcp"]["connections"] == 0, 20),
      home.status()["tcp"])

# --- only 443 is open
block(UDP, "tcp dport 4500 drop")
check("only 443 is open: TLS", wait_for("TLS", lambda: by() == "tls", 60, 0.2), home.peer("vps"))
check("postern status says so, and when UDP is tried again",
      wait_for("it", lambda: re.search(r"transport +TLS, TCP port 443 since [0-9:]+ \(\d+ s\);\s+UDP\s+is\s+tried\s+again\s+in\s+\d+\s+s\n",
                                       status())), status())
check("where it waits, UDP is not for it to try", wait_for("it", lambda: re.search(
    r"transport +TLS, TCP port 443 since [0-9:]+ \(\d+ s\)\n", status(vps))), status(vps))
talks_on("and the inner connection goes on")

# --- either end is killed on a stream
for side in (vps, home):
    side.kill_process("child")
    began = time.monotonic()
    check(f"{side.tag}: kill -9 on TLS, data passes again", wait_for("ping", lambda: ping() and by() == "tls", 40))
    print(f"     {time.monotonic() - began:.1f} s")
    talks_on("and the inner connection goes on")

# --- a first call, with nothing but 443
home.d.terminate()
home.d.wait(60)
home.start_posternd()
check("a first call finds TLS as well", wait_for("TLS", lambda: by() == "tls" and ping(), 40), home.peer("vps"))
unblock()
look_again()
check("and UDP", wait_for("UDP", lambda: by() == "udp", 70, 0.2), home.peer("vps"))

# --- strangers
CROWD = """
import socket, sys, time
held, refused = [], 0
for i in range(150):
    for port in (4500, 443):
        try:
            s = socket.create_connection((sys.argv[1], port), 2); s.settimeout(0.02); held.append(s)
        except OSError:
            refused += 1
for i, s in enumerate(held[:16]):
    try:
        s.sendall(b"IKETCP\\x00\\x01" if i % 2 else b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    except OSError: pass # hung up on already
time.sleep(float(sys.argv[2]))
open_still = 0
for s in held:
    try:
        if s.recv(100) == b"": continue
    except TimeoutError: open_still += 1
    except OSError: pass
print(open_still)
"""
before = vps.status()["tcp"]
crowd = net.evil.start(["python3", "-c", CROWD, I.VPS4, "14"], log="crowd")
most = wait_for("the first of them", lambda: vps.status().get("tcp", {}).get("unproved", 0))
until = time.monotonic() + 8
while time.monotonic() < until:
    most = max(most, vps.status().get("tcp", {}).get("unproved", 0))
    time.sleep(0.2)
check("strangers of one network get 32 connections at a time", 0 < most <= 32, most)
check("the tunnel does not mind", answered(net.home, "10.99.0.1"))
wait_for("they are gone", lambda: vps.status()["tcp"]["unproved"] == 0, 30)
after = vps.status()["tcp"]
check("each has ten seconds, and what is beyond is hung up on",
      after["timed_out"] > before["timed_out"] and after["refused"] > before["refused"], after)

# --- no descriptor left for them
pid = vps.process("child")
usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)
resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")), usual[1]))
late = net.evil.start(["python3", "-c", CROWD, I.VPS4, "14"], log="late")
time.sleep(2)


def spent():
    """Seconds of CPU in two."""
    before = usage.cpu([pid])
    time.sleep(2)
    return usage.cpu([pid]) - before


used = best(spent, lambda s: s < 0.4, 5)
check("who waits for a descriptor costs nothing", used < 0.4, used)
check("and the tunnel does not mind that either", answered(net.home, "10.99.0.1"))
resource.prlimit(pid, resource.RLIMIT_NOFILE, usual)
late.wait(60)
before = vps.status()["tcp"]["accepted"]
net.evil.run(["python3", "-c", CROWD, I.VPS4, "0"])
check("with descriptors they are let in again", wait_for("more", lambda: vps.status()["tcp"]["accepted"] > before), vps.status()["tcp"])
talks_on("the inner connection has lived through all of it")
testlib.done()
