# SPDX-License-Identifier: GPL-3.0-or-later
"""The models of carriers' NATs do what they are told, seen with bare UDP."""
import testlib
from testlib import check

lab, net = testlib.start()
import cgnat  # noqa: E402

SERVER = """
import socket, threading, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 4500))
def later(to, wait):
    time.sleep(wait)
    s.sendto(("%s %d" % to).encode(), to)
while True:
    data, to = s.recvfrom(100)
    threading.Thread(target=later, args=(to, float(data)), daemon=True).start()
"""
# One line for each answer: the address and port that the server saw; "-" when none came in time.
CLIENT = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", int(sys.argv[1])))
for wait in sys.argv[2:]:
    s.settimeout(float(wait) + 10)
    s.sendto(wait.encode(), ("198.51.100.10", 4500))
    try:
        print(s.recv(100).decode())
    except TimeoutError:
        print("-")
"""
server = net.vps.start(["python3", "-c", SERVER], log="echo")


def ask(*waits, m=net.home, port=4500):
    return m.python(CLIENT, str(port), *map(str, waits)).stdout.splitlines()


nat = cgnat.model(net, lifetime=60)
testlib.wait_for("the server answers", lambda: ask(0)[0] != "-")
first = ask(0)[0]
check("a port at random", first.startswith("198.51.100.20 ") and not first.endswith(" 4500"), first)
check("which stays", ask(0, 0) == [first, first], first)
nat.lifetime(6)
seen = testlib.best(lambda: ask(0, 2), lambda seen: seen[0] == seen[1] != "-")
check("a mapping lives as long as it is told to", seen[0] == seen[1] != "-", seen)
check("and no longer", ask(8)[0] == "-")
nat.lifetime(60, unreplied=60).rebind()
second = ask(0)[0]
check("another port after a rebind", second != first and second != "-", (first, second))
nat.move_address()
check("another address", ask(0)[0].startswith("198.51.100.21 "))
nat.ports("600-700")
low = ask(0)[0]
check("a low port", 600 <= int(low.split()[-1]) <= 700, low)
nat.ports("500")
check("or 500", ask(0)[0].endswith(" 500"))
nat.ports(None)
other = nat.client("home2")
pair = ask(0)[0], ask(0, m=other)[0]
check("two clients with the same source port have two mappings", "-" not in pair and pair[0] != pair[1], pair)
check("and the NAT knows both", len(set(nat.mappings())) == 2, nat.mappings())
before = ask(0)[0]
nat.absolute(1, 2)
seen = set()
check("an absolute lifetime ends mappings under load", testlib.wait_for(
    "two other ports", lambda: seen.update(ask(*[0.2] * 10)) or len(seen - {"-", before}) >= 2))
nat.stop()
far = nat.second(lifetime=60)
through = ask(0, 0)
check("two NATs in a row", through[0] == through[1] and through[0].startswith("198.51.100.20 "), through)
far.rebind()
check("of which the far one can rebind alone", ask(0)[0] not in ("-", through[0]))
testlib.done()
