# SPDX-License-Identifier: GPL-3.0-or-later
"""What a home is given late: name servers that its resolv.conf names after the start, other ones after a reconnect, an
address that a listener waits for. And who nobody is: the catch-all, subaddresses and virtual domains down to the mailbox.

	home (postern-mta, dns = system) 192.0.2.1, later .77 ---- world: name servers .10 and .11, which tell of
	                                                           mail hosts .20 and .21
"""
import os
import re
import socket
import struct
import sys
import threading

DNS = {"192.0.2.10": "192.0.2.20", "192.0.2.11": "192.0.2.21"}  # name server -> the host that it tells of


def serve(ip, host):
    """Every name is this one host."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((ip, 53))
    while True:
        q, client = s.recvfrom(4096)
        end = 12
        while q[end]:
            end += q[end] + 1
        name, kind = q[12:end + 1], struct.unpack(">H", q[end + 1:end + 3])[0]
        answer = name + struct.pack(">HHIH", 1, 1, 1, 4) + socket.inet_aton(host) if kind == 1 else b""
        s.sendto(q[:2] + b"\x81\x80" + struct.pack(">HHHH", 1, bool(answer), 0, 0) + q[12:end + 5] + answer, client)


if sys.argv[1:2] == ["--names"]:
    for pair in DNS.items():
        threading.Thread(target=serve, args=pair, daemon=True).start()
    print("ready", flush=True)
    threading.Event().wait()

import peers  # noqa: E402
import testlib  # noqa: E402
from testlib import check, require, wait_for  # noqa: E402

lab, _ = testlib.start(topology=False)
home, world = lab.machine("home"), lab.machine("world")
lab.link(home, "e0", world, "w0")
home.addr("e0", "192.0.2.1/24")
world.addr("w0", *[f"192.0.2.{n}/24" for n in (10, 11, 20, 21)])
home.run(["sh", "-c", "ip link set lo up; mkdir -p /run/postern /var/lib/postern /home/alice; chown alice:alice /home/alice; "
          "chmod 700 /home/alice; rm /etc/resolv.conf"])
names = world.start([sys.executable, os.path.abspath(__file__), "--names"], log="names")
wait_for("the name servers", lambda: "ready" in open(names.log).read())
hosts = {ip: peers.Sink(world, address=ip) for ip in DNS.values()}
home.write("/etc/postern/aliases", "sales@shop.example: alice\n")
home.write("/etc/postern/mta.conf", """[mta]
role = edge
hostname = home.example
tunnel = no
dns = system
dns-timeout = 2s
[listener mx]
address = 192.0.2.1, 192.0.2.77
[listener lan]
address = 127.0.0.1:2525
[deliver]
domains = local.example
virtual-domains = shop.example
aliases = aliases
uid-min = 100
catch-all = alice
[route internet]
retry-first = 1s
retry-max = 1s
""")
home.start([testlib.POSTERN_DELIVER, "-c", "/etc/postern/mta.conf", "--listen", "/run/postern/deliver.sock"], log="deliver")
mta = home.start([testlib.POSTERN_MTA, "-c", "/etc/postern/mta.conf"], log="mta")


def log():
    with open(mta.log, errors="replace") as f:
        return f.read()


def send(to, subject):
    t = peers.Talk(home, "127.0.0.1", 2525)
    require(f"the letter {subject} is taken", t.send(peers.head(subject) + b"x\r\n", to).startswith("250"))
    t.close()


wait_for("postern-mta is ready", lambda: log().count('msg="ready proc=') == 4)

# ---- names
send("bob@one.example", "one")
wait_for("a try without a name server", lambda: "result=deferred" in log(), 60)
check("without resolv.conf it waits", not hosts["192.0.2.20"].find("one"))
home.write("/etc/resolv.conf", "nameserver 192.0.2.10\n")
check("when there is one it goes, by what its server says", hosts["192.0.2.20"].wait("one").rcpts == ["bob@one.example"])
home.write("/etc/resolv.conf", "nameserver 192.0.2.11\n")
wait_for("the change to be seen", lambda: log().count("a file that the configuration names has changed") >= 2, 60)
count = 0


def by_the_other():
    """Those who resolve hear of it a moment after it is seen: of a few letters one goes by the new server."""
    global count
    count += 1
    send("bob@two.example", f"two{count}")
    return wait_for("it", lambda: [ip for ip in hosts if hosts[ip].find(f"two{count}")]) == ["192.0.2.21"]


check("another resolv.conf is another server", wait_for("a letter by it", by_the_other, 20, 1))

# ---- who is who
t = peers.Talk(world, "192.0.2.1")
for to, subject in (("nobody@local.example", "rest"), ("alice+lists@local.example", "sub"), ("sales@shop.example", "virtual")):
    t.send(peers.head(subject) + b"x\r\n", to)
    text = peers.maildir_wait(home, "/home/alice/Maildir", subject)
    check(f"{to} is alice", re.search(rb"^Delivered-To: (\S+)", text, re.M)[1] == (
        b"alice@local.example" if subject == "virtual" else to.encode()), text[:200])
said = t.envelope("ann@sink.example", ["nobody@shop.example"])[1]
check("a virtual domain has no catch-all of the others", said.startswith("550 5.1.1"), said)
t.close()

# ---- a listener before its address
home.addr("e0", "192.0.2.77/24")
t = peers.Talk(world, "192.0.2.77")
t.send(peers.head("late") + b"x\r\n", "alice@local.example")
check("an address that comes late is listened at", peers.maildir_wait(home, "/home/alice/Maildir", "late"))
mta.terminate()
check("it ends in order", mta.wait(60) == 0, mta.returncode)
testlib.done()
