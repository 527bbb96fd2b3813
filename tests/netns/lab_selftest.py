# SPDX-License-Identifier: GPL-3.0-or-later
"""The laboratory itself: the NAT hides the home, a rebind changes the port, a cut cuts."""
import sys
import testlib
from testlib import best, check

lab, net = testlib.start(hosts=[("peer", "198.51.100.31")])

ECHO = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("0.0.0.0", 9))
while True:
    d, a = s.recvfrom(100); s.sendto(("%s %d" % a).encode(), a)
"""
ASK = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("0.0.0.0", 4500)); s.settimeout(10)
s.sendto(b"x", (sys.argv[1], 9)); print(s.recvfrom(100)[0].decode())
"""
net.vps.start([sys.executable, "-c", ECHO], log="echo")
testlib.wait_for("echo answers", lambda: net.home.python(ASK, net.VPS4, check=False).returncode == 0)
first = net.home.python(ASK, net.VPS4).stdout.split()
check("the vps sees the carrier's address", first[0] == net.NAT4, first)
again = net.home.python(ASK, net.VPS4).stdout.split()
check("the mapping is stable", first == again, (first, again))


def after_rebind():
    net.nat_rebind()
    return net.home.python(ASK, net.VPS4).stdout.split()


moved = best(after_rebind, lambda seen: seen != first)  # of 60000 ports at random one is the same
check("after a rebind the port differs", moved != first, (first, moved))
net.cut()
check("a cut cuts", net.home.run(["ping", "-c1", "-W1", net.VPS4], check=False).returncode != 0)
net.mend()
testlib.wait_for("the way is back", lambda: net.home.run(["ping", "-c1", "-W1", net.VPS4], check=False).returncode == 0)
check("nothing comes in unasked", net.peer.run(["ping", "-c1", "-W1", "100.64.0.2"], check=False).returncode != 0)
testlib.done()
